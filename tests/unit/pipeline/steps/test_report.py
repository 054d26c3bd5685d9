"""report: one document says what became of the run, and everybody on the topic gets it."""

import io
import json
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY

from contracts.report import Report
from core.errors import ServiceUnavailable
from reporting import report_page
from reporting.cost import list_prices
from steps import report
from training import job_output

NAME = "lexline--sotu-0123456789ab"
FORMER = "lexline--sotu-aaaaaaaaaaaa"
PAGE = f"s3://texts/reports/{NAME}.html"
# What a state's output, and an SNS message, may have at most.
LIMIT = 262_144

PRICES = {
    "date": "2026-09-01",
    "currency": "USD",
    "region": "eu-west-1",
    "source": "our contract",
    "training": {"ml.m5.xlarge": 1.0},
    "hosting": {"ml.m5.large": 2.0},
    "serverless": {"3072": 0.001},
    "storage_per_gb_month": 0.02,
    "lambda_per_gb_second": 0.00001,
    "step_functions_per_1000_transitions": 0.025,
}


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    """A run that trained, deployed and verified its model."""
    return {
        "execution": documents.execution,
        "run": documents.run,
        "lease": documents.lease,
        "prepared": documents.prepared,
        "source": documents.source,
        "champion": documents.champion,
        "trained": documents.trained,
        "evaluated": documents.evaluated,
        "registered": documents.registered,
        "model": documents.model,
        "deployed": documents.deployed,
        "smoke_test": documents.smoke_test,
        "finished": documents.finished,
        "teardown": None,
        "compensated": None,
        "caught": [],
        "skipped": None,
        "durations": {"plan": 0.1, "total": 700.5},
    }


@pytest.fixture
def bucket(stubbed: Any) -> Any:
    """bucket(prices): announces the price table that the bucket has, or has none."""

    def announced(prices: Any = None) -> None:
        if prices is None:
            stubbed.refuses("s3", "get_object", "AccessDenied", status=403, Bucket="texts", Key="prices.json")
            return
        raw = prices if isinstance(prices, bytes) else json.dumps(prices).encode()
        answer = {"Body": StreamingBody(io.BytesIO(raw), len(raw))}
        stubbed.answers("s3", "get_object", answer, Bucket="texts", Key="prices.json")

    return announced


