"""From a corpus to text over HTTP, by each of the ways a run is started."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Answer
from tests.stack import PROJECT, DeployedStack


def lexline(stack: DeployedStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command against the tests' local cloud."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lexline")), *arguments],
        env={**stack.cloud.environment(), "LEXLINE_HOME": str(stack.cloud.state_dir), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def uploaded(
    stack: DeployedStack, corpus: bytes, tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """What `lexline run FILE` did: an upload, and the run that the upload started."""
    file = tmp_path_factory.mktemp("corpus") / "speeches.txt"
    file.write_bytes(corpus)
    return lexline(stack, "run", str(file), "--dataset", "speeches")


@pytest.fixture(scope="module")
def report(stack: DeployedStack, uploaded: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The output of the execution that the upload started."""
    assert uploaded.returncode == 0, uploaded.stdout + uploaded.stderr
    for execution in stack.executions():
        described = stack.wait(execution)
        if json.loads(described["input"]).get("upload", {}).get("key") == "uploads/speeches/speeches.txt":
            document: dict[str, Any] = json.loads(described["output"])
            return document
    raise AssertionError("the upload started no execution")


def test_the_command_follows_the_run_and_tells_the_result(
    uploaded: subprocess.CompletedProcess[str], report: dict[str, Any]
) -> None:
    assert "words/s" in uploaded.stdout
    assert f"{report['run']} is live on the endpoint lexline" in uploaded.stdout
    assert "Test perplexity" in uploaded.stdout


def test_an_uploads_run_ends_in_one_document(report: dict[str, Any]) -> None:
    assert report["status"] == "Succeeded"
    assert report["error"] is None
    assert report["dataset"]["dataset"] == "speeches"
    assert report["dataset"]["splits"]["train"]["words"] > 8_000
    assert report["job"]["job"] == report["model"]["name"] == report["endpoint"]["config"] == report["run"]
    assert 1 < report["metrics"]["test_perplexity"] < report["metrics"]["vocabulary_size"]
    assert all(text["text"].split() for text in report["smoke_test"]["texts"])
    assert {"prepare", "train", "deploy"} <= report["durations"].keys()
    assert report["removed"] == []


def test_text_comes_out_of_the_http_endpoint(api: Callable[..., Answer], report: dict[str, Any]) -> None:
    request = {"seed": 111, "temperature": 2.0, "words": 100, "prompt": "My fellow Americans"}
    status, answer = api("POST", "/generate", request)
    assert status == 200
    assert answer.keys() == {"text", "words", "seed", "model"}
    assert (answer["words"], answer["seed"], answer["model"]) == (100, 111, report["run"])
    assert len(answer["text"].split()) > 50
    assert api("POST", "/generate", request) == (200, answer)
    assert api("POST", "/generate", {**request, "seed": 112})[1]["text"] != answer["text"]


def test_the_api_says_what_it_serves(api: Callable[..., Answer], report: dict[str, Any]) -> None:
    status, answer = api("GET", "/model")
    assert status == 200
    assert answer["model"] == report["run"]
    assert answer["perplexity"] == pytest.approx(report["metrics"]["test_perplexity"], rel=0.01)
    assert api("GET", "/health")[0] == 200


def test_no_route_answers_without_the_key(api: Callable[..., Answer], report: dict[str, Any]) -> None:
    for method, path in (("POST", "/generate"), ("GET", "/model"), ("GET", "/health")):
        status, answer = api(method, path, {} if method == "POST" else None, key=None)
        assert (status, answer.keys() >= {"code", "message"}) == (403, True), path
        assert api(method, path, {} if method == "POST" else None, key="wrong" * 8)[0] == 403


def test_every_wrong_field_is_named_over_http(api: Callable[..., Answer], report: dict[str, Any]) -> None:
    status, answer = api("POST", "/generate", {"words": 0, "temperature": "hot", "sead": 1})
    assert status == 400
    assert {"words", "temperature", "sead"} <= set(re.findall(r"\w+", json.dumps(answer)))


def test_the_documented_request_runs_and_teardown_always_leaves_nothing(
    stack: DeployedStack, api: Callable[..., Answer], made: Callable[[], set[str]], report: dict[str, Any]
) -> None:
    """It updates the endpoint that the upload made, and then removes it."""
    text = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    documented = json.loads(re.findall(r"```json\n(\{\s*\"dataset\".*?)```", text, re.DOTALL)[0])
    small = {"emsize": 16, "nhid": 16, "epochs": 1}
    documented |= {
        "dataset": "speeches",
        "hyperparameters": documented["hyperparameters"] | small,
        "max_perplexity": 100_000,
        # It is smaller than the model that serves, and no better.
        "tolerance": 10,
        "teardown": "always",
    }
    ended = stack.wait(stack.start(documented))
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    output = json.loads(ended["output"])
    assert output["status"] == "Succeeded"
    assert f"endpoint/{output['endpoint']['endpoint']}" in output["removed"]
    assert not {name for name in made() if output["run"] in name or name.startswith("endpoint/")}
    status, answer = api("POST", "/generate", {})
    assert (status, answer.keys() >= {"code", "message"}) == (404, True)


