"""teardown: endpoint, endpoint config and model are deleted in this order, and only the subject's."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from cleanup import idle, schedules
from core.errors import EndpointBusy, NothingToDo, NotOwned
from steps import teardown
from tests.unit.pipeline.documents import NAME, OTHER, OTHER_STACK_ID, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.still_clock import stand_still
from tests.unit.pipeline.stubbed_aws import ExpectedCalls, Owners

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
Tears = Callable[[], Document]


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, teardown, schedules, idle)


@pytest.fixture
def tears_down(documents: Documents, lease_held: TableInMemory, context: LambdaContext) -> Tears:
    return lambda: teardown.handler(documents.input("run", "lease"), context)


@pytest.fixture
def scheduled(documents: Documents) -> Callable[..., None]:
    """scheduled(**fields): make the documents' run one that a schedule started to tear NAME down."""

    def change(**fields: str) -> None:
        name = "lexline--teardown-bbbbbbbbbbbb"
        teardown_of = {"run": NAME, **fields}
        documents.run.update(name=name, work="teardown", dataset=None, teardown_of=teardown_of)

    return change


@pytest.mark.parametrize("by_schedule", [False, True])
@pytest.mark.parametrize("status", ["InService", "Failed", "OutOfService"])
def test_the_endpoint_is_deleted_first_and_waited_for(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any, by_schedule: bool, status: str
) -> None:
    """Its config is not read: a person may have deleted it, and the endpoint costs all the same."""
    if by_schedule:
        scheduled()
    expect.describe_endpoint(status)
    expect.delete_endpoint()
    with pytest.raises(EndpointBusy):
        tears_down()


@pytest.mark.parametrize("status", ["Deleting", "Updating", "Creating", "SystemUpdating", "RollingBack"])
def test_nothing_is_deleted_while_the_endpoint_changes(
    expect: ExpectedCalls, tears_down: Tears, status: str
) -> None:
    expect.describe_endpoint(status)
    with pytest.raises(EndpointBusy, match=status):
        tears_down()


@pytest.mark.parametrize("by_schedule", [False, True])
def test_config_and_model_are_deleted_after_the_endpoint(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any, by_schedule: bool
) -> None:
    if by_schedule:
        scheduled()
    expect.no_endpoint()
    expect.describe_endpoint_config()
    expect.delete_config_and_model()
    removed = ["endpoint/lexline", f"endpoint-config/{NAME}", f"model/{NAME}"]
    assert tears_down() == {"removed": removed}


def test_an_endpoint_that_serves_another_run_stays(expect: ExpectedCalls, tears_down: Tears) -> None:
    expect.describe_endpoint(config=OTHER)
    expect.delete_config_and_model()
    assert tears_down() == {"removed": [f"endpoint-config/{NAME}", f"model/{NAME}"]}


@pytest.mark.parametrize("by_schedule", [False, True])
def test_a_second_teardown_finds_nothing(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any, by_schedule: bool
) -> None:
    expect.no_endpoint()
    expect.no_endpoint_config()
    expect.delete_config_and_model(config=False, model=False)
    if by_schedule:
        scheduled()
        with pytest.raises(NothingToDo, match="are deleted already"):
            tears_down()
    else:
        assert tears_down() == {"removed": []}


@pytest.mark.parametrize("fields", [{}, {"when_idle": "PT1H"}])
def test_what_is_not_the_stacks_is_not_torn_down(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any, owners: Owners, fields: dict[str, str]
) -> None:
    scheduled(**fields)
    for resource in ("endpoint/lexline", f"endpoint-config/{NAME}"):
        owners.belongs_to(resource, OTHER_STACK_ID)
    expect.describe_endpoint()
    with pytest.raises(NotOwned, match="belongs to the stack lexline-two"):
        tears_down()


# --- by schedule


def test_a_scheduled_teardown_does_nothing_if_another_run_serves(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any
) -> None:
    """The endpoint may go back to the subject's config, so that stays too."""
    scheduled()
    expect.describe_endpoint(config=OTHER)
    with pytest.raises(NothingToDo, match=f"now serves {OTHER}, not {NAME}"):
        tears_down()


# --- when idle


def invocations(expect: ExpectedCalls, *points: tuple[str, float]) -> None:
    """Announce the request to CloudWatch, and datapoints by their time of the day."""
    found = [
        {"Timestamp": datetime.fromisoformat(f"2026-03-01T{at}+00:00"), "Sum": count} for at, count in points
    ]
    expect.stubbed.answers(
        "cloudwatch",
        "get_metric_statistics",
        {"Datapoints": found},
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": "lexline"},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=NOW - timedelta(hours=1),
        EndTime=NOW + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )


@pytest.mark.parametrize("points", [[], [("11:30:00", 0.0)]])
def test_an_idle_endpoint_is_deleted(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any, points: Any
) -> None:
    scheduled(when_idle="PT1H")
    expect.describe_endpoint()
    invocations(expect, *points)
    expect.delete_endpoint()
    with pytest.raises(EndpointBusy):
        tears_down()


@pytest.mark.parametrize(
    ("used", "next_check"),
    [
        # An hour and a second after the end of the last minute of use. CloudWatch does not sort datapoints.
        (["11:29:00", "11:30:00", "11:10:00"], "12:31:01"),
        (["12:00:00"], "13:01:01"),
        # The minute began more than an hour ago: check again as soon as it is over.
        (["11:00:00"], "12:01:01"),
    ],
)
def test_an_endpoint_in_use_stays_and_is_checked_again(
    expect: ExpectedCalls, tears_down: Tears, scheduled: Any, used: list[str], next_check: str
) -> None:
    scheduled(when_idle="PT1H")
    expect.describe_endpoint()
    invocations(expect, *((minute, 3.0) for minute in used), ("11:59:00", 0.0))
    expect.stubbed.answers("scheduler", "create_schedule", {"ScheduleArn": "arn"})
    expect.add_tags(teardown_at=f"2026-03-01T{next_check}+00:00")
    with pytest.raises(NothingToDo, match=f"next check is at 2026-03-01 {next_check[:5]} UTC"):
        tears_down()
    schedule = expect.stubbed.parameters["CreateSchedule"]
    assert schedule["ScheduleExpression"] == f"at(2026-03-01T{next_check})"
    assert json.loads(schedule["Target"]["Input"]) == {"teardown_of": {"run": NAME, "when_idle": "PT1H"}}
