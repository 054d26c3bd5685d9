"""What may be asked of the pipeline, with nothing going wrong: each through the real state machine."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.plan import Faults
from tests.faults.world import ENDPOINT, World
from tests.stack import DeployedStack
from tests.unit.pipeline.git_source.git_server import SCRIPTS, Repository, serving

PASSWORD = "not-to-be-seen"


@pytest.fixture
def world(stack: DeployedStack, faults: Faults) -> World:
    return World(stack, faults)


def succeeded(description: dict[str, Any]) -> dict[str, Any]:
    output: dict[str, Any] = description["output"]
    assert output.get("status") == "Succeeded", description
    return output


def test_a_serverless_endpoint_is_created_and_updated(world: World) -> None:
    wish = {"dataset": world.data("first"), "force": True, "hosting": {"endpoint_type": "serverless"}}
    for _ in range(2):
        report = succeeded(world.run(wish))
        assert report["standing_cost"]["kind"] == "serverless"
    live = world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    assert "CurrentServerlessConfig" in live["ProductionVariants"][0]
    world.assert_sound(serves=world.trained()[-1])


def test_two_instances_are_updated_by_a_canary_and_may_scale(world: World) -> None:
    hosting = {"instance_type": "ml.m5.large", "instance_count": 2, "max_instance_count": 4}
    wish = {"dataset": world.data("first"), "force": True, "hosting": hosting}
    for _ in range(2):
        succeeded(world.run(wish))
    live = world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    policy = live["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (policy["Type"], policy["CanarySize"]) == ("CANARY", {"Type": "INSTANCE_COUNT", "Value": 1})
    assert len(live["LastDeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]) == 2
    scaling = world.stack.cloud.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    world.assert_sound(serves=world.trained()[-1])


def test_an_endpoint_that_is_to_go_after_a_time_goes(world: World) -> None:
    report = succeeded(
        world.run({"dataset": world.data("first"), "teardown": {"after": "PT2S"}, "force": True})
    )
    assert report["finished"]["teardown_at"]
    world.until(lambda: len(world.executions()) == 2, "the schedule")
    world.rest()
    assert [each["event"] for each in world.reports()] == ["deployed", "teardown"]
    groups = world.stack.cloud.client("scheduler").list_schedules(GroupName="lexline-teardowns")
    assert groups["Schedules"] == []
    world.assert_sound(serves=None)


def test_an_endpoint_that_is_to_go_when_idle_stays_while_it_is_used(world: World) -> None:
    schedules, metrics = (world.stack.cloud.client(service) for service in ("scheduler", "cloudwatch"))
    wish = {"dataset": world.data("first"), "teardown": {"when_idle": "PT1H"}, "force": True}
    assert succeeded(world.run(wish))["finished"]["teardown_at"]
    (named,) = schedules.list_schedules(GroupName="lexline-teardowns")["Schedules"]
    schedule = {"Name": named["Name"], "GroupName": named["GroupName"]}
    look = json.loads(schedules.get_schedule(**schedule)["Target"]["Input"])
    served = world.answering()
    world.until(lambda: metrics.list_metrics(MetricName="Invocations")["Metrics"], "CloudWatch to know")

    # As Scheduler does with one whose time has come.
    schedules.delete_schedule(**schedule)
    skipped = world.run(look)["output"]
    assert (skipped["status"], "it is looked at again at" in skipped["reason"]) == ("Skipped", True)
    assert json.loads(schedules.get_schedule(**schedule)["Target"]["Input"]) == look
    assert world.answering() == served

    # An hour's quiet, in a second.
    look["teardown_of"]["when_idle"] = "PT1S"
    world.until(lambda: world.run(look)["output"]["status"] == "Succeeded", "the endpoint to be idle")
    schedules.delete_schedule(**schedule)
    assert world.reports()[-1]["event"] == "teardown"
    world.assert_sound(serves=None)


def test_the_model_that_served_before_is_gone_back_to(world: World) -> None:
    former = world.serve()
    succeeded(world.run({"dataset": "first", "force": True}))
    assert succeeded(world.run({"model": "previous"}))["event"] == "rolled_back"
    world.assert_sound(serves=former)
    assert len(world.trained()) == 2


def test_scripts_come_from_git_and_the_secret_is_nowhere_to_be_seen(world: World, tmp_path: Path) -> None:
    secrets = world.stack.cloud.client("secretsmanager")
    repository = Repository(tmp_path / "scripts")
    commit = repository.commit(SCRIPTS, branch="main")
    secret = secrets.create_secret(
        Name="lexline/git", SecretString=json.dumps({"username": "ada", "password": PASSWORD})
    )["ARN"]
    try:
        with serving(tmp_path, "dulwich") as door:
            door.login = f"ada:{PASSWORD}"
            source = {"repo": f"{door.url}/scripts", "secret": "lexline/git"}
            report = succeeded(world.run({"dataset": world.data("first"), "source": source}))
            assert report["source"]["commit"] == commit
            wrong = world.run({"dataset": "first", "source": {**source, "branch": "nowhere"}})
            refused = world.run({"dataset": "first", "source": {"repo": source["repo"]}})
    finally:
        repository.close()
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    assert (wrong["error"], "nowhere" in wrong["cause"]) == ("SourceNotFound", True)
    assert refused["error"] == "SourceUnauthorized"
    for execution in world.executions():
        history = world.states.get_execution_history(executionArn=execution["executionArn"])
        assert PASSWORD not in json.dumps(history, default=str)
    world.assert_sound(serves=world.trained()[-1])


def test_people_are_told_of_the_beginning_and_of_the_end(world: World) -> None:
    cloud = world.stack.cloud
    queues, topics = cloud.client("sqs"), cloud.client("sns")
    url = queues.create_queue(QueueName="told")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]}
    queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    subscription = topics.subscribe(
        TopicArn=world.stack.outputs["TopicArn"], Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    try:
        world.serve()
        world.faults.metrics(test_perplexity=190.0, challenger_perplexity=190.0, champion_perplexity=60.0)
        world.run({"dataset": "first", "force": True})
        world.faults.job("Failed", reason="AlgorithmError: out of memory")
        world.run({"dataset": "first", "force": True})
        told: list[tuple[str, str]] = []
        while messages := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                body = json.loads(message["Body"])
                told.append((body["MessageAttributes"]["event"]["Value"], body["Message"].partition("\n")[0]))
                queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    finally:
        topics.unsubscribe(SubscriptionArn=subscription)
        queues.delete_queue(QueueUrl=url)
    assert [event for event, _ in told] == ["started", "deployed", "started", "rejected", "started", "failed"]
    assert "190.00" in told[3][1]
    assert "out of memory" in told[5][1]


class _Answers(http.server.BaseHTTPRequestHandler):
    """Stands where CloudFormation waits for the answer of a custom resource."""

    heard: list[dict[str, Any]]

    def do_PUT(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def cloudformation() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where to answer, and what was answered."""
    _Answers.heard = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", _Answers.heard
        server.shutdown()
        thread.join()


def test_what_the_pipeline_made_goes_with_the_stack_and_uploads_stay(
    world: World, cloudformation: tuple[str, list[dict[str, Any]]]
) -> None:
    world.serve()
    world.faults.job("InProgress")
    world.stack.start({"dataset": "first", "force": True})
    world.until(lambda: len(world.trained()) == 2, "a job that runs")
    url, heard = cloudformation
    event = {"RequestType": "Delete", "ResponseURL": url, "LogicalResourceId": "Leftovers", "RequestId": "1",
             "PhysicalResourceId": "p", "StackId": "arn:aws:cloudformation:::stack/lexline/1"}  # fmt: skip
    world.stack.cloud.client("lambda").invoke(
        FunctionName="lexline-stack-deletion", Payload=json.dumps(event).encode()
    )
    assert [answer["Status"] for answer in heard] == ["SUCCESS"], heard
    world.until(lambda: not world.running(), "the executions to end")
    assert world.orphans() == []
    assert world.answering() is None
    assert world.sagemaker.list_models()["Models"] == []
    assert world.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    listed = world.stack.cloud.client("s3").list_object_versions(Bucket=world.stack.bucket)["Versions"]
    assert {each["Key"].split("/")[0] for each in listed} <= {"uploads", "reports"}
