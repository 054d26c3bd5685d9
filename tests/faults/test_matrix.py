"""The fault matrix: one fault at a time, and what is left after it. docs/reliability.md has it as a table."""

import hashlib
from typing import Any

import pytest

from tests.faults.plan import Faults
from tests.faults.world import ENDPOINT, World, text
from tests.stack import DeployedStack

# An SDK tries a call four times before the state machine tries the step again.
ATTEMPTS = 4
BY = {"InvokeEndpoint": "smoke_test", "DescribeEndpoint": "deploy", "DescribeTrainingJob": "training"}


@pytest.fixture
def world(stack: DeployedStack, faults: Faults) -> World:
    return World(stack, faults)


def failed(description: dict[str, Any], error: str) -> str:
    assert (description["status"], description.get("error")) == ("FAILED", error)
    return str(description["cause"])


# --- calls to AWS --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["throttle", "internal_error"])
def test_calls_that_are_refused_for_a_while_are_made_again(world: World, kind: str) -> None:
    world.serve()
    operations = ("CreateTrainingJob", "CreateModelPackage", "CreateModel", "CreateEndpointConfig",
                  "UpdateEndpoint", "InvokeEndpoint", "DescribeEndpoint", "DescribeTrainingJob")  # fmt: skip
    for operation in operations:
        # Not the test's own calls.
        getattr(world.faults, kind)(operation, times=2 * ATTEMPTS, by=BY.get(operation, ""))
    world.run_upload("first", 1)
    assert world.faults.unused() == []
    assert world.outcomes() == ["Succeeded", "Succeeded"]
    world.assert_sound(serves=world.trained()[-1])


def test_a_quota_that_is_used_up_is_waited_for(world: World) -> None:
    world.faults.limit("CreateTrainingJob", times=3)
    world.run_upload("first", 1)
    assert world.outcomes() == ["Succeeded"]
    world.assert_sound(serves=world.trained()[-1])


def test_a_call_whose_answer_is_lost_is_not_made_twice_over(world: World) -> None:
    world.serve()
    for operation in (
        "CreateTrainingJob",
        "CreateModelPackage",
        "CreateModel",
        "CreateEndpointConfig",
        "UpdateEndpoint",
    ):
        world.faults.lose_answer(operation)
    world.run_upload("first", 1)
    assert world.faults.unused() == []
    assert world.outcomes() == ["Succeeded", "Succeeded"]
    assert len(world.trained()) == 2
    packages = world.sagemaker.list_model_packages(ModelPackageGroupName=ENDPOINT)["ModelPackageSummaryList"]
    assert len(packages) == 2
    world.assert_sound(serves=world.trained()[-1])


def test_slow_calls_cost_time_and_nothing_else(world: World) -> None:
    for operation in ("CreateTrainingJob", "CreateEndpoint", "UpdateItem"):
        world.faults.slow(operation, seconds=1.0)
    world.run_upload("first", 1)
    assert world.outcomes() == ["Succeeded"]
    world.assert_sound(serves=world.trained()[-1])


def test_a_denied_call_fails_the_run_and_names_the_action(world: World) -> None:
    served = world.serve()
    world.faults.deny("CreateEndpointConfig", times=None)
    ended = world.run({"dataset": "first", "force": True})
    assert "CreateEndpointConfig" in failed(ended, "AccessDenied")
    world.assert_sound(serves=served)


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "error", "said"),
    [
        ("Failed", "TrainingFailed", "out of memory"),
        ("Stopped", "TrainingStopped", "stopped before it ended"),
        ("MaxRuntimeExceeded", "TrainingTimedOut", "max_runtime_seconds"),
    ],
)
def test_a_job_that_does_not_complete_fails_the_run(
    world: World, outcome: Any, error: str, said: str
) -> None:
    served = world.serve()
    world.faults.job(outcome, reason="AlgorithmError: out of memory")
    ended = world.run({"dataset": "first", "force": True})
    assert said in failed(ended, error)
    world.assert_sound(serves=served)


def test_a_job_whose_spot_instance_is_taken_goes_on(world: World) -> None:
    world.faults.job("Interrupted")
    world.run_upload("first", 1)
    assert world.outcomes() == ["Succeeded"]
    world.assert_sound(serves=world.trained()[-1])


# --- the gate ------------------------------------------------------------------------------------


