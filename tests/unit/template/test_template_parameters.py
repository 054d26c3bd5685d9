"""The stack's parameters: each documents its values, and allows no value that a run would refuse."""

import copy
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from samcli.commands.deploy.deploy_context import DeployContext  # type: ignore[import-untyped]

import hyperparameters
from contracts.base import EndpointName
from contracts.request import ExecutionInput
from tests.unit.template.conftest import PROJECT, Template, source, variables_of

PARAMETERS = source()["Parameters"]
DEFAULTS = source()["Resources"]["PlanFunction"]["Properties"]["Environment"]["Variables"]["DEFAULTS"]
IN_RUNS = sorted(set(re.findall(r"\$\{(\w+)\}", DEFAULTS["Fn::Sub"])))
"""The parameters that are the defaults of every run."""
BOUNDARIES: dict[str, tuple[list[str], list[str]]] = {
    "EndpointName": (["", "a-b-c", "9" * 30], ["Lexline", "two--hyphens", "-first", "last-", "a" * 31]),
    "TrainingInstanceType": (["ml.m5.xlarge", "ml.p4d.24xlarge"], ["m5.xlarge", "ml.m5", "ml.M5.xlarge"]),
    "TrainingInstanceCount": (["1", "64"], ["0", "65", "1.5", "01"]),
    "MaxTrainingSeconds": (["60", "99", "100", "429999", "432000"], ["0", "59", "432001", "500000", "1e3"]),
    "QuietSeconds": (["0", "0.3", "9999.999"], ["-1", ".5", "10000", ""]),
    "PrepareConcurrency": (["1", "40", "1000"], ["0", "1001", "4.5", ""]),
    "HostingInstanceType": (["ml.m5.large", "ml.g5.12xlarge"], ["m5.large", "ml.m5.large "]),
    "HostingInstanceCount": (["1", "100"], ["0", "101"]),
    "HostingMaxInstanceCount": (["0", "1", "999"], ["1000", "-1"]),
    "InvocationsPerInstance": (["1", "999999"], ["0", "1000000"]),
    "ServerlessMaxConcurrency": (["1", "200"], ["0", "201"]),
    "WatchSeconds": (["0", "180", "200", "3600"], ["1", "179", "99", "3601", "-1", "180.5"]),
    "MaxLatencySeconds": (["1", "60"], ["0", "61"]),
    "Tolerance": (["0", "0.02", "9.999999"], ["-0.1", "10", ".5"]),
    "Teardown": (
        [
            *("never", "always", "on_failure", "after:PT8H", "when_idle:PT1H30M"),
            *("after:P366D", "after:PT999999S"),
        ],
        [
            *("sometimes", "after:", "after:8H", "after:PT", "after:P1DT", "after:P367D"),
            *("when_idle:PT0S", "PT8H"),
        ],
    ),
    "Emsize": (["1", "4096"], ["0", "4097", "9999"]),
    "Nhid": (["1", "8192"], ["0", "8193"]),
    "Nlayers": (["1", "16"], ["0", "17"]),
    "Lr": (
        ["auto", "0.000000001", "0.10", "1000", "999.999999999"],
        ["0", "0.0", "1000.5", ".5", "1e3", "-1"],
    ),
    "Clip": (["auto", "0.25", "1000"], ["0", "0.000", "1001", "none"]),
    "Epochs": (["auto", "1", "1000"], ["0", "1001", "1.5"]),
    "BatchSize": (["auto", "1", "4096"], ["0", "4097", "none"]),
    "Bptt": (["1", "4096"], ["0", "4097"]),
    "Dropout": (["auto", "0", "0.999999999"], ["1", "1.5", "1.0", ".5", "-0.1"]),
    "Seed": (["0", "999999999"], ["-1", "1000000000"]),
    "LogInterval": (["1", "999999"], ["0", "1000000"]),
    "MaxVocabulary": (["3", "9999999"], ["2", "10000000"]),
    "ApiAllowedOrigins": (
        ["", "https://a.example", "http://localhost:3000,https://b.a-1.example"],
        [
            "*",
            "null",
            "a.example",
            "https://A.example",
            "https://a.example/",
            "https://a.example,",
            "https://a b",
        ],
    ),
    "ApiRate": (["1", "9999"], ["0", "10000"]),
    "ApiBurst": (["1", "9999"], ["0", "10000"]),
    "ApiDailyQuota": (["1", "999999999"], ["0"]),
    "ApiWaitSeconds": (["0", "20"], ["21", "-1", "1.5"]),
}
"""By parameter: values just inside its limits, and values just outside."""
CHANGED: dict[str, tuple[str, str, Any]] = {
    "Recipe": ("classic", "hyperparameters.recipe", "classic"),
    "Emsize": ("128", "hyperparameters.emsize", 128),
    "Nhid": ("128", "hyperparameters.nhid", 128),
    "Nlayers": ("3", "hyperparameters.nlayers", 3),
    "Lr": ("0.5", "hyperparameters.lr", 0.5),
    "Clip": ("1.25", "hyperparameters.clip", 1.25),
    "Epochs": ("6", "hyperparameters.epochs", 6),
    "BatchSize": ("40", "hyperparameters.batch_size", 40),
    "Bptt": ("70", "hyperparameters.bptt", 70),
    "Dropout": ("0.5", "hyperparameters.dropout", 0.5),
    "Tied": ("false", "hyperparameters.tied", False),
    "Seed": ("7", "hyperparameters.seed", 7),
    "LogInterval": ("10", "hyperparameters.log_interval", 10),
    "Tokenizer": ("prose", "hyperparameters.tokenizer", "prose"),
    "MaxVocabulary": ("5000", "hyperparameters.max_vocabulary", 5000),
    "TrainingInstanceType": ("ml.g5.xlarge", "training.instance_type", "ml.g5.xlarge"),
    "TrainingInstanceCount": ("4", "training.instance_count", 4),
    "MaxTrainingSeconds": ("3600", "training.max_runtime_seconds", 3600),
    "SpotTraining": ("false", "training.spot", False),
    "EndpointType": ("serverless", "hosting.endpoint_type", "serverless"),
    "HostingInstanceType": ("ml.c5.large", "hosting.instance_type", "ml.c5.large"),
    "HostingInstanceCount": ("2", "hosting.instance_count", 2),
    "HostingMaxInstanceCount": ("8", "hosting.max_instance_count", 8),
    "InvocationsPerInstance": ("600", "hosting.invocations_per_instance", 600),
    "ServerlessMemoryMb": ("4096", "hosting.serverless_memory_mb", 4096),
    "ServerlessMaxConcurrency": ("20", "hosting.serverless_max_concurrency", 20),
    "TrafficShifting": ("linear", "hosting.traffic_shifting", "linear"),
    "WatchSeconds": ("600", "hosting.watch_seconds", 600),
    "MaxLatencySeconds": ("5", "hosting.max_latency_seconds", 5),
    "Tolerance": ("0.02", "tolerance", 0.02),
    "Incomparable": ("accept", "incomparable", "accept"),
    "Teardown": ("when_idle:PT2H", "teardown", {"when_idle": "PT2H"}),
}
"""By parameter: another value, and the field of a run's input that has it then."""


