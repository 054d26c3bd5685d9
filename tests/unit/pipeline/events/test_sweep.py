"""sweep: once a day, what nobody owns is told of or deleted, and events that never came are made up for."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordination import arrivals
from core.errors import AccessDenied
from events import sweep
from tests.unit.pipeline.still_clock import stand_still
from uploads.listing import UploadedObject

SERVING = "lexline--sotu-111111111111"
PREVIOUS = "lexline--sotu-222222222222"
HOLDER = "lexline--sotu-333333333333"
CLEANED = "lexline--sotu-444444444444"
ORPHAN = "lexline--sotu-555555555555"
# What another deployment of the account, with the endpoint lexline-2, has made.
STRANGER = "lexline-2--sotu-666666666666"
NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
DUE = "2026-03-08T10:59:59+00:00"
NOT_LATE = "2026-03-08T11:00:01+00:00"
NO_ENDPOINT = ("ValidationException", "Could not find endpoint")


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, sweep)


class Account:
    """Announces, in the order of the sweep, what there is; `orphans` are told of and, if asked, deleted."""

    def __init__(self, stubbed: Any, described: Any, table: Any, machine: Any) -> None:
        self.stubbed, self.described, self.table, self.machine = stubbed, described, table, machine
        self.tags: dict[str, dict[str, str]] = {}
        self._serving: str | None = None

    def serves(self, config: str = SERVING, **tags: str) -> None:
        self._serving = config
        self.tags[config] = {"verified": "2026-03-01T12:00:00+00:00", "generation": "7", **tags}

    def held_by(self, run: str, execution: str) -> None:
        self.table.put(
            "endpoint/lexline",
            owner=run,
            execution=execution,
            generation=7,
            until=time.time() + 900,
            waiting={},
        )

    def is_looked_at(self, *, for_its_end: bool) -> None:
        """The endpoint and the tags of the config that it has."""
        if self._serving is None:
            self.stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
            return
        self.stubbed.answers("sagemaker", "describe_endpoint", self.described.endpoint(config=self._serving))
        if self._serving.startswith("lexline--") and not (for_its_end and self._is_held()):
            arn = f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{self._serving}"
            tags = self.described.tags(**self.tags[self._serving])
            self.stubbed.answers("sagemaker", "list_tags", tags, ResourceArn=arn)

    def _is_held(self) -> bool:
        return "owner" in self.table.get("endpoint/lexline")

    def has_uploads(self, *datasets: str) -> None:
        self.stubbed.answers(
            "s3",
            "list_objects_v2",
            {"CommonPrefixes": [{"Prefix": f"uploads/{dataset}/"} for dataset in datasets]},
            Bucket="texts",
            Prefix="uploads/",
            Delimiter="/",
        )
        for dataset in datasets:
            self.stubbed.answers(
                "s3",
                "list_objects_v2",
                {
                    "Contents": [
                        {
                            "Key": f"uploads/{dataset}/a.txt",
                            "ETag": '"9b2cf535"',
                            "Size": 5,
                            "LastModified": NOW - timedelta(days=1),
                        }
                    ]
                },
                Bucket="texts",
                Prefix=f"uploads/{dataset}/",
            )

    def has_made(
        self, *, jobs: tuple[str, ...] = (), configs: tuple[str, ...] = (), models: tuple[str, ...] = ()
    ) -> None:
        at = datetime(2026, 3, 1, tzinfo=UTC)
        arn = "arn:aws:sagemaker:eu-west-1:111122223333"
        self.stubbed.answers(
            "sagemaker",
            "list_training_jobs",
            {
                "TrainingJobSummaries": [
                    {
                        "TrainingJobName": name,
                        "TrainingJobArn": f"{arn}:training-job/{name}",
                        "CreationTime": at,
                        "TrainingJobStatus": "InProgress",
                    }
                    for name in jobs
                ]
            },
            NameContains="lexline--",
            StatusEquals="InProgress",
        )
        # In pages: what is deleted must not move what is yet to be listed.
        for page, token in ((configs[:1], "more"), (configs[1:], None)):
            self.stubbed.answers(
                "sagemaker",
                "list_endpoint_configs",
                {
                    "EndpointConfigs": [
                        {
                            "EndpointConfigName": name,
                            "EndpointConfigArn": f"{arn}:endpoint-config/{name}",
                            "CreationTime": at,
                        }
                        for name in page
                    ],
                    **({"NextToken": token} if token else {}),
                },
                NameContains="lexline--",
                **({} if token else {"NextToken": "more"}),
            )
        self.stubbed.answers(
            "sagemaker",
            "list_models",
            {
                "Models": [
                    {"ModelName": name, "ModelArn": f"{arn}:model/{name}", "CreationTime": at}
                    for name in models
                ]
            },
            NameContains="lexline--",
        )

    def says_so(self) -> None:
        self.stubbed.answers("sns", "publish", {"MessageId": "1"})


@pytest.fixture
def account(stubbed: Any, described: Any, table: Any, machine: Any) -> Account:
    return Account(stubbed, described, table, machine)


@pytest.fixture
def sweeps(account: Account, context: Any) -> Any:
    """sweeps(jobs=..., configs=..., models=...): runs the sweep over an account that has these.

    `then` announces what is deleted, `told` says whether the topic is to hear of it.
    """

    def swept(
        *,
        uploads: tuple[str, ...] = (),
        then: Any = None,
        told: bool = False,
        **made: tuple[str, ...],
    ) -> Any:
        account.is_looked_at(for_its_end=True)
        account.has_uploads(*uploads)
        account.has_made(**made)
        account.is_looked_at(for_its_end=False)
        if then:
            then()
        if told:
            account.says_so()
        return sweep.handler({"detail-type": "Scheduled Event"}, context)

    return swept


QUIET = {"orphans": [], "removed": True, "started": []}

# --- what is owned -------------------------------------------------------------------------------


def test_an_account_in_order_is_not_spoken_of(account: Account, sweeps: Any) -> None:
    account.serves(previous=PREVIOUS)
    assert sweeps(configs=(SERVING, PREVIOUS), models=(SERVING, PREVIOUS)) == QUIET


def test_an_account_without_an_endpoint_owns_nothing(
    account: Account, sweeps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP", "report")
    found = sweeps(configs=(SERVING,), models=(SERVING,), told=True)
    assert found["orphans"] == [f"endpoint-config/{SERVING}", f"model/{SERVING}"]


def test_what_the_holder_of_the_lease_makes_is_its_own(account: Account, sweeps: Any) -> None:
    account.serves()
    account.held_by(HOLDER, account.machine.start("first", {"dataset": "sotu"}))
    assert sweeps(jobs=(HOLDER,), configs=(SERVING, HOLDER), models=(SERVING, HOLDER)) == QUIET


@pytest.mark.parametrize("task", ["cleanup_of", "teardown_of"])
def test_what_is_being_cleaned_up_is_left_to_who_does_it(account: Account, sweeps: Any, task: str) -> None:
    account.serves()
    account.held_by(HOLDER, account.machine.start("first", {task: {"run": CLEANED}}))
    assert sweeps(jobs=(CLEANED,), configs=(SERVING, CLEANED), models=(SERVING, CLEANED)) == QUIET


def test_another_deployments_things_are_not_even_looked_at(account: Account, sweeps: Any) -> None:
    """NameContains is not "begins with", and lexline-2 begins with lexline."""
    account.serves()
    odd = f"my-{ORPHAN}"
    found = sweeps(jobs=(STRANGER, odd), configs=(SERVING, STRANGER, odd), models=(STRANGER, odd))
    assert found == QUIET


def test_an_endpoint_that_no_run_has_made_is_left_alone(account: Account, sweeps: Any) -> None:
    """The sweep's role may not even read its config's tags."""
    account.serves("by-hand")
    assert sweeps() == QUIET


def test_who_owns_what_is_asked_after_the_lists(account: Account, sweeps: Any) -> None:
    """Else what a run makes in between would be nobody's."""
    account.serves()
    sweeps(configs=(SERVING,))
    calls = [call for call in account.stubbed.calls if call in ("ListModels", "DescribeEndpoint", "GetItem")]
    listed = calls.index("ListModels")
    assert "GetItem" in calls[listed:]
    assert "DescribeEndpoint" in calls[listed:]