def test_a_model_worse_than_the_one_that_serves_is_rejected_with_both_figures(world: World) -> None:
    served = world.serve()
    world.faults.metrics(test_perplexity=190.0, challenger_perplexity=190.0, champion_perplexity=60.0)
    world.run_upload("first", 1)
    report = world.reports()[-1]
    assert report["status"] == "Rejected"
    assert "190.00" in report["reason"]
    assert "60.00" in report["reason"]
    world.assert_sound(serves=served)


def test_a_diverged_model_is_rejected(world: World) -> None:
    served = world.serve()
    world.faults.metrics(test_perplexity=float(10**9))
    world.run_upload("first", 1)
    assert world.outcomes() == ["Succeeded", "Rejected"]
    world.assert_sound(serves=served)


# --- deployment ----------------------------------------------------------------------------------


def test_a_first_endpoint_that_fails_is_removed(world: World) -> None:
    world.faults.create_fails("The model could not be loaded.")
    ended = world.run_upload("first", 1)
    assert "could not be loaded" in failed(ended, "EndpointFailed")
    world.assert_sound(serves=None)


@pytest.mark.parametrize("reason", ["Alarm lexline-endpoint-errors", ""])
def test_an_update_that_is_taken_back_is_a_failure(world: World, reason: str) -> None:
    served = world.serve()
    world.faults.update_reverts(reason)
    world.faults.wait_at_most(1.0)
    ended = world.run({"dataset": "first", "force": True})
    assert reason in failed(ended, "UpdateReverted")
    world.assert_sound(serves=served)


ANSWERS = ["empty", "unknown", "another model", "another text", "failing", "garbage"]


@pytest.mark.parametrize("how", ANSWERS)
def test_a_model_that_answers_badly_is_replaced_by_the_former(world: World, how: Any) -> None:
    served = world.serve()
    execution, job = world.training({"dataset": "first", "force": True})
    world.faults.answer(how, name=job)
    world.faults.catch_up()
    failed(world.ended(execution), "SmokeTestFailed")
    assert any("is back at" in said for said in world.messages())
    world.assert_sound(serves=served)


@pytest.mark.parametrize("how", ["empty", "garbage"])
def test_a_first_model_that_answers_badly_is_removed(world: World, how: Any) -> None:
    world.faults.answer(how)
    ended = world.run_upload("first", 1)
    failed(ended, "SmokeTestFailed")
    world.assert_sound(serves=None)


def test_a_model_that_answers_too_slowly_is_replaced_by_the_former(world: World) -> None:
    served = world.serve()
    limit = {"max_latency_seconds": 0.2}
    execution, job = world.training({"dataset": "first", "force": True, "hosting": limit})
    world.faults.answer("slow", seconds=0.4, name=job)
    world.faults.catch_up()
    assert "max_latency_seconds" in failed(world.ended(execution), "SmokeTestFailed")
    world.assert_sound(serves=served)


# --- events --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "doubled", "late", "early"])
@pytest.mark.parametrize("resource", ["training-job", "endpoint"])
def test_an_event_that_comes_otherwise_changes_nothing(world: World, resource: Any, how: Any) -> None:
    world.faults.event(resource, how, seconds=0.3)
    world.faults.wait_at_most(1.0)
    world.run_upload("first", 1)
    assert world.faults.unused() == []
    assert world.outcomes() == ["Succeeded"]
    assert len(world.trained()) == 1
    world.assert_sound(serves=world.trained()[-1])


@pytest.mark.parametrize("how", ["doubled", "late"])
def test_an_uploads_event_that_comes_otherwise_makes_no_other_model(world: World, how: Any) -> None:
    world.faults.event("upload", how, seconds=2.0)
    world.upload("first", 1)
    world.until(world.trained, "a job")
    world.rest()
    assert world.faults.unused() == []
    assert len(world.trained()) == 1
    world.assert_sound(serves=world.trained()[-1])


def test_an_upload_whose_event_is_lost_has_its_run_by_the_next_sweep(world: World) -> None:
    world.faults.event("upload", "lost")
    world.upload("first", 1)
    assert world.lost() == ["first"]
    assert len(world.sweep()["started"]) == 1
    assert world.outcomes() == ["Succeeded"]
    world.assert_sound(serves=world.trained()[-1])


