"""Requests in the absence of faults, each through the real state machine."""

import http.server
import json
import threading
from pathlib import Path
from typing import Any

from tests.faults.pipeline import ENDPOINT, Pipeline
from tests.queues import Queue
from tests.unit.pipeline.git_source.git_server import SCRIPTS, Repository, serving
from tests.waiting import DEADLINE

PASSWORD = "not-to-be-seen"


def succeeded(description: dict[str, Any]) -> dict[str, Any]:
    """Check that the execution succeeded, and return its report."""
    report: dict[str, Any] = description["output"]
    assert report.get("status") == "Succeeded", description
    return report


def test_a_serverless_endpoint_is_created_and_updated(pipeline: Pipeline) -> None:
    request = {
        "dataset": pipeline.add_dataset("first"),
        "force": True,
        "hosting": {"endpoint_type": "serverless"},
    }
    for _ in range(2):
        report = succeeded(pipeline.run(request))
        assert report["standing_cost"]["kind"] == "serverless"
    live = pipeline.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    assert "CurrentServerlessConfig" in live["ProductionVariants"][0]
    pipeline.assert_sound(serves=pipeline.jobs()[-1])


def test_a_file_may_have_any_name(pipeline: Pipeline) -> None:
    names = ["a b+c %41&=?#.txt", "ποίημα/été.txt", "'quoted' \"twice\".txt"]
    # The first execution gathers until all uploads have joined.
    acquire = pipeline.faults.slow("UpdateItem", seconds=DEADLINE, by="acquire")
    for number, name in enumerate(names):
        pipeline.upload("first", number, file=name)
    pipeline.until(lambda: pipeline.item("dataset/first").get("joined") == len(names), "the uploads to join")
    pipeline.until(lambda: pipeline.faults.fired(acquire), "the run to acquire the lease")
    pipeline.faults.end_delays()
    pipeline.wait_for_rest()
    (report,) = [report for report in pipeline.reports() if report.get("job")]
    assert {file["name"] for file in pipeline.manifest(report)["files"]} == set(names)
    pipeline.assert_newest_serves(jobs=1)


