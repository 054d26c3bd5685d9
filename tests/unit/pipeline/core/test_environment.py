"""environment: the variables that the deployment sets on a function."""

from collections.abc import Callable

import pytest

from contracts.request import HostingResources
from core import environment
from core.errors import Misconfigured

READERS: dict[str, Callable[[], object]] = {
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
    "HOSTING_IMAGE": lambda: environment.hosting_image(HostingResources()),
    "SERVERLESS_IMAGE": lambda: environment.hosting_image(HostingResources(endpoint_type="serverless")),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", [None, ""])
def test_the_error_names_a_missing_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=rf"{name} is not set .* Deploy template\.yaml again"):
        READERS[name]()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("QUIET_SECONDS", "60", 60.0),
        ("ALARMS", "a", ["a"]),
        ("ALARMS", "a,b", ["a", "b"]),
        ("ALARMS", ",", []),
        ("SWEEP", "delete", True),
        ("SWEEP", "report", False),
        ("SWEEP", "Delete", False),
    ],
)
def test_a_variable_is_parsed(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(name, text)
    assert READERS[name]() == value


@pytest.mark.parametrize(
    "cpu", ["m5.large", "c6i.32xlarge", "t2.medium", "r5.large", "inf2.xlarge", "trn1.2xlarge"]
)
@pytest.mark.parametrize("gpu", ["g4dn.xlarge", "g5.48xlarge", "gr6.4xlarge", "p3.2xlarge", "p5en.48xlarge"])
def test_the_instance_families_g_and_p_have_gpus_and_their_own_images(
    variables: dict[str, str], cpu: str, gpu: str
) -> None:
    assert environment.training_image(f"ml.{cpu}") == variables["TRAINING_IMAGE_CPU"]
    assert environment.training_image(f"ml.{gpu}") == variables["TRAINING_IMAGE_GPU"]
    assert not environment.has_gpu(f"ml.{cpu}")
    assert environment.has_gpu(f"ml.{gpu}")


@pytest.mark.parametrize("instance_type", ["ml.m5.large", "ml.g5.xlarge"])
def test_texts_are_generated_on_processors_and_ray_is_not_for_serverless(
    variables: dict[str, str], instance_type: str
) -> None:
    """The deployment's defaults may still have an instance type."""
    hosting = HostingResources(instance_type=instance_type)
    assert environment.hosting_image(hosting) == variables["HOSTING_IMAGE"]
    serverless = hosting.model_copy(update={"endpoint_type": "serverless"})
    assert environment.hosting_image(serverless) == variables["SERVERLESS_IMAGE"]