@pytest.mark.parametrize("how", ["lost", "doubled", "late"])
def test_the_lease_goes_on_however_the_end_of_its_holder_is_told(world: World, how: Any) -> None:
    world.serve()
    world.faults.wait_at_most(1.0)
    first, _ = world.training({"dataset": "first", "force": True})
    world.faults.event("execution", how, seconds=0.5, name=first.rsplit(":", 1)[1])
    world.upload("second", 1)
    world.until(lambda: len(world.executions()) == 3, "the second upload's execution")
    world.faults.catch_up()
    world.until(lambda: len(world.trained()) == 3, "the second run")
    world.rest()
    assert world.faults.unused() == []
    world.assert_one_at_a_time()
    world.assert_sound(serves=world.trained()[-1])


# --- uploads -------------------------------------------------------------------------------------


def test_uploads_of_a_dataset_within_the_quiet_period_make_one_run(world: World) -> None:
    # However slow the machine is: whoever gathers does so until its run has begun.
    world.faults.slow("UpdateItem", seconds=1.0, by="acquire")
    for number in range(3):
        world.upload("first", number, file=f"{number}.txt")
    world.until(lambda: len(world.executions()) == 3, "three executions")
    world.rest()
    assert sorted(world.outcomes()) == ["Skipped", "Skipped", "Succeeded"]
    assert len(world.trained()) == 1
    world.assert_sound(serves=world.trained()[-1])


def test_uploads_during_a_run_make_exactly_one_more_on_the_newest_data(world: World) -> None:
    world.serve()
    world.training({"dataset": "first", "force": True})
    for version in (1, 2, 3):
        world.upload("first", version)
    world.until(lambda: len(world.executions()) == 5, "their executions")
    world.faults.catch_up()
    world.rest()
    assert len(world.trained()) == 3
    newest = world.reports()[-1]["dataset"] or next(
        r["dataset"] for r in world.reports()[::-1] if r.get("job")
    )
    assert newest["source"][0]["etag"] == hashlib.md5(text(3)).hexdigest()
    world.assert_one_at_a_time()
    world.assert_sound(serves=world.trained()[-1])


def test_an_object_replaced_between_its_event_and_its_run_is_trained_on_once(world: World) -> None:
    world.faults.event("upload", "late", seconds=0.2)
    world.faults.slow("UpdateItem", seconds=1.0, by="acquire")
    world.upload("first", 1)
    world.upload("first", 2)
    world.until(lambda: len(world.executions()) == 2, "both executions")
    world.rest()
    trained = [report for report in world.reports() if report.get("job")]
    assert [report["dataset"]["source"][0]["etag"] for report in trained] == [
        hashlib.md5(text(2)).hexdigest()
    ]
    world.assert_sound(serves=world.trained()[-1])


def test_the_same_data_again_is_unchanged_before_it_costs_anything(world: World) -> None:
    served = world.serve()
    world.run_upload("first", 0)
    assert world.outcomes() == ["Succeeded", "Unchanged"]
    assert len(world.trained()) == 1
    world.assert_sound(serves=served)


# --- functions and the table ---------------------------------------------------------------------

KILLS = [
    ("gather", "UpdateItem", "after"),
    ("acquire", "UpdateItem", "after"),
    ("prepare", "PutObject", "before"),
    ("training", "CreateTrainingJob", "before"),
    ("training", "CreateTrainingJob", "after"),
    ("register", "CreateModelPackage", "after"),
    ("create_model", "CreateModel", "after"),
    ("deploy", "CreateEndpointConfig", "after"),
    ("deploy", "UpdateEndpoint", "before"),
    ("deploy", "UpdateEndpoint", "after"),
    ("smoke_test", "InvokeEndpoint", "before"),
    ("finish", "AddTags", "after"),
    ("report", "PutObject", "before"),
    ("callback", "SendTaskSuccess", "before"),
    ("ended", "UpdateItem", "after"),
]


@pytest.mark.parametrize(("function", "operation", "when"), KILLS, ids=["-".join(kill) for kill in KILLS])
def test_a_function_killed_in_the_middle_of_its_step_is_made_up_for(
    world: World, function: str, operation: str, when: Any
) -> None:
    world.serve()
    world.faults.wait_at_most(2.0)
    world.faults.kill(function, operation, when=when)
    world.run_upload("first", 1)
    assert world.faults.unused() == []
    assert world.outcomes() == ["Succeeded", "Succeeded"]
    assert len(world.trained()) == 2
    world.assert_sound(serves=world.trained()[-1])