# --- what is not ---------------------------------------------------------------------------------


def test_what_nobody_owns_is_deleted_and_told_of(account: Account, sweeps: Any) -> None:
    def deleted() -> None:
        account.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=ORPHAN)
        account.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=ORPHAN)
        account.stubbed.answers("sagemaker", "delete_model", {}, ModelName=ORPHAN)

    account.serves()
    found = sweeps(
        jobs=(ORPHAN,), configs=(SERVING, ORPHAN), models=(ORPHAN, SERVING), then=deleted, told=True
    )
    assert found == {
        "orphans": [f"training-job/{ORPHAN}", f"endpoint-config/{ORPHAN}", f"model/{ORPHAN}"],
        "removed": True,
        "started": [],
    }
    assert "3 resources belong to no run (deleted)" in account.stubbed.parameters["Publish"]["Message"]


def test_what_has_gone_by_itself_in_between_is_no_error(account: Account, sweeps: Any) -> None:
    def gone() -> None:
        for operation, message in (
            ("stop_training_job", "The training job is in status Completed."),
            ("delete_endpoint_config", "Could not find endpoint configuration"),
            ("delete_model", "Could not find model"),
        ):
            account.stubbed.refuses("sagemaker", operation, "ValidationException", message)

    account.serves()
    found = sweeps(jobs=(ORPHAN,), configs=(ORPHAN,), models=(ORPHAN,), then=gone, told=True)
    assert found["removed"] is True


