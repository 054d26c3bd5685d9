"""settings: what the deployment tells a function, and a sentence where it does not."""

from typing import Any

import pytest

from contracts.request import HostingResources
from core import environment
from core.errors import Misconfigured

READERS = {
    "BUCKET": environment.bucket,
    "TABLE": environment.table,
    "ENDPOINT_NAME": environment.endpoint_name,
    "EXECUTION_ROLE_ARN": environment.execution_role_arn,
    "TOPIC_ARN": environment.topic_arn,
    "STATE_MACHINE_ARN": environment.state_machine_arn,
    "QUIET_SECONDS": environment.quiet_seconds,
    "ALARMS": environment.alarms,
    "SWEEP": environment.sweep_deletes,
    "SCHEDULE_GROUP": environment.schedule_group,
    "SCHEDULE_ROLE_ARN": environment.schedule_role_arn,
    "AWS_REGION": environment.region,
    "TRAINING_IMAGE_CPU": lambda: environment.training_image("ml.m5.large"),
    "TRAINING_IMAGE_GPU": lambda: environment.training_image("ml.g5.xlarge"),
    "HOSTING_IMAGE_CPU": lambda: environment.hosting_image(HostingResources()),
    "HOSTING_IMAGE_GPU": lambda: environment.hosting_image(HostingResources(instance_type="ml.g5.xlarge")),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", [None, ""])
def test_a_setting_that_is_missing_names_itself_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=rf"{name} is not set .* deploy template\.yaml again"):
        READERS[name]()


def test_the_environment_is_read_at_each_call(variables: Any) -> None:
    assert environment.bucket() == variables["BUCKET"]
    assert environment.quiet_seconds() == 60.0
    assert environment.alarms() == ["lexline-5xx", "lexline-latency"]
    assert environment.hosting_image(HostingResources()) == variables["HOSTING_IMAGE_CPU"]


@pytest.mark.parametrize(("value", "names"), [("a", ["a"]), ("a,b", ["a", "b"]), (",", []), ("a,", ["a"])])
def test_alarms_are_named_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, value: str, names: list[str]
) -> None:
    monkeypatch.setenv("ALARMS", value)
    assert environment.alarms() == names


@pytest.mark.parametrize(("value", "deletes"), [("delete", True), ("report", False), ("Delete", False)])
def test_the_sweep_deletes_only_where_the_deployment_says_just_that(
    monkeypatch: pytest.MonkeyPatch, value: str, deletes: bool
) -> None:
    monkeypatch.setenv("SWEEP", value)
    assert environment.sweep_deletes() is deletes


def test_a_deployment_without_defaults_has_empty_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEFAULTS", raising=False)
    assert environment.defaults() == "{}"
    monkeypatch.setenv("DEFAULTS", '{"teardown": "never"}')
    assert environment.defaults() == '{"teardown": "never"}'


@pytest.mark.parametrize(
    ("instance_type", "gpu"),
    [
        ("ml.m5.large", False),
        ("ml.c6i.32xlarge", False),
        ("ml.t2.medium", False),
        ("ml.r5.large", False),
        ("ml.inf2.xlarge", False),
        ("ml.trn1.2xlarge", False),
        ("ml.g4dn.xlarge", True),
        ("ml.g5.48xlarge", True),
        ("ml.gr6.4xlarge", True),
        ("ml.p3.2xlarge", True),
        ("ml.p5en.48xlarge", True),
    ],
)
def test_the_families_g_and_p_have_gpus(instance_type: str, gpu: bool) -> None:
    assert environment.has_gpu(instance_type) is gpu