@pytest.mark.parametrize("operation", ["UpdateItem", "GetItem"])
def test_a_throttled_table_is_waited_for(world: World, operation: str) -> None:
    world.faults.throttle(operation, times=3 * ATTEMPTS)
    world.run_upload("first", 1)
    assert world.outcomes() == ["Succeeded"]
    world.assert_sound(serves=world.trained()[-1])


# --- aborts and time-outs ------------------------------------------------------------------------


def test_aborting_while_training_stops_the_job(world: World) -> None:
    served = world.serve()
    world.faults.job("InProgress")
    execution = world.stack.start({"dataset": "first", "force": True})
    world.until(lambda: len(world.trained()) == 2, "the job")
    world.abort(execution)
    world.until(lambda: world.orphans() == [], "the job to be stopped")
    world.rest()
    assert [each["status"] for each in world.executions()] == ["SUCCEEDED", "ABORTED", "SUCCEEDED"]
    world.assert_sound(serves=served)


def test_a_timed_out_execution_is_cleaned_up_after_too(world: World) -> None:
    served = world.serve()
    world.faults.job("InProgress")
    execution = world.stack.start({"dataset": "first", "force": True})
    world.until(lambda: len(world.trained()) == 2, "the job")
    world.faults.time_out(execution)
    world.until(lambda: world.orphans() == [], "the job to be stopped")
    world.rest()
    assert world.described(execution)["status"] == "TIMED_OUT"
    world.assert_sound(serves=served)


STEPS = ["Prepare", "CreateModel", "Deploy", "SmokeTest", "Finish", "Report"]


@pytest.mark.parametrize("state", STEPS)
def test_aborting_in_any_step_leaves_one_model_or_the_other(world: World, state: str) -> None:
    served = world.serve()
    slow = {"Prepare": "ListObjectsV2", "CreateModel": "CreateModel", "Deploy": "UpdateEndpoint",
            "SmokeTest": "InvokeEndpoint", "Finish": "AddTags", "Report": "Publish"}[state]  # fmt: skip
    by = {"CreateModel": "create_model", "SmokeTest": "smoke_test"}.get(state, state.lower())
    # Longer than the clean-up's first look takes to come, and not as long as it waits before its second, as
    # with the functions' own limits.
    world.faults.slow(slow, seconds=0.25, by=by)
    execution = world.stack.start({"dataset": "first", "force": True})
    world.until(lambda: state in world.entered(execution), f"the execution to come to {state}")
    world.abort(execution)
    world.rest()
    assert world.answering() in (served, world.trained()[-1])
    world.assert_sound()


def test_aborting_while_uploads_are_gathered_loses_none_that_had_joined(world: World) -> None:
    served = world.serve()
    world.training({"dataset": "first", "force": True})
    world.upload("second", 1)
    world.until(lambda: world.item("dataset/second").get("run"), "a gatherer")
    gatherer = str(world.item("dataset/second")["execution"])
    world.upload("second", 2)
    world.until(lambda: world.item("dataset/second").get("joined") == 2, "the second upload to join")
    world.abort(gatherer)
    world.faults.catch_up()
    world.rest()
    assert world.described(gatherer)["status"] == "ABORTED"
    assert world.answering() != served
    world.assert_sound(serves=world.trained()[-1])


def test_a_run_that_lost_its_lease_touches_nothing_of_the_run_that_has_it(world: World) -> None:
    world.serve()
    stale, _ = world.training({"dataset": "first", "force": True})
    world.expire_lease()
    world.upload("second", 1)
    world.until(
        lambda: world.answering() == world.trained()[-1] and len(world.trained()) == 3, "the newer model"
    )
    newer = world.trained()[-1]
    world.faults.catch_up()
    failed(world.ended(stale), "LeaseLost")
    world.assert_sound(serves=newer)


def test_a_run_whose_execution_is_gone_gives_its_lease_up(world: World) -> None:
    served = world.serve()
    world.faults.job("InProgress")
    dead = world.stack.start({"dataset": "first", "force": True})
    world.until(lambda: len(world.trained()) == 2, "the job")
    world.faults.event("execution", "lost", name=dead.rsplit(":", 1)[1])
    world.abort(dead)
    assert world.answering() == served
    world.faults.wait_at_most(1.0)
    world.upload("second", 1)
    world.until(lambda: len(world.trained()) == 3, "the next run")
    world.rest()
    world.assert_sound(serves=world.trained()[-1])
