"""template.yaml as CloudFormation sees it: transformed by SAM, its functions and conditions resolved."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from samtranslator.translator.transform import transform

PROJECT = Path(__file__).resolve().parents[3]
REGION, ACCOUNT = "eu-west-1", "123456789012"
_PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::StackName": "lexline",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": "",
}


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@cache
def source() -> dict[str, Any]:
    """template.yaml itself, CloudFormation's short functions written out."""
    parsed: dict[str, Any] = yaml_parse((PROJECT / "template.yaml").read_text(encoding="utf-8"))
    return parsed


@cache
def _transformed() -> dict[str, Any]:
    prepared = copy.deepcopy(source())
    for resource in prepared["Resources"].values():
        # `sam package` puts the S3 locations of the built artifacts here.
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
    """The transformed template under some parameter values; the others have their defaults."""

    def __init__(self, **parameters: str) -> None:
        template = _transformed()
        self._template = template
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
        """The properties of every resource of a type, by name."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def one(self, kind: str) -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (properties,) = self.of(kind).values()
        return properties

    def resolve(self, value: Any) -> Any:
        """The value with parameters, mappings and conditions put in; an attribute is `<Name.Attribute>`."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
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
        return {key: self.resolve(item) for key, item in value.items()}

    def _holds(self, test: Mapping[str, Any]) -> bool:
        left, right = test["Fn::Equals"]
        return bool(self.resolve(left) == self.resolve(right))

    def _named(self, name: str) -> str:
        return self.parameters.get(name) or _PSEUDO.get(name) or f"<{name}>"

    def _substituted(self, argument: Any) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else argument
        values = {name: self.resolve(value) for name, value in extra.items()}
        return re.sub(r"\$\{([^!}]+)\}", lambda found: values.get(found[1]) or self._named(found[1]), text)


def statements(role: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a role's inline policies, Action and Resource made lists."""
    for policy in role.get("Policies", []):
        yield from listed(policy["PolicyDocument"])


def listed(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a policy document, Action and Resource made lists."""
    for statement in document["Statement"]:
        as_lists = {
            key: value if isinstance(value, list) else [value]
            for key, value in statement.items()
            if key in ("Action", "Resource")
        }
        yield {**statement, **as_lists}


@pytest.fixture(scope="session")
def template() -> Template:
    """The template as it is deployed with no parameter given."""
    return Template()


@pytest.fixture(scope="session")
def deployed_with() -> Callable[..., Template]:
    """deployed_with(**parameters): the template as it is deployed with those."""
    return Template
