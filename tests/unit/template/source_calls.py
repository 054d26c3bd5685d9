"""The AWS operations that a function's code calls and the environment variables it reads, from its source.

The reader starts at the handler and follows every definition that is mentioned through the modules. Of a
class it takes the methods whose names are mentioned anywhere, and all methods if the class has a base, which
may call them. So it may find more than one invocation calls, but never less.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from contracts.run import LeasedInput
from tests.unit.template.conftest import PROJECT

PIPELINE = PROJECT / "functions" / "pipeline"
_IAM_NAMES = {"monitoring": "cloudwatch"}
"""IAM's name of a service, if its requests are signed for another name."""


@dataclass
class Calls:
    """`operations` as `<IAM's name of the service>:<Operation>`, and names of environment variables."""

    operations: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)


def calls_of(folder: Path, handler: str) -> Calls:
    """The calls of a handler, given as `<module>.<name>`. An app's are the calls of all its routes."""
    module, _, name = handler.rpartition(".")
    reader = _Reader(folder)
    for each in [name] if name == "handler" else _read(folder, module).definitions:
        reader.follow(module, each)
    return reader.calls


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.calls = Calls()
        self._folder = folder
        self._seen: set[tuple[str, str]] = set()
        self._mentioned: set[str] = set()
        # By name: the methods that nothing has mentioned so far, with their modules.
        self._waiting: dict[str, list[tuple[str, ast.AST]]] = {}

    def follow(self, module: str, name: str) -> None:
        source = _read(self._folder, module)
        node = source.definitions.get(name) if source else None
        if node is None or (module, name) in self._seen:
            return
        self._seen.add((module, name))
        if (module, name) == ("entry_point", "step"):
            # It renews the lease if the contract is a LeasedInput. _is_fenced reads that from the handler.
            return
        if name == "handler" and _is_fenced(node, source):
            self.follow("coordination.lease", "renew")
        if isinstance(node, ast.ClassDef) and not node.bases:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("__"):
                    self._waiting.setdefault(part.name, []).append((module, part))
                else:
                    self._read_part(module, part)
            for mentioned in self._mentioned & self._waiting.keys():
                self._mention(mentioned)
        else:
            self._read_part(module, node)

    def _mention(self, name: str) -> None:
        self._mentioned.add(name)
        for module, method in self._waiting.pop(name, []):
            self._read_part(module, method)

    def _read_part(self, module: str, node: ast.AST) -> None:
        source = _read(self._folder, module)
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute):
                self._mention(part.attr)
            if isinstance(part, ast.Name):
                self.follow(*source.imported.get(part.id, (module, part.id)))
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                self.follow(source.imported.get(part.value.id, ("", ""))[0], part.attr)
            elif isinstance(part, ast.Call) and module == "core.environment":
                self.calls.variables |= {text for text in _texts(part) if text.isupper()}
            elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "os.environ":
                self.calls.variables |= {ast.literal_eval(part.slice)}
            if isinstance(part, ast.Call):
                self._note(part)

    def _note(self, call: ast.Call) -> None:
        if not isinstance(call.func, ast.Attribute):
            return
        name = call.func.attr
        if name == "get_paginator":
            (name,) = _texts(call)
        elif name == "get_waiter":
            (waiter,) = _texts(call)
            # Both waiters for an endpoint describe it.
            assert waiter.startswith("endpoint_"), waiter
            name = "describe_endpoint"
        receiver = ast.unparse(call.func.value)
        if name in _methods(self._folder) and not receiver.startswith("aws."):
            return
        found = _operations().get(name, set())
        # Two services have a DeleteEndpoint, and a pattern has a search as SageMaker has. A client's variable
        # has the service's name.
        is_unique = len(found) == 1 and not hasattr(re.Pattern, name)
        self.calls.operations |= {each for each in found if is_unique or each.partition(":")[0] in receiver}


@dataclass
class _Source:
    definitions: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By the name in this module: the module of its origin and its name there, "" for the module itself."""


@cache
def _read(folder: Path, module: str) -> _Source:
    """The module's source, or an empty one if the module is not in the folder."""
    source, file = _Source(), folder / f"{module.replace('.', '/')}.py"
    if not module or not file.exists():
        return source
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            source.definitions[node.name] = node
        elif isinstance(node, ast.Import):
            source.imported |= {each.asname or each.name: (each.name, "") for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                nested = f"{node.module}.{each.name}"
                is_module = (folder / f"{nested.replace('.', '/')}.py").exists()
                source.imported[each.asname or each.name] = (
                    (nested, "") if is_module else (str(node.module), each.name)
                )
    return source


@cache
def _methods(folder: Path) -> set[str]:
    """The names of all methods of the folder's own classes."""
    return {
        method.name
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef)
    }


@cache
def _operations() -> dict[str, set[str]]:
    """By boto3's method: the operations of that name, of all services that the functions have clients for."""
    clients = (PIPELINE / "core" / "aws.py").read_text(encoding="utf-8")
    services = {
        service
        for call in ast.walk(ast.parse(clients))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "boto3.client"
        for service in _texts(call)
    }
    found: dict[str, set[str]] = {}
    for service in services:
        model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
        prefix = _IAM_NAMES.get(model.signing_name, model.signing_name)
        for operation in model.operation_names:
            found.setdefault(xform_name(operation), set()).add(f"{prefix}:{operation}")
    return found


def _is_fenced(handler: ast.AST, source: _Source) -> bool:
    """Whether the step renews its lease before it works."""
    for decorator in getattr(handler, "decorator_list", []):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "step":
            module, name = source.imported[ast.unparse(decorator.args[0])]
            return issubclass(getattr(importlib.import_module(module), name), LeasedInput)
    return False


def _texts(call: ast.Call) -> Iterator[str]:
    for argument in call.args:
        for part in ast.walk(argument):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
