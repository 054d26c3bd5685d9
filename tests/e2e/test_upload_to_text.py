"""From a corpus to text over HTTP, by each way to start a run."""

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.command import lexline
from tests.stack import PROJECT, DeployedStack


@pytest.fixture(scope="module")
def command(
    stack: DeployedStack, corpus: bytes, tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """The result of `lexline run FILE`: an upload, and the run that it starts."""
    file = tmp_path_factory.mktemp("corpus") / "speeches.txt"
    file.write_bytes(corpus)
    return lexline(stack, "run", str(file), "--dataset", "speeches")


@pytest.fixture(scope="module")
def report(stack: DeployedStack, command: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The report of the run that the upload started."""
    assert command.returncode == 0, command.stdout + command.stderr
    states = stack.cloud.client("stepfunctions")
    for execution in stack.executions():
        request = json.loads(states.describe_execution(executionArn=execution)["input"])
        if request.get("upload", {}).get("key") == "uploads/speeches/speeches.txt":
            return stack.report(execution)
    raise AssertionError("the upload started no execution")


@pytest.fixture
def serving(stack: DeployedStack, report: dict[str, Any]) -> str:
    """The name of the model that serves now."""
    endpoint = stack.cloud.client("sagemaker").describe_endpoint(EndpointName=stack.outputs["EndpointName"])
    return str(endpoint["EndpointConfigName"])


def test_the_command_shows_the_result(
    command: subprocess.CompletedProcess[str], report: dict[str, Any]
) -> None:
    assert f"{report['run']} is live on endpoint lexline" in " ".join(command.stdout.split())
    assert "Test perplexity" in command.stdout


def test_an_uploads_run_has_one_report(report: dict[str, Any]) -> None:
    assert report["status"] == "Succeeded"
    assert report["error"] is None
    assert report["dataset"]["dataset"] == "speeches"
    assert report["dataset"]["splits"]["train"]["words"] > 8_000
    assert report["job"]["job"] == report["model"]["name"] == report["endpoint"]["config"] == report["run"]
    assert 1 < report["metrics"]["test_perplexity"] < report["metrics"]["vocabulary_size"]
    assert all(text["text"].split() for text in report["smoke_test"]["texts"])
    assert {"read_uploads", "train", "deploy"} <= report["durations"].keys()
    assert (report["dataset"]["files"], report["dataset"]["left_out_count"]) == (1, 0)
    assert report["removed"] == []


def test_the_api_returns_text_of_the_model(stack: DeployedStack, serving: str) -> None:
    request = {"seed": 111, "temperature": 2.0, "words": 100, "prompt": "My fellow Americans"}
    status, body = response = stack.call_api("POST", "/generate", request)
    assert status == 200
    assert body.keys() == {"text", "words", "seed", "model", "unknown_words"}
    assert (body["words"], body["seed"], body["model"]) == (100, 111, serving)
    assert body["text"].strip()
    assert stack.call_api("POST", "/generate", request) == response
    assert stack.call_api("POST", "/generate", {**request, "seed": 112}).body["text"] != body["text"]


def test_the_api_scores_texts_and_speaks_openais_completions(stack: DeployedStack, serving: str) -> None:
    text = "My fellow Americans,"
    status, scores = stack.call_api("POST", "/score", {"text": text})
    assert (status, scores["model"]) == (200, serving)
    body = {"model": serving, "prompt": text, "max_tokens": 0, "echo": True, "logprobs": 1}
    status, completion = stack.call_api("POST", "/v1/completions", body)
    assert status == 200
    logprobs = completion["choices"][0]["logprobs"]["token_logprobs"]
    assert logprobs == [entry["log_probability"] for entry in scores["log_probabilities"]]
    status, models = stack.call_api("GET", "/v1/models")
    assert serving in [model["id"] for model in models["data"]]


def test_the_api_describes_the_model(stack: DeployedStack, serving: str) -> None:
    job = stack.cloud.client("sagemaker").describe_training_job(TrainingJobName=serving)
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    status, body = stack.call_api("GET", "/model")
    assert (status, body["model"]) == (200, serving)
    assert body["perplexity"] == pytest.approx(metrics["test:perplexity"], rel=0.01)
    assert stack.call_api("GET", "/health").status == 200


def test_the_api_names_every_invalid_field(stack: DeployedStack) -> None:
    status, body = stack.call_api("POST", "/generate", {"words": 0, "temperature": "hot", "sead": 1})
    assert status == 400
    assert {"words", "temperature", "sead"} <= set(re.findall(r"\w+", json.dumps(body)))


def test_the_documented_request_tears_down_and_the_shortest_request_deploys_again(
    stack: DeployedStack, resources: Callable[[], set[str]], report: dict[str, Any]
) -> None:
    text = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    request = json.loads(re.findall(r"```json\n(\{\s*\"dataset\".*?)```", text, re.DOTALL)[0])
    small = {"emsize": 16, "nhid": 16, "epochs": 1}
    request |= {
        "dataset": "speeches",
        "hyperparameters": request["hyperparameters"] | small,
        "max_perplexity": 100_000,
        # The new model is smaller than the model that serves, and no better.
        "tolerance": 10,
        "teardown": "always",
    }
    torn_down = stack.run(request)
    assert torn_down["status"] == "Succeeded"
    assert f"endpoint/{torn_down['endpoint']['endpoint']}" in torn_down["removed"]
    assert not {name for name in resources() if torn_down["run"] in name or name.startswith("endpoint/")}
    status, body = stack.call_api("POST", "/generate", {})
    assert (status, body.keys() >= {"code", "message"}) == (404, True)

    # A person may type this request into the console of Step Functions.
    deployed = stack.run({"dataset": "speeches"})
    assert deployed["status"] == "Succeeded"
    assert deployed["dataset"]["fingerprint"] == report["dataset"]["fingerprint"]


def test_the_consoles_default_input_is_refused_by_what_it_lacks(stack: DeployedStack) -> None:
    """The console of Step Functions offers this input, and its Comment is ignored."""
    description = stack.wait(stack.start({"Comment": "Insert your JSON here"}))
    assert (description["status"], description["error"]) == ("FAILED", "InvalidInput")
    assert "dataset" in description["cause"]
    assert "Comment" not in description["cause"]


def test_a_run_on_the_data_of_the_serving_model_trains_nothing(
    stack: DeployedStack, resources: Callable[[], set[str]], serving: str
) -> None:
    before = resources()
    unchanged = stack.run({"dataset": "speeches"})
    assert (unchanged["status"], unchanged["job"]) == ("Unchanged", None)
    assert '"force": true' in unchanged["reason"]
    assert resources() == before


def test_a_worse_model_is_rejected_and_creates_nothing(
    stack: DeployedStack, resources: Callable[[], set[str]], serving: str
) -> None:
    before = resources()
    # With this learning rate the model learns nothing, and the champion has learnt a little.
    rejected = stack.run({"dataset": "speeches", "hyperparameters": {"lr": 0.00001}, "tolerance": 0})
    assert rejected["status"] == "Rejected", rejected["reason"]
    comparison = rejected["comparison"]
    assert comparison["challenger_perplexity"] > comparison["champion_perplexity"] > 1
    for side in ("champion_perplexity", "challenger_perplexity"):
        assert f"{comparison[side]:.2f}" in rejected["reason"]
    assert resources() == before


BAD = {
    "bad-a/a.txt": (b"", "DatasetEmpty", "empty"),
    "bad-b/b.txt": (b"a few words\n", "DatasetTooSmall", "words"),
    "bad-c/c.txt": (
        "Vive la République française, été comme hiver.\n".encode("latin-1") * 900,
        "DatasetNot",
        "iconv",
    ),
}
"""By key under uploads/: the content of a file, the start of its error's name, and a word of the cause."""


def test_a_bad_upload_fails_with_a_cause_and_leaves_nothing(stack: DeployedStack) -> None:
    known = set(stack.executions())
    for key, (content, _, _) in BAD.items():
        dataset, _, file = key.partition("/")
        stack.upload(dataset, file, content)
    for execution in stack.wait_for_new(known, len(BAD)):
        description = stack.wait(execution)
        key = json.loads(description["input"])["upload"]["key"].removeprefix("uploads/")
        _, error, word = BAD[key]
        assert description["status"] == "FAILED"
        assert description["error"].startswith(error)
        assert word in description["cause"]
        # The cause names the file, or the dataset if all of it together is too small.
        assert key.partition("/")[0] in description["cause"]
    listed = stack.cloud.client("s3").list_objects_v2(Bucket=stack.bucket, Prefix="prepared/bad-")
    assert listed["KeyCount"] == 0