def run_with(template: Template, **parameters: str) -> ExecutionInput:
    """The input of a run that only names a dataset, with the deployment's defaults."""
    changed = copy.copy(template)
    # Only this recipe takes every learning rate.
    recipe = {"Recipe": "classic"} if "Lr" in parameters else {}
    changed.parameters = {**template.parameters, **recipe, **parameters}
    return ExecutionInput.model_validate({"dataset": "sotu", **json.loads(changed.resolve(DEFAULTS))})


def allows(name: str, value: str) -> bool:
    parameter = PARAMETERS[name]
    if "AllowedValues" in parameter:
        return value in map(str, parameter["AllowedValues"])
    fits = re.fullmatch(parameter["AllowedPattern"], value) is not None
    return fits and len(value) <= parameter.get("MaxLength", len(value))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_has_a_description_a_default_and_says_what_it_allows(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter["Description"].endswith(".")
    assert allows(name, str(parameter["Default"]))
    assert "AllowedValues" in parameter or parameter["ConstraintDescription"]


def test_every_parameter_is_shown_in_one_group() -> None:
    groups = source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)


def test_every_parameter_is_used() -> None:
    text = json.dumps([source()[part] for part in ("Conditions", "Globals", "Resources")])
    unused = [name for name in PARAMETERS if f'"{name}"' not in text and f"${{{name}}}" not in text]
    assert unused == []