class Reported:
    """Runs the step; `files` are what it put into the bucket by their keys, `message` what it published."""

    def __init__(self, stubbed: Any, context: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stubbed, self.context, self.bucket = stubbed, context, bucket
        self.files: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.message: dict[str, Any] | None = None
        # What training left beside its model, which is not this step's to test.
        self.training: dict[str, Any] = {}
        monkeypatch.setattr(job_output, "metrics", lambda trained: self.training)
        monkeypatch.setattr(stubbed, "note", self._note)

    def __call__(
        self, event: Any, *, prices: Any = None, written: int = 2, published: bool = True
    ) -> dict[str, Any]:
        self.bucket(prices)
        for _ in range(written):
            self.stubbed.answers("s3", "put_object", {})
        if published:
            self.stubbed.answers("sns", "publish", {"MessageId": "1"})
        return dict(report.handler(event, self.context))

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name == "PutObject":
            assert params["Bucket"] == "texts"
            self.files[params["Key"]] = params["Body"].decode()
            self.types[params["Key"]] = params["ContentType"]
        elif model.name == "Publish":
            self.message = params

    @property
    def first_line(self) -> str:
        assert self.message is not None
        return str(self.message["Message"].partition("\n")[0])


@pytest.fixture
def reported(stubbed: Any, context: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Reported:
    return Reported(stubbed, context, bucket, monkeypatch)


def lambda_cause(message: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": "X", "stackTrace": ["  File ..."]})


def caught(error: str, step: str, message: str = "So it is.") -> dict[str, str]:
    return {"Error": error, "Cause": lambda_cause(message), "Step": step}


def undone(serving: str | None = None, *removed: str, restored: bool = False) -> dict[str, Any]:
    return {"training_job": "Completed", "serving": serving, "restored": restored, "removed": list(removed)}


# --- every way a run can end ---------------------------------------------------------------------

AFTER_REGISTER = ["model", "deployed", "smoke_test", "finished"]
AFTER_CHAMPION = ["trained", "evaluated", "registered", *AFTER_REGISTER]
AFTER_PREPARE = ["source", "champion", *AFTER_CHAMPION]
TRAINING = ["prepared", "source", "champion", "trained", "evaluated"]
ALL = ["prepared", *AFTER_PREPARE]
GOOD = (
    f"Test perplexity 208.30 over 33,278 words. On the new test text 208.30, where {FORMER}, which served, "
    "has 215.20."
)
TEARDOWN = {"run": NAME, "when_idle": None}
CLEAN_UP = {"run": FORMER, "execution": "arn", "status": "ABORTED"}

ENDINGS: dict[str, tuple[list[str], dict[str, Any], dict[str, Any], str, str, str]] = {
    # name: what was not reached, what was, the run's fields, status, event, the first line's sentence
    "a new model is deployed": ([], {}, {}, "Succeeded", "deployed", GOOD),
    "a registered model is deployed": (
        TRAINING,
        {},
        {"work": "deploy", "model": NAME, "dataset": None},
        "Succeeded",
        "deployed",
        f"Model {NAME} is deployed.",
    ),
    "the model before is deployed": (
        TRAINING,
        {},
        {"work": "deploy", "model": "previous", "dataset": None},
        "Succeeded",
        "rolled_back",
        f"Model {NAME} is deployed.",
    ),
    "a model is tried and taken down": (
        [],
        {"teardown": {"removed": ["endpoint/lexline", f"model/{NAME}"]}},
        {"teardown": "always"},
        "Succeeded",
        "deployed",
        f"{GOOD} The endpoint was taken down, as was asked for.",
    ),
    "an endpoint is taken down on time": (
        ALL,
        {"teardown": {"removed": ["endpoint/lexline"]}},
        {"work": "teardown", "teardown_of": TEARDOWN, "dataset": None},
        "Succeeded",
        "teardown",
        f"What {NAME} served is taken down, as was asked for.",
    ),
    "an aborted run is cleaned up after": (
        ALL,
        {"compensated": undone(None, f"model/{FORMER}")},
        {"work": "cleanup", "cleanup_of": CLEAN_UP, "subject": FORMER, "dataset": None},
        "Succeeded",
        "cleanup",
        f"Run {FORMER} ended as ABORTED; what it left half-made is removed. Start it again when you want it "
        "to go on.",
    ),
    "an aborted run's update is taken back": (
        ALL,
        {"compensated": undone("lexline--sotu-cccccccccccc", f"model/{FORMER}", restored=True)},
        {"work": "cleanup", "cleanup_of": CLEAN_UP, "subject": FORMER, "dataset": None},
        "Succeeded",
        "cleanup",
        f"Run {FORMER} ended as ABORTED; what it left half-made is removed. The endpoint is back at "
        "lexline--sotu-cccccccccccc, and answers. Start it again when you want it to go on.",
    ),
    "an aborted run's model had passed": (
        ALL,
        {"compensated": undone(FORMER)},
        {"work": "cleanup", "cleanup_of": CLEAN_UP, "subject": FORMER, "dataset": None},
        "Succeeded",
        "cleanup",
        f"Run {FORMER} ended as ABORTED; what it left half-made is removed. The endpoint serves its model, "
        "which had passed the smoke test. Start it again when you want it to go on.",
    ),
    "nothing has changed": (
        AFTER_CHAMPION,
        {"skipped": caught("Unchanged", "Champion", "The data, the scripts and the numbers are the same.")},
        {},
        "Unchanged",
        "unchanged",
        "The data, the scripts and the numbers are the same.",
    ),
    "two of three files have come": (
        AFTER_PREPARE,
        {"prepared": {"outcome": "waiting", "dataset": "sotu", "reason": "No test.txt yet."}},
        {},
        "Skipped",
        "skipped",
        "No test.txt yet.",
    ),
    "a model is worse": (
        AFTER_REGISTER,
        {"evaluated": {"accepted": False, "reason": "600.00 is worse than 215.20.", "metrics": None}},
        {},
        "Rejected",
        "rejected",
        "600.00 is worse than 215.20. The endpoint was left as it was.",
    ),
    "the corpus cannot be read": (
        ALL,
        {"caught": [caught("DatasetNotUtf8", "Prepare")], "compensated": undone()},
        {},
        "Failed",
        "failed",
        "Prepare failed with DatasetNotUtf8: So it is.",
    ),
    "training fails": (
        AFTER_CHAMPION,
        {
            "caught": [{"Error": "TrainingFailed", "Cause": "Exit code 1.", "Step": "Train"}],
            "compensated": undone(),
        },
        {},
        "Failed",
        "failed",
        "Train failed with TrainingFailed: Exit code 1.",
    ),
    "a model is not registered": (
        ALL,
        {"caught": [caught("ModelNotFound", "FindModel")]},
        {"work": "deploy", "model": "42", "dataset": None},
        "Failed",
        "failed",
        "FindModel failed with ModelNotFound: So it is.",
    ),
    "a first endpoint does not come up": (
        ["deployed", "smoke_test", "finished"],
        {
            "caught": [caught("EndpointFailed", "Deploy")],
            "compensated": undone(None, "endpoint/lexline", f"model/{NAME}"),
        },
        {},
        "Failed",
        "failed",
        "Deploy failed with EndpointFailed: So it is.",
    ),
    "the smoke test fails and the endpoint is put back": (
        ["smoke_test", "finished"],
        {
            "caught": [caught("SmokeTestFailed", "SmokeTest")],
            "compensated": undone(FORMER, f"model/{NAME}", restored=True),
        },
        {},
        "Failed",
        "rolled_back",
        f"SmokeTest failed with SmokeTestFailed: So it is. The endpoint is back at {FORMER}, and answers.",
    ),
    "the smoke test fails and putting back does too": (
        ["smoke_test", "finished"],
        {"caught": [caught("SmokeTestFailed", "SmokeTest"), caught("SmokeTestFailed", "Compensate")]},
        {},
        "Failed",
        "failed",
        "SmokeTest failed with SmokeTestFailed: So it is.",
    ),
    "what follows the smoke test fails": (
        ["finished"],
        {"caught": [caught("AccessDenied", "Finish")], "compensated": undone(NAME)},
        {},
        "Failed",
        "failed",
        "Finish failed with AccessDenied: So it is. The endpoint serves its model, which had passed the "
        "smoke test.",
    ),
    "what follows the smoke test fails and the endpoint goes": (
        ["finished"],
        {
            "caught": [caught("AccessDenied", "Finish")],
            "compensated": undone(NAME),
            "teardown": {"removed": ["endpoint/lexline"]},
        },
        {"teardown": "on_failure"},
        "Failed",
        "failed",
        "Finish failed with AccessDenied: So it is. The endpoint was taken down, as was asked for.",
    ),
    "the tear-down fails": (
        [],
        {"caught": [caught("EndpointBusy", "TearDown")]},
        {"teardown": "always"},
        "Failed",
        "failed",
        "TearDown failed with EndpointBusy: So it is.",
    ),
    "the clean-up fails": (
        ALL,
        {"caught": [caught("AccessDenied", "Compensate")]},
        {"work": "cleanup", "cleanup_of": CLEAN_UP, "subject": FORMER, "dataset": None},
        "Failed",
        "failed",
        "Compensate failed with AccessDenied: So it is.",
    ),
    "the lease is lost": (
        ALL,
        {"caught": [caught("LeaseLost", "Deploy")], "compensated": undone("lexline--sotu-cccccccccccc")},
        {},
        "Failed",
        "failed",
        "Deploy failed with LeaseLost: So it is.",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_has_a_status_an_event_and_a_first_line_that_says_it(
    reported: Reported, event: Any, ending: str
) -> None:
    missing, more, run, status, name, sentence = ENDINGS[ending]
    event.update(dict.fromkeys(missing))
    metrics = event["evaluated"] and event["evaluated"]["metrics"]
    event.update(more)
    event["run"].update(run)
    if event["evaluated"] and not event["evaluated"]["metrics"]:
        event["evaluated"].update(metrics=metrics, comparison=None)
    document = reported(event)
    assert (document["status"], document["event"], document["reason"]) == (status, name, sentence)
    assert reported.first_line == f"{status}: {sentence}"
    assert reported.message is not None
    attributes = {key: value["StringValue"] for key, value in reported.message["MessageAttributes"].items()}
    assert attributes == {"event": name, "status": status}
    assert reported.message["Subject"] == f"Lexline: {NAME} {name.replace('_', ' ')}"
    assert (document["error"] is not None) == (status == "Failed")


def test_all_events_of_the_contract_are_told_apart() -> None:
    told = {ending[4] for ending in ENDINGS.values()}
    assert told == set(Report.model_fields["event"].annotation.__args__)  # type: ignore[union-attr]


# --- without a message ---------------------------------------------------------------------------


def test_a_run_that_joined_another_is_told_of_with_that_one(reported: Reported, event: Any) -> None:
    event.update(dict.fromkeys(["lease", *ALL]))
    event["skipped"] = caught("NothingToDo", "Gather", "It joined the run that gathers.")
    document = reported(event, written=0, published=False)
    assert (document["status"], document["reason"]) == ("Skipped", "It joined the run that gathers.")
    assert document["page"] is None


def test_an_endpoint_that_is_not_idle_is_no_news(reported: Reported, event: Any) -> None:
    """It is looked at again and again."""
    event.update(dict.fromkeys(ALL))
    event["run"].update(work="teardown", teardown_of={"run": NAME, "when_idle": "PT1H"}, dataset=None)
    event["skipped"] = caught("NothingToDo", "TearDown", "It was asked until about 12:00 UTC.")
    document = reported(event, written=0, published=False)
    assert (document["status"], document["reason"]) == ("Skipped", "It was asked until about 12:00 UTC.")


def test_an_upload_that_is_no_corpus_is_skipped_in_silence(reported: Reported, event: Any) -> None:
    event.update(dict.fromkeys(["run", "lease", *ALL]))
    event["skipped"] = caught("NothingToDo", "Plan", "A README is no corpus.")
    document = reported(event, written=0, published=False)
    assert (document["status"], document["run"], document["work"]) == ("Skipped", None, None)


def test_an_input_that_is_refused_is_told_though_the_run_has_no_name(reported: Reported, event: Any) -> None:
    event.update(dict.fromkeys(["run", "lease", *ALL]))
    event["caught"] = [caught("InvalidInput", "Plan", "hyperparameters.lr: too high")]
    document = reported(event, written=0)
    assert document["status"] == "Failed"
    assert reported.first_line == "Failed: Plan failed with InvalidInput: hyperparameters.lr: too high"
    assert reported.message is not None
    assert reported.message["Subject"] == "Lexline: run failed"


# --- the document --------------------------------------------------------------------------------


def test_the_document_holds_what_the_steps_answered(reported: Reported, event: Any, documents: Any) -> None:
    document = reported(event)
    assert document.pop("cost")["total"] == pytest.approx(0.23 * 183 / 3600, rel=0.01)
    assert document.pop("standing_cost")["instance_count"] == 1
    assert document == {
        "status": "Succeeded",
        "event": "deployed",
        "reason": GOOD,
        "run": NAME,
        "work": "train",
        "execution": documents.execution["id"],
        "dataset": documents.prepared,
        "source": documents.source,
        "job": documents.trained,
        "metrics": documents.evaluated["metrics"],
        "comparison": documents.evaluated["comparison"],
        "registered": documents.registered,
        "model": documents.model,
        "endpoint": documents.deployed,
        "smoke_test": documents.smoke_test,
        "finished": documents.finished,
        "durations": {"plan": 0.1, "total": 700.5},
        "removed": [],
        "error": None,
        "page": PAGE,
    }


def test_the_first_error_is_the_reason_and_the_later_ones_are_told(reported: Reported, event: Any) -> None:
    event["caught"] = [
        caught("SmokeTestFailed", "SmokeTest", "No text."),
        caught("AccessDenied", "Compensate", "Not allowed."),
    ]
    document = reported(event)
    assert document["error"] == {
        "error": "SmokeTestFailed",
        "message": "No text.",
        "step": "SmokeTest",
        "cleanup": ["Compensate failed with AccessDenied: Not allowed."],
    }


@pytest.mark.parametrize("cause", ["", "{", "[1]", '"text"', '{"errorMessage": ', "{}"])
def test_no_cause_is_too_odd_to_report(reported: Reported, event: Any, cause: str) -> None:
    event["caught"] = [{"Error": "States.Runtime", "Cause": cause, "Step": "Train"}]
    assert reported(event)["error"]["message"] == (cause or "States.Runtime")


def test_what_undoing_and_tearing_down_removed_is_listed(reported: Reported, event: Any) -> None:
    event["compensated"] = undone(None, f"model/{NAME}")
    event["teardown"] = {"removed": ["endpoint/lexline"]}
    assert reported(event)["removed"] == [f"model/{NAME}", "endpoint/lexline"]


def test_a_perplexity_without_bounds_is_still_json(reported: Reported, event: Any) -> None:
    event["evaluated"]["metrics"]["test_perplexity"] = "Infinity"
    document = reported(event)
    assert document["metrics"]["test_perplexity"] == "Infinity"
    assert "Infinity" not in reported.files[f"reports/{NAME}.html"]


def test_every_status_is_counted(reported: Reported, event: Any, metrics_written: Any) -> None:
    reported(event)
    assert '"RunsSucceeded":[1.0]' in metrics_written().replace(" ", "")


# --- in the bucket -------------------------------------------------------------------------------


def test_the_report_is_in_the_bucket_as_a_page_and_as_json(reported: Reported, event: Any) -> None:
    document = reported(event)
    page, data = f"reports/{NAME}.html", f"reports/{NAME}.json"
    assert reported.types == {page: "text/html; charset=utf-8", data: "application/json"}
    assert json.loads(reported.files[data]) == document
    assert document["page"] == f"s3://texts/{page}"
    assert NAME in reported.files[page]
    assert "208.30" in reported.files[page]
    assert reported.message is not None
    assert f"\n\nReport: {PAGE}\n\n{{" in reported.message["Message"]


def test_the_page_shows_the_comparison_with_its_words(reported: Reported, event: Any) -> None:
    reported.training = {
        "comparison": {
            "comparable": True,
            "champion": {"perplexity": 215.2},
            "challenger": {"perplexity": 208.3},
            "words": 30_000,
            "tokens": 480,
        }
    }
    event["evaluated"]["comparison"]["tolerance"] = 0.02
    reported(event)
    page = reported.files[f"reports/{NAME}.html"]
    assert "its perplexity is 3.2% lower. Up to 2.0% higher is tolerated." in page
    assert "the same 480 tokens" in page
    assert "which flatters it." in page


def test_a_comparison_that_failed_says_why_on_the_page(reported: Reported, event: Any) -> None:
    event["evaluated"]["comparison"] = {
        "champion": FORMER,
        "tolerance": 0,
        "reason": "The artifact is gone.",
    }
    reported(event)
    assert "The two models do not compare. The artifact is gone." in reported.files[f"reports/{NAME}.html"]


@pytest.mark.parametrize("comparison", [None, "text", [1, 2], 5])
def test_a_job_that_tells_odd_things_has_its_report_all_the_same(
    reported: Reported, event: Any, comparison: Any
) -> None:
    reported.training = {"comparison": comparison, "epochs": "many", "samples": 7}
    assert reported(event)["page"] == PAGE


def test_a_page_that_cannot_be_made_is_left_out(
    reported: Reported, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run does not fail over its own report."""

    def broken(_: Any) -> str:
        raise RecursionError

    monkeypatch.setattr(report_page, "page", broken)
    document = reported(event, written=1)
    assert (document["status"], document["page"]) == ("Succeeded", None)
    assert list(reported.files) == [f"reports/{NAME}.json"]


def test_a_bucket_that_is_not_reached_is_for_the_state_machine_to_retry(
    reported: Reported, stubbed: Any, bucket: Any, event: Any, context: Any
) -> None:
    bucket()
    stubbed.refuses("s3", "put_object", "SlowDown", status=503)
    with pytest.raises(Exception, match="SlowDown"):
        report.handler(event, context)


def test_provenance_names_repository_and_commit(reported: Reported, event: Any) -> None:
    event["source"].update(repo="https://example.com/our/scripts.git", branch="main", commit="c0ffee1")
    reported(event)
    page = reported.files[f"reports/{NAME}.html"]
    assert "https://example.com/our/scripts.git" in page
    assert "c0ffee1" in page
    assert "recipe=fast" in page


# --- cost ----------------------------------------------------------------------------------------


def test_a_price_table_in_the_bucket_takes_the_place_of_the_list(reported: Reported, event: Any) -> None:
    document = reported(event, prices=PRICES)
    assert document["cost"]["training"] == pytest.approx(183 / 3600)
    assert document["cost"]["prices_date"] == "2026-09-01"
    assert document["standing_cost"]["per_hour"] == 2.0


@pytest.mark.parametrize("prices", [b"", b"{", b"\xff", {**PRICES, "region": "Ireland"}, {"hosting": {}}, []])
def test_a_broken_price_table_costs_no_report_and_is_told_of(
    reported: Reported, event: Any, prices: Any
) -> None:
    document = reported(event, prices=prices)
    assert document["status"] == "Succeeded"
    for estimate in ("cost", "standing_cost"):
        assert document[estimate]["prices_date"] == list_prices().date.isoformat()
        assert document[estimate]["notes"][-1].startswith("prices.json in the bucket is not used. The price")
        assert len(document[estimate]["notes"][-1]) <= 1000
    assert "prices.json in the bucket is not used" in reported.files[f"reports/{NAME}.html"]


def test_a_bucket_that_says_there_is_no_table_has_none(reported: Reported, stubbed: Any, event: Any) -> None:
    """S3 says so to who may list the bucket, else AccessDenied."""
    reported.bucket = lambda prices: stubbed.refuses("s3", "get_object", "NoSuchKey", status=404)
    assert reported(event)["cost"]["prices_region"] == "us-east-1"


def test_a_price_table_that_cannot_be_asked_for_now_is_asked_for_again(
    stubbed: Any, event: Any, context: Any
) -> None:
    stubbed.refuses("s3", "get_object", "InternalError", status=500)
    with pytest.raises(ServiceUnavailable):
        report.handler(event, context)


def test_a_fleet_costs_by_its_instances_and_a_serverless_endpoint_by_its_memory(
    reported: Reported, event: Any
) -> None:
    event["deployed"]["instance_count"] = 3
    assert reported(event, prices=PRICES)["standing_cost"]["per_hour"] == 6.0
    event["run"]["hosting"] = {"endpoint_type": "serverless"}
    event["deployed"]["instance_count"] = 0
    cost = reported(event, prices=PRICES)["standing_cost"]
    assert (cost["kind"], cost["per_month"], cost["per_1000_requests"]) == ("serverless", 0.0, 1.0)


@pytest.mark.parametrize(
    "gone", [{"teardown": {"removed": ["endpoint/lexline"]}}, {"compensated": undone()}, {"deployed": None}]
)
def test_what_does_not_stand_costs_nothing_more(reported: Reported, event: Any, gone: Any) -> None:
    event.update(gone)
    document = reported(event)
    assert document["standing_cost"] is None
    assert document["cost"] is not None


def test_a_run_without_training_has_no_cost_of_its_own(reported: Reported, event: Any) -> None:
    event["trained"] = None
    assert reported(event)["cost"] is None


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["x", "ü", "\u4e16", "\U0001f600", "\x01", '"', "\n"])
def test_whatever_the_steps_said_the_report_fits_into_its_state_and_its_message(
    reported: Reported, event: Any, character: str
) -> None:
    text = character * 30_000
    event["evaluated"].update(reason=text)
    event["evaluated"]["comparison"].update(reason=text, notes=[text] * 300)
    event["smoke_test"]["texts"] = [
        {"prompt": text, "seed": 1, "temperature": 1.0, "text": text, "seconds": 1.0}
    ] * 3
    event["caught"] = [
        caught("SmokeTestFailed", step, text) for step in ("SmokeTest", "Compensate", "TearDown")
    ]
    document = reported(event)
    # Lambda may write what is not ASCII as an escape.
    assert len(json.dumps(document)) < LIMIT - 10_000
    assert reported.message is not None
    assert len(reported.message["Message"].encode()) <= LIMIT
    assert len(reported.first_line) <= 2000
    assert Report.model_validate(document).status == "Failed"


def test_what_fits_is_not_cut(reported: Reported, event: Any) -> None:
    event["caught"] = [caught("InvalidInput", "Plan", "y" * 3000)]
    assert reported(event)["error"]["message"] == "y" * 3000


def test_waiting_for_files_with_endless_names_fits_too(reported: Reported, event: Any) -> None:
    event.update(dict.fromkeys(AFTER_PREPARE))
    event["prepared"] = {"outcome": "waiting", "dataset": "sotu", "reason": "z" * 200_000}
    assert len(json.dumps(reported(event))) < LIMIT
    assert reported.message == reported.message | {"TopicArn": ANY}  # type: ignore[operator]
