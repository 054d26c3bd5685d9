"""report: one document says what became of the run, and everybody on the topic gets it."""

import json
from typing import Any, get_args

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.report import Event, Report
from core.errors import ServiceUnavailable
from reporting import durations, report_page, step_names
from steps import report
from tests.unit.pipeline.documents import FORMER, NAME, Documents
from tests.unit.pipeline.stubbed_aws import StubbedAws
from training import job_output
from training.job_output import JobMetrics, JobOutput

Json = dict[str, Any]
OTHER = "lexline--sotu-cccccccccccc"
PAGE = f"s3://texts/reports/{NAME}.html"
DURATIONS = {"plan": 0.1, "total": 700.5}
# The most bytes of a state's output and of an SNS message.
LIMIT = 262_144


class Reported:
    """Runs the step; `files` are what it put into the bucket by their keys, `message` what it published."""

    def __init__(self, stubbed: StubbedAws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stubbed, self.context = stubbed, context
        self.files: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.message: Json = {}
        # What training left beside its model.
        self.output = JobOutput()
        monkeypatch.setattr(job_output, "read", lambda trained: self.output)
        monkeypatch.setattr(durations, "of_execution", lambda arn: DURATIONS)
        monkeypatch.setattr(stubbed, "note", self._note)

    def __call__(self, given: dict[str, Any], *, files: int = 2, is_published: bool = True) -> dict[str, Any]:
        self.stubbed.refuses(
            "s3", "get_object", "AccessDenied", status=403, Key="prices.json", Bucket="texts"
        )
        for _ in range(files):
            self.stubbed.answers("s3", "put_object", {})
        if is_published:
            self.stubbed.answers("sns", "publish", {"MessageId": "1"})
        return dict(report.handler(given, self.context))

    def _note(self, params: Json, model: Any, **_: Any) -> None:
        if model.name == "PutObject":
            assert params["Bucket"] == "texts"
            self.files[params["Key"]] = params["Body"].decode()
            self.types[params["Key"]] = params["ContentType"]
        elif model.name == "Publish":
            self.message = params

    @property
    def first_line(self) -> str:
        return str(self.message["Message"].partition("\n")[0])


@pytest.fixture
def reported(stubbed: StubbedAws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> Reported:
    return Reported(stubbed, context, monkeypatch)


def error(name: str, step: str, message: str = "So it is.") -> Json:
    cause = json.dumps({"errorMessage": message, "errorType": "X", "stackTrace": ["  File ..."]})
    return {"Error": name, "Cause": cause, "Step": step}


def undone(
    serving: str | None = None, *removed: str, restored: bool = False, model: str | None = None
) -> Json:
    return {
        **{"training_job": "Completed", "serving": serving, "restored": restored, "removed": list(removed)},
        "model": model,
    }


# --- every way a run can end ---------------------------------------------------------------------

TRAINING = ["prepared", "source", "trained", "evaluated"]
RESULTS = [*TRAINING, "registered", "model", "deployed", "smoke_test", "finished"]


def since(first: str) -> list[str]:
    return RESULTS[RESULTS.index(first) :]


def failure(name: str, step: str) -> Json:
    return {"caught": [error(name, step)]}


DEPLOY: Json = {"work": "deploy", "model": NAME, "dataset": None}
TEARDOWN: Json = {"work": "teardown", "teardown_of": {"run": NAME, "when_idle": None}, "dataset": None}
DEAD = {"run": FORMER, "execution": "arn", "status": "ABORTED"}
CLEANUP: Json = {"work": "cleanup", "cleanup_of": DEAD, "subject": FORMER, "dataset": None}

GONE: Json = {"teardown": {"removed": ["endpoint/lexline", f"model/{NAME}"]}}
BACK: Json = {"compensated": undone("lexline--deploy-1", f"model/{FORMER}", restored=True, model=OTHER)}
UNDONE: Json = {"compensated": undone()}
PASSED: Json = {"compensated": undone(NAME)}
FORMER_PASSED: Json = {"compensated": undone(FORMER)}
WAITS: Json = {"prepared": {"outcome": "waiting", "dataset": "sotu", "reason": "No test.txt yet."}}
UNCHANGED: Json = {"skipped": error("Unchanged", "Champion", "The data is the same.")}
WORSE = "It is worse. The endpoint was not changed."
NEW_SCRIPTS: Json = {"finished": {"scales": False, "teardown_at": None, "replaced": NAME}}
FIRST: Json = {"finished": {"scales": False, "teardown_at": None, "replaced": None}}

LIVE = f"{NAME} is live on endpoint lexline."
TRIED = f"{NAME} was deployed and tested. Then endpoint lexline was torn down, as requested."
RETURNED = f"Endpoint lexline serves {NAME} again, instead of {FORMER}."
TORN_DOWN = "Endpoint lexline was torn down, as requested."
SERVED = f"It served the model of run {NAME}."
TESTED = "The endpoint generated test texts with it."
CLEANED = "An aborted run is cleaned up."
ABORTED = f"Run {FORMER} ended as ABORTED. The resources that it left unfinished are deleted."
AGAIN = " To continue its work, start it again."
IS_GONE = " The endpoint was torn down, as requested."
IS_BACK = f" The endpoint serves {OTHER} again, and responds."
SERVES = " The endpoint serves {}, which had passed the test."
AS_BEFORE = " The endpoint was not changed."

# The event, the results that are missing, changes of the run, other results, the headline and the reason; of
# a failed run, the headline is what follows 'The step "..." failed.'.
ENDINGS: dict[str, tuple[str, list[str], Json, Json, str, str]] = {
    "a first model is deployed": ("deployed", [], {}, FIRST, LIVE, "It is good."),
    "a new model is deployed": ("deployed", [], {}, {}, f"{LIVE} It replaces {FORMER}.", "It is good."),
    "a registered model is deployed": (
        *("deployed", TRAINING, DEPLOY, {}),
        *(f"{LIVE} It replaces {FORMER}.", TESTED),
    ),
    "the same model is deployed again": ("deployed", TRAINING, DEPLOY, NEW_SCRIPTS, LIVE, TESTED),
    "the previous model is deployed": (
        *("rolled_back", TRAINING, DEPLOY | {"model": "previous"}, {}),
        *(RETURNED, TESTED),
    ),
    "a model is tried": ("deployed", [], {"teardown": "always"}, GONE, TRIED, "It is good."),
    "an endpoint is torn down": ("teardown", RESULTS, TEARDOWN, GONE, TORN_DOWN, SERVED),
    "an aborted run is undone": ("cleanup", RESULTS, CLEANUP, UNDONE, CLEANED, ABORTED + AGAIN),
    "an aborted run's update is undone": (
        *("cleanup", RESULTS, CLEANUP, BACK),
        *(CLEANED, ABORTED + IS_BACK + AGAIN),
    ),
    "an aborted run's model had passed": (
        *("cleanup", RESULTS, CLEANUP, FORMER_PASSED),
        *(CLEANED, ABORTED + SERVES.format(FORMER) + AGAIN),
    ),
    "nothing has changed": (
        *("unchanged", since("trained"), {}, UNCHANGED),
        *("Nothing has changed, so no model was trained.", "The data is the same."),
    ),
    "two of three files have come": (
        *("skipped", since("source"), {}, WAITS),
        *("There was nothing to do.", "No test.txt yet."),
    ),
    "a model is worse": (
        *("rejected", since("model"), {}, {}),
        *("The new model was not deployed: it is worse than that.", WORSE),
    ),
    "the corpus is invalid": (
        *("failed", RESULTS, {}, failure("DatasetTooSmall", "AssembleDataset") | UNDONE),
        *(AS_BEFORE, ""),
    ),
    "a model is not registered": (
        *("failed", RESULTS, DEPLOY, failure("ModelNotFound", "FindModel")),
        *(AS_BEFORE, ""),
    ),
    "no endpoint": ("failed", since("deployed"), {}, failure("EndpointFailed", "Deploy") | UNDONE, "", ""),
    "a test fails": ("rolled_back", [], {}, failure("SmokeTestFailed", "SmokeTest") | BACK, IS_BACK, ""),
    "Finish fails": ("failed", [], {}, failure("AccessDenied", "Finish") | PASSED, SERVES.format(NAME), ""),
    "Finish fails, then teardown": (
        *("failed", [], {"teardown": "on_failure"}),
        *(failure("AccessDenied", "Finish") | PASSED | GONE, IS_GONE, ""),
    ),
    "the teardown fails": ("failed", [], {"teardown": "always"}, failure("EndpointBusy", "Teardown"), "", ""),
    "the cleanup fails": ("failed", RESULTS, CLEANUP, failure("AccessDenied", "Compensate"), "", ""),
    "the lease is lost": ("failed", since("model"), {}, failure("LeaseLost", "Deploy") | UNDONE, "", ""),
}
STATUSES = {"unchanged": "Unchanged", "skipped": "Skipped", "rejected": "Rejected"}


@pytest.mark.parametrize("name", ENDINGS)
def test_every_ending_has_a_status_an_event_and_a_first_line_that_says_it(
    reported: Reported, results: Json, name: str
) -> None:
    event, missing, run, more, headline, reason = ENDINGS[name]
    status = STATUSES.get(event, "Succeeded")
    for caught in more.get("caught", []):
        status = "Failed"
        headline = f"The step “{step_names.in_words(caught['Step'])}” failed.{headline}"
        reason = f"{caught['Error']}: So it is."
    results["evaluated"] |= {"reason": "It is good."}
    if event == "rejected":
        results["evaluated"] |= {
            **{"accepted": False, "reason": "It is worse.", "objection": "it is worse than that"}
        }
    results["run"] |= run
    document = reported(results | dict.fromkeys(missing) | more)
    assert (document["status"], document["event"]) == (status, event)
    assert (document["headline"], document["reason"]) == (headline, reason)
    assert reported.first_line == f"{status}: {headline} {reason}"
    attributes = {key: value["StringValue"] for key, value in reported.message["MessageAttributes"].items()}
    assert attributes == {"event": event, "status": status}
    assert reported.message["Subject"] == f"Lexline: {NAME} {event.replace('_', ' ')}"
    assert (document["error"] is not None) == (status == "Failed")


def test_the_endings_above_have_all_events_of_the_contract() -> None:
    assert {event for event, *_ in ENDINGS.values()} == set(get_args(Event))


# --- without a message ---------------------------------------------------------------------------


def test_a_run_that_joined_another_names_it_and_publishes_nothing(reported: Reported, results: Json) -> None:
    results |= dict.fromkeys(["lease", *RESULTS])
    results["gathered"] = {"seconds": 0, "joined": OTHER}
    upload = {"bucket": "texts", "key": "uploads/sotu/2.txt", "etag": "e", "size": 1}
    results["run"]["upload"] = upload
    document = reported(results, files=0, is_published=False)
    assert (document["status"], document["event"], document["joined"]) == ("Skipped", "skipped", OTHER)
    assert document["reason"].startswith(f"uploads/sotu/2.txt joined run {OTHER}, which begins when dataset")
    assert document["page"] is None


@pytest.mark.parametrize(
    ("step", "run", "missing"),
    [
        # The check repeats until the endpoint is idle.
        ("Teardown", TEARDOWN | {"teardown_of": {"run": NAME, "when_idle": "PT1H"}}, []),
        ("Plan", None, ["run", "lease"]),
    ],
)
def test_an_idle_check_and_an_upload_that_is_no_corpus_publish_nothing(
    reported: Reported, results: Json, step: str, run: Any, missing: list[str]
) -> None:
    results["run"] |= run or {}
    results |= dict.fromkeys([*RESULTS, *missing])
    results["skipped"] = error("NothingToDo", step, "There is nothing to do.")
    document = reported(results, files=0, is_published=False)
    assert (document["status"], document["reason"]) == ("Skipped", "There is nothing to do.")


def test_an_invalid_input_is_published_though_the_run_has_no_name(reported: Reported, results: Json) -> None:
    results |= dict.fromkeys(["run", "lease", *RESULTS])
    results["caught"] = [error("InvalidInput", "Plan", "hyperparameters.lr: too high")]
    document = reported(results, files=0)
    assert (document["status"], document["run"], document["work"]) == ("Failed", None, None)
    assert reported.first_line == (
        "Failed: The step “Check the request” failed. The endpoint was not changed. "
        "InvalidInput: hyperparameters.lr: too high"
    )
    assert reported.message["Subject"] == "Lexline: run failed"


# --- the document --------------------------------------------------------------------------------


def test_the_document_holds_what_the_steps_returned(
    reported: Reported, results: Json, documents: Documents
) -> None:
    document = reported(results)
    returned = {"dataset": "prepared", "job": "trained", "endpoint": "deployed"}
    for field in ("source", "registered", "model", "smoke_test", "finished", *returned):
        assert document[field] == getattr(documents, returned.get(field, field)), field
    assert document["metrics"] == documents.evaluated["metrics"]
    assert document["comparison"] == documents.evaluated["comparison"]
    assert document["execution"] == documents.execution["id"]
    assert (document["run"], document["work"], document["durations"]) == (NAME, "train", DURATIONS)
    assert document["cost"]["total"] == pytest.approx(0.23 * 183 / 3600, rel=0.01)
    assert document["standing_cost"]["instance_count"] == 1


def test_the_first_error_is_the_reason_and_the_later_ones_are_the_cleanups(
    reported: Reported, results: Json
) -> None:
    results["caught"] = [
        error("SmokeTestFailed", "SmokeTest"),
        error("AccessDenied", "Compensate", "Not allowed."),
    ]
    assert reported(results)["error"] == {
        "error": "SmokeTestFailed",
        "message": "So it is.",
        "step": "SmokeTest",
        "cleanup": ["“Undo incomplete changes” failed with AccessDenied: Not allowed."],
    }


@pytest.mark.parametrize("cause", ["", "{", "[1]", '"text"', '{"errorMessage": ', "{}"])
def test_no_cause_is_too_odd_to_report(reported: Reported, results: Json, cause: str) -> None:
    results["caught"] = [{"Error": "States.Runtime", "Cause": cause, "Step": "Train"}]
    assert reported(results)["error"]["message"] == (cause or "States.Runtime")


def left_out(*names: str) -> list[Json]:
    return [{"name": name, "reason": f"{name} is no text.", "error": "DatasetNotText"} for name in names]


@pytest.mark.parametrize("accepted", [True, False])
def test_the_reason_names_the_files_that_were_left_out(
    reported: Reported, results: Json, accepted: bool
) -> None:
    readme = {"name": "README.md", "reason": "It is about the corpus.", "error": ""}
    results["prepared"] |= {"left_out": [readme, *left_out("a.pdf")], "left_out_count": 2}
    results["evaluated"]["accepted"] = accepted
    reason = reported(results)["reason"]
    # A file that could have been a text comes first.
    assert reason.endswith(
        " 2 files were left out. a.pdf: a.pdf is no text. README.md: It is about the corpus."
    )


def test_the_reason_says_how_many_more_files_were_left_out(reported: Reported, results: Json) -> None:
    results["prepared"] |= {"left_out": left_out(*"abcdefghij"), "left_out_count": 1234}
    reason = reported(results)["reason"]
    assert (
        "1,234 files were left out. a: a is no text. b: b is no text. c: c is no text. 1,231 more: " in reason
    )
    assert reason.endswith("manifest.json.")
    results["prepared"] |= {"left_out": left_out("a"), "left_out_count": 1}
    assert reported(results)["reason"].endswith(" 1 file was left out. a: a is no text.")


def test_the_resources_that_cleanup_and_teardown_deleted_are_listed(
    reported: Reported, results: Json
) -> None:
    results["compensated"] = undone(None, f"model/{NAME}")
    results["teardown"] = {"removed": ["endpoint/lexline"]}
    assert reported(results)["removed"] == [f"model/{NAME}", "endpoint/lexline"]


def test_an_infinite_perplexity_is_json_too(reported: Reported, results: Json) -> None:
    results["evaluated"]["metrics"]["test_perplexity"] = "Infinity"
    document = reported(results)
    assert document["metrics"]["test_perplexity"] == "Infinity"
    assert ">infinite<" in reported.files[f"reports/{NAME}.html"]


def test_the_hyperparameters_are_those_that_training_used(reported: Reported, results: Json) -> None:
    requested = reported(results)["hyperparameters"]
    assert (requested["epochs"], requested["tokenizer"], "lr" in requested) == (6, "auto", False)
    used = {"epochs": 6, "lr": 0.003, "tied": True, "tokenizer": "prose", "max_vocabulary": 200_000}
    reported.output = JobOutput(JobMetrics(hyperparameters=used))
    assert reported(results)["hyperparameters"].items() >= used.items()


def test_a_run_that_trains_nothing_has_no_hyperparameters(reported: Reported, results: Json) -> None:
    results["run"] |= DEPLOY
    assert reported(results | dict.fromkeys(TRAINING))["hyperparameters"] == {}


def test_a_report_of_an_earlier_version_is_read(reported: Reported, results: Json) -> None:
    document = reported(results)
    for field in ("headline", "hyperparameters"):
        del document[field]
    del document["finished"]["replaced"]
    assert Report.model_validate(document).headline == ""


@pytest.mark.parametrize(
    ("changes", "has_cost"),
    [
        ({"teardown": {"removed": ["endpoint/lexline"]}}, (True, False)),
        ({"compensated": undone()}, (True, False)),
        ({"deployed": None}, (True, False)),
        ({"trained": None}, (False, True)),
    ],
)
def test_only_a_training_and_an_endpoint_that_exists_have_costs(
    reported: Reported, results: Json, changes: Json, has_cost: tuple[bool, bool]
) -> None:
    document = reported(results | changes)
    assert (document["cost"] is not None, document["standing_cost"] is not None) == has_cost


# --- in the bucket -------------------------------------------------------------------------------


def test_the_report_is_in_the_bucket_as_a_page_and_as_json(reported: Reported, results: Json) -> None:
    document = reported(results)
    page, data = f"reports/{NAME}.html", f"reports/{NAME}.json"
    assert reported.types == {page: "text/html; charset=utf-8", data: "application/json"}
    assert json.loads(reported.files[data]) == document
    assert document["page"] == f"s3://texts/{page}"
    assert NAME in reported.files[page]
    assert "208.30" in reported.files[page]
    assert document["headline"] in reported.files[page]
    assert f"\n\nReport: {PAGE}\n\n{{" in reported.message["Message"]


def test_a_page_that_cannot_be_made_is_left_out(
    reported: Reported, results: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run does not fail over its report."""

    def broken(*_: object) -> str:
        raise RecursionError

    monkeypatch.setattr(report_page, "render", broken)
    document = reported(results, files=1)
    assert (document["status"], document["page"]) == ("Succeeded", None)
    assert list(reported.files) == [f"reports/{NAME}.json"]


@pytest.mark.parametrize("operation", ["get_object", "put_object"])
def test_a_bucket_that_cannot_be_reached_is_an_error_to_retry(
    reported: Reported, results: Json, stubbed: StubbedAws, operation: str
) -> None:
    if operation == "put_object":
        stubbed.refuses("s3", "get_object", "AccessDenied", status=403)
    stubbed.refuses("s3", operation, "InternalError", status=503)
    with pytest.raises(ServiceUnavailable, match="InternalError"):
        report.handler(results, reported.context)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["x", "ü", "\u4e16", "\U0001f600", "\x01", '"', "\n"])
def test_whatever_the_steps_returned_the_report_fits_into_its_state_and_its_message(
    reported: Reported, results: Json, character: str
) -> None:
    text = character * 30_000
    results["evaluated"]["reason"] = text
    results["evaluated"]["comparison"].update(reason=text, notes=[text] * 300)
    generated = {"prompt": text, "seed": 1, "temperature": 1.0, "text": text, "seconds": 1.0}
    results["smoke_test"]["texts"] = [generated] * 3
    steps = ("SmokeTest", "Compensate", "Teardown")
    results["caught"] = [error("SmokeTestFailed", step, text) for step in steps]
    document = reported(results)
    # Lambda may write what is not ASCII as an escape.
    assert len(json.dumps(document)) < LIMIT - 10_000
    message = reported.message["Message"]
    assert len(message.encode()) <= LIMIT
    assert "\ufffd" not in message
    assert len(reported.first_line) <= 2000
    assert Report.model_validate(document).status == "Failed"


def test_a_report_that_fits_is_not_cut(reported: Reported, results: Json) -> None:
    results["caught"] = [error("InvalidInput", "Plan", "y" * 3000)]
    assert reported(results)["error"]["message"] == "y" * 3000


def test_waiting_for_files_with_endless_names_fits_too(reported: Reported, results: Json) -> None:
    results |= dict.fromkeys(since("source"))
    results["prepared"] = {"outcome": "waiting", "dataset": "sotu", "reason": "z" * 200_000}
    assert len(json.dumps(reported(results))) < LIMIT