# --- one default for everybody


def test_the_defaults_are_those_of_an_executions_input(template: Template) -> None:
    assert run_with(template) == ExecutionInput(dataset="sotu")


def test_the_default_hyperparameters_are_the_training_scripts(template: Template) -> None:
    given = run_with(template).hyperparameters
    arguments = [f"--{name}={value}" for name, value in given if value is not None]
    assert {name for name, _ in given} == set(asdict(hyperparameters.parse([])))
    assert hyperparameters.parse(arguments) == hyperparameters.parse([])


def test_the_documented_input_shows_the_default_machines(template: Template) -> None:
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    shown = [block for block in blocks if {"dataset", "training", "hosting"} <= block.keys()]
    assert shown
    defaults = run_with(template)
    for block in shown:
        assert block["training"].items() <= defaults.training.model_dump().items()
        assert block["hosting"].items() <= defaults.hosting.model_dump().items()


# --- a run accepts what a deployment allows


def test_every_parameter_is_tried_at_its_limits() -> None:
    assert BOUNDARIES.keys() == {name for name in PARAMETERS if "AllowedPattern" in PARAMETERS[name]}


@pytest.mark.parametrize("name", IN_RUNS)
def test_a_run_accepts_every_listed_value(template: Template, name: str) -> None:
    for value in PARAMETERS[name].get("AllowedValues") or BOUNDARIES[name][0]:
        assert allows(name, str(value)), value
        run_with(template, **{name: str(value)})


@pytest.mark.parametrize("name", sorted(BOUNDARIES))
def test_a_deployment_accepts_the_last_value_and_not_the_one_after(name: str) -> None:
    accepted, refused = BOUNDARIES[name]
    assert [value for value in accepted if not allows(name, value)] == []
    assert [value for value in refused if allows(name, value)] == []


@pytest.mark.parametrize("name", [name for name in IN_RUNS if "AllowedPattern" in PARAMETERS[name]])
@settings(max_examples=30, derandomize=True, deadline=None)
@given(data=st.data())
def test_a_run_accepts_every_value_that_a_pattern_allows(
    template: Template, name: str, data: st.DataObject
) -> None:
    pattern = PARAMETERS[name]["AllowedPattern"].removeprefix("^").removesuffix("$")
    run_with(template, **{name: data.draw(st.from_regex(pattern, fullmatch=True))})


def test_an_endpoints_name_fits_into_the_names_made_of_it() -> None:
    for name in filter(None, BOUNDARIES["EndpointName"][0]):
        TypeAdapter(EndpointName).validate_python(name)


@pytest.mark.parametrize(("given", "name"), [("", "poems-two"), ("poems", "poems")])
def test_the_endpoint_has_the_stacks_name_if_none_is_given(
    deployed_with: Callable[..., Template], given: str, name: str
) -> None:
    template = deployed_with(stack="poems-two", EndpointName=given)
    assert template.output("EndpointName") == name
    functions = ("Plan", "ExecutionEnded", "Sweep", "StackDeletion", "Api")
    variables = [variables_of(template, f"{function}Function") for function in functions]
    assert {each["ENDPOINT_NAME"] for each in variables} == {name}


def test_an_update_of_a_stack_keeps_the_endpoints_name() -> None:
    """Earlier versions had the default `lexline` for every stack. SAM keeps a value that it is not given."""
    template = {"Parameters": source()["Parameters"]}
    merged = DeployContext.merge_parameters(template, {"Epochs": "2"})
    assert {"ParameterKey": "EndpointName", "UsePreviousValue": True} in merged
    config = tomllib.loads((PROJECT / "samconfig.toml").read_text(encoding="utf-8"))
    assert "EndpointName" not in json.dumps(config)


def test_a_parameter_changes_the_field_of_its_name(template: Template) -> None:
    assert sorted(CHANGED) == IN_RUNS
    run = run_with(template, **{name: value for name, (value, _, _) in CHANGED.items()})
    document = run.model_dump(mode="json")
    for name, (_, field, result) in CHANGED.items():
        assert reduce(lambda part, key: part[key], field.split("."), document) == result, name