def test_two_instances_are_updated_by_a_canary_and_may_scale(pipeline: Pipeline) -> None:
    hosting = {"instance_type": "ml.m5.large", "instance_count": 2, "max_instance_count": 4}
    request = {"dataset": pipeline.add_dataset("first"), "force": True, "hosting": hosting}
    for _ in range(2):
        succeeded(pipeline.run(request))
    live = pipeline.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    policy = live["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (policy["Type"], policy["CanarySize"]) == ("CANARY", {"Type": "INSTANCE_COUNT", "Value": 1})
    assert len(live["LastDeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]) == 2
    scaling = pipeline.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    pipeline.assert_sound(serves=pipeline.jobs()[-1])


def schedules(pipeline: Pipeline) -> list[dict[str, str]]:
    """Return the names of the scheduled teardowns, as arguments of Scheduler's operations."""
    listed = pipeline.client("scheduler").list_schedules(GroupName="lexline-teardowns")["Schedules"]
    return [{"Name": schedule["Name"], "GroupName": schedule["GroupName"]} for schedule in listed]


def test_teardown_after_a_time(pipeline: Pipeline) -> None:
    request = {"dataset": pipeline.add_dataset("first"), "teardown": {"after": "PT2S"}, "force": True}
    assert succeeded(pipeline.run(request))["finished"]["teardown_at"]
    pipeline.wait_for_executions(2)
    pipeline.wait_for_rest()
    assert [report["event"] for report in pipeline.reports()] == ["deployed", "teardown"]
    pipeline.until(lambda: not schedules(pipeline), "the schedule to be deleted")
    pipeline.assert_sound(serves=None)


def test_teardown_when_idle(pipeline: Pipeline) -> None:
    scheduler, cloudwatch = pipeline.client("scheduler"), pipeline.client("cloudwatch")
    request = {"dataset": pipeline.add_dataset("first"), "teardown": {"when_idle": "PT1H"}, "force": True}
    assert succeeded(pipeline.run(request))["finished"]["teardown_at"]
    (schedule,) = schedules(pipeline)
    check = json.loads(scheduler.get_schedule(**schedule)["Target"]["Input"])
    served = pipeline.serving_model()
    pipeline.until(lambda: cloudwatch.list_metrics(MetricName="Invocations")["Metrics"], "a metric")

    # Scheduler deletes a schedule after its execution has started.
    scheduler.delete_schedule(**schedule)
    assert pipeline.run(check)["output"]["status"] == "Skipped"
    assert json.loads(scheduler.get_schedule(**schedule)["Target"]["Input"]) == check
    assert pipeline.serving_model() == served

    # A second without requests instead of an hour.
    check["teardown_of"]["when_idle"] = "PT1S"
    pipeline.until(lambda: pipeline.run(check)["output"]["status"] == "Succeeded", "the endpoint to be idle")
    scheduler.delete_schedule(**schedule)
    assert pipeline.reports()[-1]["event"] == "teardown"
    pipeline.assert_sound(serves=None)


def test_an_upload_with_a_request_of_its_own_is_trained_on_once(pipeline: Pipeline) -> None:
    # As `lexline run FILE --set` does it: the upload's execution waits until the other run has read the file.
    pipeline.faults.event("upload", "late", seconds=DEADLINE)
    pipeline.upload("first", 1)
    report = succeeded(pipeline.run({"dataset": "first", "hyperparameters": {"seed": 7}}))
    pipeline.faults.end_delays()
    pipeline.wait_for_executions(2)
    pipeline.wait_for_rest()
    assert sorted(pipeline.statuses()) == ["Skipped", "Succeeded"]
    reason = next(each["reason"] for each in pipeline.reports() if each["status"] == "Skipped")
    assert "An earlier run has already read these uploads" in reason
    assert report["registered"]["version"] == 1
    pipeline.assert_newest_serves(jobs=1)


def test_a_rollback_trains_nothing(pipeline: Pipeline) -> None:
    former = pipeline.serve_first_model()
    succeeded(pipeline.run({"dataset": "first", "force": True}))
    assert succeeded(pipeline.run({"model": "previous"}))["event"] == "rolled_back"
    pipeline.assert_sound(serves=former)
    assert len(pipeline.jobs()) == 2


def test_scripts_come_from_git_without_showing_the_secret(pipeline: Pipeline, tmp_path: Path) -> None:
    secrets = pipeline.client("secretsmanager")
    repository = Repository(tmp_path / "scripts")
    commit = repository.commit(SCRIPTS, branch="main")
    secret = secrets.create_secret(Name="lexline/git")["ARN"]
    try:
        with serving(tmp_path, "dulwich") as server, serving(tmp_path, "dulwich") as other:
            login = {"host": f"127.0.0.1:{server.port}", "username": "ada", "password": PASSWORD}
            secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(login))
            server.login = f"ada:{PASSWORD}"
            source = {"repo": f"{server.url}/scripts", "secret": "lexline/git"}
            report = succeeded(pipeline.run({"dataset": pipeline.add_dataset("first"), "source": source}))
            assert report["source"]["commit"] == commit
            wrong = pipeline.run({"dataset": "first", "source": {**source, "branch": "nowhere"}})
            refused = pipeline.run({"dataset": "first", "source": {"repo": source["repo"]}})
            stolen = {"repo": f"{other.url}/scripts", "secret": "lexline/git"}
            elsewhere = pipeline.run({"dataset": "first", "source": stolen})
            assert other.seen == []
    finally:
        repository.close()
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    assert (wrong["error"], "nowhere" in wrong["cause"]) == ("SourceNotFound", True)
    assert refused["error"] == "SourceUnauthorized"
    assert (elsewhere["error"], "another server" in elsewhere["cause"]) == ("InvalidSource", True)
    for execution in pipeline.executions():
        history = pipeline.states.get_execution_history(executionArn=execution["executionArn"])
        assert PASSWORD not in json.dumps(history, default=str)
    pipeline.assert_sound(serves=pipeline.jobs()[-1])


def test_messages_at_the_start_and_end_of_each_run(pipeline: Pipeline) -> None:
    queue = Queue(pipeline.client)
    # An alarm may send a message meanwhile, because of this test or of one before it.
    events = ["started", "deployed", "rejected", "failed"]
    subscription = queue.subscribe(pipeline.stack.outputs["TopicArn"], {"event": events})
    try:
        pipeline.serve_first_model()
        pipeline.faults.metrics(test_perplexity=190.0, challenger_perplexity=190.0, champion_perplexity=60.0)
        pipeline.run({"dataset": "first", "force": True})
        pipeline.faults.job("Failed", reason="AlgorithmError: out of memory")
        pipeline.run({"dataset": "first", "force": True})
        messages = queue.wait_for(6)
    finally:
        pipeline.client("sns").unsubscribe(SubscriptionArn=subscription)
        queue.delete()
    lines = [
        (message["MessageAttributes"]["event"]["Value"], message["Message"].partition("\n")[0])
        for message in messages
    ]
    assert sorted(event for event, _ in lines) == ["deployed", "failed", "rejected", *["started"] * 3]
    assert "190.00" in dict(lines)["rejected"]
    assert "out of memory" in dict(lines)["failed"]


class _ResponseUrl(http.server.BaseHTTPRequestHandler):
    """The URL where CloudFormation expects the response of a custom resource."""

    received: list[dict[str, Any]]

    def do_PUT(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_stack_deletion_keeps_only_the_uploads(pipeline: Pipeline) -> None:
    pipeline.serve_first_model()
    pipeline.start_training({"dataset": "first", "force": True})
    _ResponseUrl.received = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _ResponseUrl) as server:
        threading.Thread(target=server.serve_forever).start()
        event = {
            "RequestType": "Delete",
            "ResponseURL": f"http://127.0.0.1:{server.server_port}/",
            "LogicalResourceId": "Leftovers",
            "RequestId": "1",
            "PhysicalResourceId": "p",
            "StackId": "arn:aws:cloudformation:::stack/lexline/1",
        }
        pipeline.client("lambda").invoke(FunctionName="lexline-stack-deletion", Payload=json.dumps(event))
        server.shutdown()
    assert [response["Status"] for response in _ResponseUrl.received] == ["SUCCESS"]
    pipeline.until(lambda: not pipeline.in_progress(), "the executions to end")
    assert pipeline.orphans() == []
    assert pipeline.serving_model() is None
    assert pipeline.sagemaker.list_models()["Models"] == []
    assert pipeline.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    listed = pipeline.client("s3").list_object_versions(Bucket=pipeline.stack.bucket)["Versions"]
    assert {version["Key"].split("/")[0] for version in listed} <= {"uploads", "reports"}