def test_a_deployment_that_only_wants_to_know_keeps_everything(
    account: Account, sweeps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP", "report")
    account.serves()
    found = sweeps(jobs=(ORPHAN,), configs=(SERVING, ORPHAN), models=(ORPHAN,), told=True)
    assert found["removed"] is False
    assert len(found["orphans"]) == 3
    assert "not deleted: parameter Sweep is report" in account.stubbed.parameters["Publish"]["Message"]
    assert not {"StopTrainingJob", "DeleteEndpointConfig", "DeleteModel"} & set(account.stubbed.calls)


def test_a_deletion_that_is_refused_comes_after_everything_else(
    account: Account, sweeps: Any, machine: Any
) -> None:
    def refused() -> None:
        account.stubbed.refuses("sagemaker", "delete_model", "AccessDeniedException", "Not allowed.")

    account.serves(teardown_at=DUE)
    with pytest.raises(AccessDenied):
        sweeps(models=(ORPHAN,), then=refused)
    assert len(machine.executions) == 1


# --- the lease of an execution whose end nobody saw ----------------------------------------------


def test_a_lease_whose_execution_has_ended_is_passed_on(account: Account, sweeps: Any) -> None:
    arn = account.machine.start("first", {"dataset": "sotu"})
    account.held_by(HOLDER, arn)
    account.machine.end(arn, "SUCCEEDED")
    sweeps()
    assert "owner" not in account.table.get("endpoint/lexline")


# --- an endpoint that should be gone -------------------------------------------------------------


def started(machine: Any, purpose: str) -> Any:
    """The input of the only execution, which is named for its purpose."""
    (arn,) = machine.executions
    assert arn.startswith(machine.arn(f"{purpose}-"))
    return machine.input(arn)


@pytest.mark.parametrize("idle", [None, "PT1H"])
def test_an_endpoint_whose_schedule_never_came_is_taken_down(
    account: Account, sweeps: Any, machine: Any, idle: str | None
) -> None:
    account.serves(teardown_at=DUE, **({"teardown_when_idle": idle} if idle else {}))
    found = sweeps(told=True)
    wish = {"run": SERVING, **({"when_idle": idle} if idle else {})}
    assert started(machine, "teardown") == {"teardown_of": wish}
    assert found["started"] == list(machine.executions)


@pytest.mark.parametrize("tags", [{}, {"teardown_at": NOT_LATE}])
def test_an_endpoint_that_may_stay_stays(account: Account, sweeps: Any, machine: Any, tags: Any) -> None:
    account.serves(**tags)
    assert sweeps() == QUIET
    assert machine.executions == {}


def test_while_a_run_works_on_the_endpoint_its_end_can_wait(
    account: Account, sweeps: Any, machine: Any
) -> None:
    account.serves(teardown_at=DUE)
    account.held_by(HOLDER, machine.start("first", {"dataset": "sotu"}))
    assert sweeps() == QUIET
    assert len(machine.executions) == 1


def test_a_take_down_that_helped_nothing_is_tried_again_every_day_and_said_once_a_day(
    account: Account, sweeps: Any, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.serves(teardown_at=DUE)
    for day, told in ((0, True), (0, False), (1, True), (2, True)):
        stand_still(monkeypatch, NOW + timedelta(days=day), sweep)
        assert bool(sweeps(told=told)["started"]) is told
        for arn in machine.executions:
            machine.end(arn, "FAILED", "AccessDenied")
    assert len(machine.executions) == 3


def test_a_model_that_never_passed_its_smoke_test_is_put_back(
    account: Account, sweeps: Any, machine: Any
) -> None:
    """Its run could not clean up. To take the endpoint down would be worse."""
    account.serves(previous=PREVIOUS)
    del account.tags[SERVING]["verified"]
    sweeps(told=True)
    assert started(machine, "cleanup") == {
        "cleanup_of": {"run": SERVING, "execution": "", "status": "FAILED"}
    }


def test_a_deployment_that_only_wants_to_know_is_told_of_such_a_model(
    account: Account, sweeps: Any, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP", "report")
    account.serves()
    del account.tags[SERVING]["verified"]
    assert sweeps(told=True)["orphans"] == ["endpoint/lexline"]
    assert machine.executions == {}


def test_an_endpoint_of_a_deployment_that_marked_none_is_not_taken_for_unverified(
    account: Account, sweeps: Any, machine: Any
) -> None:
    account.serves()
    account.tags[SERVING] = {"run": SERVING}
    assert sweeps() == QUIET


# --- uploads that no run has seen ----------------------------------------------------------------


def test_a_dataset_whose_event_never_came_is_run(account: Account, sweeps: Any, machine: Any) -> None:
    account.serves()
    found = sweeps(uploads=("sotu",), told=True)
    assert started(machine, "lost-upload") == {"dataset": "sotu"}
    assert found["started"] == list(machine.executions)


def test_a_dataset_that_a_run_has_seen_is_not(account: Account, sweeps: Any, machine: Any) -> None:
    account.serves()
    seen = UploadedObject("uploads/sotu/a.txt", "9b2cf535", 5, NOW)
    arrivals.mark_handled("sotu", [seen])
    assert sweeps(uploads=("sotu",)) == QUIET
    assert machine.executions == {}


def test_a_lost_upload_is_run_once_and_said_once(account: Account, sweeps: Any, machine: Any) -> None:
    account.serves()
    sweeps(uploads=("sotu",), told=True)
    for arn in machine.executions:
        machine.end(arn, "FAILED", "InvalidInput")
    assert sweeps(uploads=("sotu",)) == QUIET
    assert len(machine.executions) == 1


def test_a_gatherer_whose_end_nobody_heard_of_is_let_go(
    account: Account, machine: Any, new_run: Any, stubbed: Any, context: Any
) -> None:
    upload = {
        "bucket": "texts",
        "key": "uploads/sotu/a.txt",
        "etag": "9b2cf535",
        "size": 5,
        "version_id": "v",
    }
    run = new_run("gatherer", upload=upload, dataset="sotu")
    arrivals.gather(run, 30)
    machine.end(run.execution.id, "ABORTED")
    account.serves()
    account.is_looked_at(for_its_end=True)
    stubbed.answers("s3", "list_objects_v2", {"CommonPrefixes": [{"Prefix": "uploads/sotu/"}]})
    account.has_made()
    account.is_looked_at(for_its_end=False)
    sweep.handler({}, context)
    assert arrivals.gatherer("sotu") is None
    assert list(machine.executions) == [run.execution.id]


def test_an_empty_folder_is_no_upload(account: Account, machine: Any, stubbed: Any, context: Any) -> None:
    account.serves()
    account.is_looked_at(for_its_end=True)
    stubbed.answers("s3", "list_objects_v2", {"CommonPrefixes": [{"Prefix": "uploads/sotu/"}]})
    marker = {"Key": "uploads/sotu/", "ETag": '"d41d8"', "Size": 0, "LastModified": NOW}
    stubbed.answers("s3", "list_objects_v2", {"Contents": [marker]})
    account.has_made()
    account.is_looked_at(for_its_end=False)
    assert sweep.handler({}, context) == QUIET
    assert machine.executions == {}