def test_an_execution_needs_no_input_but_the_dataset(stack: DeployedStack, report: dict[str, Any]) -> None:
    """As somebody types it into the Step Functions console."""
    ended = stack.wait(stack.start({"dataset": "speeches"}))
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    output = json.loads(ended["output"])
    assert output["status"] == "Succeeded"
    assert output["dataset"]["fingerprint"] == report["dataset"]["fingerprint"]


def test_the_consoles_untouched_input_is_refused_and_the_field_named(stack: DeployedStack) -> None:
    """What the Step Functions console offers before anything is typed."""
    ended = stack.wait(stack.start({"Comment": "Insert your JSON here"}))
    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidInput")
    assert "Comment" in ended["cause"]


def test_what_would_train_the_model_that_serves_trains_nothing(
    stack: DeployedStack, made: Callable[[], set[str]], report: dict[str, Any]
) -> None:
    before = made()
    ended = stack.wait(stack.start({"dataset": "speeches"}))
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    output = json.loads(ended["output"])
    assert (output["status"], output["job"]) == ("Unchanged", None)
    assert '"force": true' in output["reason"]
    assert made() == before


def test_a_model_worse_than_the_one_that_serves_is_rejected_and_nothing_is_made(
    stack: DeployedStack, made: Callable[[], set[str]], report: dict[str, Any]
) -> None:
    before = made()
    hardly_trained = {"lr": 0.0001}
    ended = stack.wait(
        stack.start({"dataset": "speeches", "hyperparameters": hardly_trained, "tolerance": 0.01})
    )
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    output = json.loads(ended["output"])
    assert output["status"] == "Rejected", output["reason"]
    comparison = output["comparison"]
    assert comparison["challenger_perplexity"] > 1.01 * comparison["champion_perplexity"] > 1
    for figure in ("champion_perplexity", "challenger_perplexity"):
        assert f"{comparison[figure]:.2f}" in output["reason"]
    assert made() == before


@pytest.fixture
def quiet_period(stack: DeployedStack) -> Iterator[None]:
    """The deployment as QuietSeconds=3 makes it; to deploy it again would take half a minute."""
    functions, name = stack.cloud.client("lambda"), stack.resources()["GatherFunction"]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]
    changed = {"Variables": {**before["Variables"], "QUIET_SECONDS": "3"}}
    functions.update_function_configuration(FunctionName=name, Environment=changed)
    yield
    functions.update_function_configuration(FunctionName=name, Environment=before)


def test_uploads_of_one_moment_have_one_run(stack: DeployedStack, quiet_period: None) -> None:
    """Here it has nothing to do yet: of three split files, the test text is still to come."""
    known = set(stack.executions())
    for split in ("train.txt", "valid.txt"):
        stack.upload("moment", split, b"a few words\n" * 100)
    outputs = [json.loads(stack.wait(each)["output"]) for each in wait_for_new(stack, known, 2)]
    assert [output["status"] for output in outputs] == ["Skipped", "Skipped"]
    joined, run = sorted(outputs, key=lambda output: "joined run" not in output["reason"])
    assert f"joined run {run['run']}" in joined["reason"]
    assert "test" in run["reason"]


BAD = {
    "bad-a/a.txt": (b"", "DatasetEmpty", "empty"),
    "bad-b/b.txt": (b"a few words\n", "DatasetTooSmall", "words"),
    "bad-c/c.txt": (b"\xff\xfe" + b"no text \x80 here\n" * 5000, "DatasetNot", "byte"),
}
"""By its place under uploads/: what is in the file, the error it leads to, and a word of its sentence."""


def test_a_bad_upload_fails_with_a_sentence_and_leaves_nothing_prepared(stack: DeployedStack) -> None:
    known = set(stack.executions())
    for place, (content, _, _) in BAD.items():
        dataset, _, file = place.partition("/")
        stack.upload(dataset, file, content)
    for execution in wait_for_new(stack, known, len(BAD)):
        ended = stack.wait(execution)
        place = json.loads(ended["input"])["upload"]["key"].removeprefix("uploads/")
        _, error, word = BAD[place]
        assert ended["status"] == "FAILED"
        assert ended["error"].startswith(error)
        assert word in ended["cause"]
        assert place in ended["cause"]
    listed = stack.cloud.client("s3").list_objects_v2(Bucket=stack.bucket, Prefix="prepared/bad-")
    assert listed["KeyCount"] == 0


def wait_for_new(stack: DeployedStack, known: set[str], count: int) -> set[str]:
    """So many executions beyond the known ones, once they have appeared."""
    for _ in range(100):
        if len(new := set(stack.executions()) - known) >= count:
            return new
        time.sleep(0.1)
    raise AssertionError("the uploads started too few executions")
