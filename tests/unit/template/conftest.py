"""template.yaml as CloudFormation sees it: transformed by SAM, its functions and conditions resolved."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.loaders import Loader
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from samtranslator.translator.transform import transform

PROJECT = Path(__file__).resolve().parents[3]
REGION, ACCOUNT = "eu-west-1", "123456789012"
_NO_VALUE = object()


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@cache
def source() -> dict[str, Any]:
    """template.yaml itself, with CloudFormation's short functions written out."""
    parsed: dict[str, Any] = yaml_parse((PROJECT / "template.yaml").read_text(encoding="utf-8"))
    return parsed


@cache
def _transformed() -> dict[str, Any]:
    prepared = copy.deepcopy(source())
    for resource in prepared["Resources"].values():
        # `sam package` writes the S3 locations of the built artifacts here.
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/artifact"
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = "s3://bucket/layer"
        if resource["Type"] == "AWS::Serverless::StateMachine":
            resource["Properties"]["DefinitionUri"] = {"Bucket": "bucket", "Key": "definition"}
    with mock.patch.dict(os.environ, AWS_DEFAULT_REGION=REGION):
        result: dict[str, Any] = transform(prepared, {}, _NoManagedPolicies())
    return result


class Template:
    """The transformed template in a region and with some parameters; the others have their defaults."""

    def __init__(self, region: str = REGION, stack: str = "lexline", **parameters: str) -> None:
        template = _transformed()
        self._template = template
        self._pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": region,
            "AWS::StackName": stack,
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{stack}/5a2b1c3d",
            **partition_of(region),
        }
        self.parameters = {name: str(spec["Default"]) for name, spec in template["Parameters"].items()}
        unknown = parameters.keys() - self.parameters.keys()
        assert not unknown, f"no such parameter: {unknown}"
        self.parameters.update(parameters)
        self._conditions = {name: self._holds(test) for name, test in template["Conditions"].items()}
        self.resources: dict[str, dict[str, Any]] = {
            name: self.resolve(resource)
            for name, resource in template["Resources"].items()
            if self._conditions.get(resource.get("Condition", ""), True)
        }

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by name."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def one(self, kind: str) -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (properties,) = self.of(kind).values()
        return properties

    def output(self, name: str) -> Any:
        """The value of an output."""
        return self.resolve(self._template["Outputs"][name]["Value"])

    def resolve(self, value: Any) -> Any:
        """A value with its functions evaluated. Resources are `<Name>`, and attributes `<Name.Attribute>`."""
        if value == {"Ref": "AWS::NoValue"}:
            return _NO_VALUE
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return self._named(argument)
            if function == "Fn::GetAtt":
                return "<" + (argument if isinstance(argument, str) else ".".join(argument)) + ">"
            if function == "Fn::Sub":
                return self._substituted(argument)
            if function == "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self._conditions[condition] else no)
            if function == "Fn::FindInMap":
                mapping, first, second = (self.resolve(part) for part in argument)
                return self._template["Mappings"][mapping][first][second]
            if function == "Fn::Join":
                separator, parts = argument
                return separator.join(self.resolve(parts))
            if function == "Fn::Split":
                separator, text = argument
                return self.resolve(text).split(separator)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _NO_VALUE}

    def needs(self, name: str) -> set[str]:
        """The resources that a resource refers to or depends on."""
        resource = self.resources[name]
        depends = resource.get("DependsOn", [])
        found = {depends} if isinstance(depends, str) else set(depends)
        return {*found, *re.findall(r"<(\w+)[.>]", json.dumps(resource))} & self.resources.keys()

    def comes_before(self, first: str, second: str) -> bool:
        """Whether `second` needs `first`, so that CloudFormation creates it later and deletes it earlier."""
        waiting, seen = {second}, set()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            waiting |= self.needs(name) - seen
        return first in seen - {second}

    def _holds(self, test: Mapping[str, Any]) -> bool:
        left, right = test["Fn::Equals"]
        return bool(self.resolve(left) == self.resolve(right))

    def _named(self, name: str) -> str:
        return self.parameters.get(name, self._pseudo.get(name, f"<{name}>"))

    def _substituted(self, argument: Any) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else argument
        values = {name: self.resolve(value) for name, value in extra.items()}
        return re.sub(r"\$\{([^!}]+)\}", lambda found: values.get(found[1]) or self._named(found[1]), text)


@cache
def partition_of(region: str) -> dict[str, str]:
    """The pseudo parameters that depend on a region's partition."""
    partitions = Loader().load_data("endpoints")["partitions"]
    (found,) = [each for each in partitions if re.match(each["regionRegex"], region)]
    return {"AWS::Partition": found["partition"], "AWS::URLSuffix": found["dnsSuffix"]}


def names_of(kind: str) -> list[str]:
    """The names of all resources of a type, as written in template.yaml."""
    return [name for name, resource in source()["Resources"].items() if resource["Type"] == kind]


FUNCTIONS = names_of("AWS::Serverless::Function")


def handler_of(function: str) -> tuple[Path, str]:
    """The folder of a function's code, and its handler in there."""
    properties = {**source()["Globals"]["Function"], **source()["Resources"][function]["Properties"]}
    return PROJECT / properties["CodeUri"], properties["Handler"]


def variables_of(template: Template, function: str) -> dict[str, str]:
    """A function's environment."""
    variables: dict[str, str] = template.of("AWS::Lambda::Function")[function]["Environment"]["Variables"]
    return variables


def statements(role: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a role's inline policies, with Action and Resource as lists."""
    for policy in role.get("Policies", []):
        yield from listed(policy["PolicyDocument"])


def listed(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a policy document, with Action and Resource as lists."""
    for statement in document["Statement"]:
        as_lists = {
            key: value if isinstance(value, list) else [value]
            for key, value in statement.items()
            if key in ("Action", "Resource")
        }
        yield {**statement, **as_lists}


@pytest.fixture(scope="session")
def template() -> Template:
    """The template with the default of every parameter."""
    return Template()


@pytest.fixture(scope="session")
def deployed_with() -> Callable[..., Template]:
    """deployed_with(stack=NAME, **parameters): the template of a stack with these parameters."""
    return Template
