"""The local cloud as a process: whom it answers, where it listens, and that its end leaves nothing."""

import contextlib
import http.client
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud import control

CALLS = [
    ("s3", "list_buckets"),
    ("sagemaker", "list_training_jobs"),
    ("stepfunctions", "list_state_machines"),
    ("lambda", "list_functions"),
    ("iam", "list_roles"),
]


# --- whom it answers ---


@pytest.mark.parametrize(("service", "operation"), CALLS)
def test_an_unsigned_request_is_refused(cloud: Any, service: str, operation: str) -> None:
    client: Any = boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.region,
        config=Config(signature_version=UNSIGNED),
    )
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)()
    expected = "AccessDenied" if service == "s3" else "MissingAuthenticationToken"
    assert refused.value.response["Error"]["Code"].startswith(expected)


@pytest.mark.parametrize(("service", "operation"), CALLS)
@pytest.mark.parametrize("key", ["the administrator's", "AKIAIOSFODNN7EXAMPLE", "test", "000000000000"])
def test_a_request_with_a_wrong_signature_is_refused(
    cloud: Any, service: str, operation: str, key: str
) -> None:
    client: Any = boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.region,
        aws_access_key_id=cloud.access_key_id if key.startswith("the ") else key,
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)()
    assert refused.value.response["Error"]["Code"] in (
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )


@pytest.mark.parametrize("path", ["/_ministack/config", "/_ministack/reset", "/_aws/sqs/messages", "/"])
@pytest.mark.parametrize("host", ["", "s3.localhost", "abcdef12.execute-api.localhost"])
def test_there_is_no_way_around_the_signature(cloud: Any, path: str, host: str) -> None:
    request = urllib.request.Request(cloud.endpoint_url + path, data=b"{}", method="POST")
    if host:
        request.add_header("Host", host)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    # An API's host is the API's to answer for; there is no such API.
    no_api = path == "/" and "execute-api" in host
    assert refused.value.code == (404 if no_api else 403)


SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential={}/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


@pytest.mark.parametrize(
    "authorization",
    [
        ["AWS test:x", SIGNATURE.format("AKIAIOSFODNN7EXAMPLE")],
        [SIGNATURE.format("AKIAIOSFODNN7EXAMPLE"), SIGNATURE.format("test")],
        [SIGNATURE.format("٠" * 12)],
        ["AWS4-HMAC-SHA256 nothing"],
    ],
    ids=["two-kinds", "two-signatures", "other-digits", "no-credential"],
)
def test_no_way_of_writing_the_authorization_makes_one_the_root(cloud: Any, authorization: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(cloud.endpoint_url.rsplit(":", 1)[1]))
    with contextlib.closing(connection):
        connection.putrequest("GET", "/")
        for value in authorization:
            connection.putheader("Authorization", value.encode())
        connection.endheaders()
        assert connection.getresponse().status in (400, 403)


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "action"),
    [
        ("sagemaker", "describe_training_job", {"TrainingJobName": "a-job"}, "sagemaker:DescribeTrainingJob"),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "an-endpoint"}, "sagemaker:InvokeEndpoint"),
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"k": {"S": "v"}}}, "dynamodb:GetItem"),
    ],
)
def test_a_role_without_the_permission_is_denied_and_told_which(
    lab: Any, service: str, operation: str, arguments: dict[str, Any], action: str
) -> None:
    body = {"Body": b"{}"} if service == "sagemaker-runtime" else {}
    with pytest.raises(ClientError) as denied:
        getattr(lab.client_as(service), operation)(**arguments, **body)
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    assert f"is not authorized to perform: {action}" in denied.value.response["Error"]["Message"]


def test_a_role_may_do_on_a_resource_what_it_allows_on_that_resource(lab: Any, cloud: Any) -> None:
    allowed = {
        "Effect": "Allow",
        "Action": "sagemaker:DescribeTrainingJob",
        "Resource": f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:training-job/lexline-*",
    }
    sagemaker = lab.client_as("sagemaker", allowed)
    with pytest.raises(ClientError, match="Requested resource not found"):
        sagemaker.describe_training_job(TrainingJobName="lexline-sotu")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        sagemaker.describe_training_job(TrainingJobName="someone-elses")


def test_a_role_is_passed_to_sagemaker_only_by_who_may_pass_it(lab: Any) -> None:
    allowed = {"Effect": "Allow", "Action": "sagemaker:CreateModel", "Resource": "*"}
    sagemaker = lab.client_as("sagemaker", allowed)
    role = lab.role("sagemaker.amazonaws.com")
    image = f"{REGISTRY}/pytorch-inference:2.6-cpu-py312"
    with pytest.raises(ClientError) as denied:
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": image})
    assert f"is not authorized to perform: iam:PassRole on resource: {role}" in str(denied.value)


# --- where it listens, what it keeps ---


def test_it_listens_on_one_loopback_port_and_nowhere_else(cloud: Any) -> None:
    server = psutil.Process(cloud.pid)
    listening = [
        (connection.laddr.ip, connection.laddr.port)
        for process in [server, *server.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or not connection.raddr
    ]
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert int(cloud.endpoint_url.rsplit(":", 1)[1]) in {port for _, port in listening}


def test_its_state_is_its_owners_alone_and_its_secret_nowhere_in_sight(cloud: Any) -> None:
    assert stat.S_IMODE(cloud.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((cloud.state_dir / "server.json").stat().st_mode) == 0o600
    server = psutil.Process(cloud.pid)
    for process in [server, *server.children(recursive=True)]:
        assert cloud.secret_access_key not in " ".join(process.cmdline())
    assert cloud.secret_access_key not in (cloud.state_dir / "server.log").read_text()
    assert cloud.secret_access_key not in repr(cloud)


def test_objects_lie_below_the_state_directory(cloud: Any) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="where-objects-lie")
    s3.put_object(Bucket="where-objects-lie", Key="uploads/a b.txt", Body=b"text")
    files = [path.read_bytes() for path in (cloud.state_dir / "s3").rglob("*") if path.is_file()]
    assert b"text" in files


# --- its end ---


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "state"
    yield path
    control.stop(path)


SLEEPS = "import time\ndef handler(event, context): time.sleep(300)"
# Training that has children of its own, one of them in another session.
TRAIN = """
import subprocess, sys, time
for session in (False, True):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=session)
print("training", flush=True)
time.sleep(300)
"""
SERVE = """
def model_fn(model_dir): return "model"
def input_fn(body, content_type): return body
def predict_fn(data, model): return model
def output_fn(prediction, accept): return prediction
"""
REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
EVERYTHING_IN_S3 = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def archive(path: str, text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo(path)
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def start_training(lab: Any, cloud: Any) -> None:
    """Create a training job that starts processes of its own."""
    sagemaker, s3 = cloud.client("sagemaker"), cloud.client("s3")
    s3.create_bucket(Bucket="training")
    s3.put_object(Bucket="training", Key="code/sourcedir.tar.gz", Body=archive("train.py", TRAIN))
    sagemaker.create_training_job(
        TrainingJobName="busy",
        RoleArn=lab.role("sagemaker.amazonaws.com", EVERYTHING_IN_S3),
        AlgorithmSpecification={
            "TrainingImage": f"{REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker",
            "TrainingInputMode": "File",
        },
        HyperParameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://training/code/sourcedir.tar.gz",
        },
        OutputDataConfig={"S3OutputPath": "s3://training/runs"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )


def trains(cloud: Any) -> bool:
    """Whether the processes that the training starts run."""
    return sum("time.sleep" in line for line in commands(psutil.Process(cloud.pid))) == 2


def start_serving(lab: Any, cloud: Any) -> None:
    """Create an endpoint."""
    sagemaker, s3 = cloud.client("sagemaker"), cloud.client("s3")
    s3.create_bucket(Bucket="serving")
    s3.put_object(Bucket="serving", Key="model.tar.gz", Body=archive("code/generate.py", SERVE))
    sagemaker.create_model(
        ModelName="busy",
        ExecutionRoleArn=lab.role("sagemaker.amazonaws.com", EVERYTHING_IN_S3),
        PrimaryContainer={
            "Image": f"{REGISTRY}/pytorch-inference:2.6-cpu-py312",
            "ModelDataUrl": "s3://serving/model.tar.gz",
            "Environment": {
                "SAGEMAKER_PROGRAM": "generate.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            },
        },
    )
    variant = {"VariantName": "AllTraffic", "ModelName": "busy", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="busy", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName="busy", EndpointConfigName="busy")


def serves(cloud: Any) -> bool:
    """Whether the endpoint is in service."""
    described = cloud.client("sagemaker").describe_endpoint(EndpointName="busy")
    return bool(described["EndpointStatus"] == "InService")


def sleep_in_a_function(lab: Any, cloud: Any, until: Callable[..., Any]) -> None:
    """Start an execution whose function sleeps; wait until it has its process."""
    lab.start(
        lab.machine(
            {
                "StartAt": "Sleep",
                "States": {
                    "Sleep": {"Type": "Task", "Resource": lab.function(SLEEPS, Timeout=300), "End": True}
                },
            }
        )
    )
    server = psutil.Process(cloud.pid)
    until(lambda: any(line.endswith("_worker.py") for line in commands(server)), "the function's process")


def tree(cloud: Any) -> list[psutil.Process]:
    server = psutil.Process(cloud.pid)
    return [server, *server.children(recursive=True)]


def temporary_directories(processes: list[psutil.Process]) -> set[Path]:
    """Where these processes put their temporary files."""
    found = set()
    for process in processes[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(Path(process.environ().get("TMPDIR", "/tmp")))
    return found


def stray_files() -> set[Path]:
    """What MiniStack leaves in /tmp where it is not told to put it elsewhere."""
    return set(Path("/tmp").glob("ministack-*"))


def commands(server: psutil.Process) -> list[str]:
    """The command lines of everything the server has started."""
    lines = []
    for process in server.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            lines.append(" ".join(process.cmdline()))
    return lines


@pytest.fixture
def lab_of(lab: Any) -> Callable[[Any], Any]:
    return type(lab)


def test_kill_9_leaves_no_process_no_port_and_no_temporary_file(
    state_dir: Path, lab_of: Any, until: Any
) -> None:
    strays = stray_files()
    cloud = control.start(state_dir, owner=os.getpid())
    cloud.client("s3").create_bucket(Bucket="left-behind")
    start_training(lab_of(cloud), cloud)
    start_serving(lab_of(cloud), cloud)
    sleep_in_a_function(lab_of(cloud), cloud, until)
    until(lambda: trains(cloud) and serves(cloud), "training and endpoint")
    processes = tree(cloud)
    temporary = temporary_directories(processes)
    os.kill(cloud.pid, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)
    assert [process for process in processes if alive(process)] == []
    assert control.load(state_dir) is None
    with socket.create_server(("127.0.0.1", int(cloud.endpoint_url.rsplit(":", 1)[1]))):
        pass
    # What functions had is in the state directory, which the next start clears.
    assert {path for path in temporary if path.exists()} == {state_dir / "tmp"}
    assert stray_files() <= strays

    again = control.start(state_dir, owner=os.getpid())
    assert again.secret_access_key != cloud.secret_access_key
    assert again.client("s3").list_buckets()["Buckets"] == []
    assert list((state_dir / "tmp").iterdir()) == []


def test_stop_ends_every_process_removes_everything_and_may_be_repeated(
    state_dir: Path, lab_of: Any, until: Any
) -> None:
    strays = stray_files()
    cloud = control.start(state_dir, owner=os.getpid())
    start_training(lab_of(cloud), cloud)
    sleep_in_a_function(lab_of(cloud), cloud, until)
    until(lambda: trains(cloud), "training")
    processes = tree(cloud)
    temporary = temporary_directories(processes)
    assert len(temporary) > 1
    control.stop(state_dir)
    assert [process for process in processes if alive(process)] == []
    assert not state_dir.exists()
    assert [path for path in temporary if path.exists()] == []
    assert stray_files() <= strays
    assert control.load(state_dir) is None
    control.stop(state_dir)


def test_it_ends_with_its_owner(state_dir: Path, lab_of: Any, until: Any) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        cloud = control.start(state_dir, owner=owner.pid)
        sleep_in_a_function(lab_of(cloud), cloud, until)
        processes = tree(cloud)
    finally:
        owner.kill()
        owner.wait()
    _, left = psutil.wait_procs(processes, timeout=20)
    assert [process for process in left if alive(process)] == []
    assert control.load(state_dir) is None
    assert not (state_dir / "server.json").exists()


def test_a_state_directory_has_one_server(cloud: Any) -> None:
    with pytest.raises(control.LocalCloudError, match="already runs"):
        control.start(cloud.state_dir)
    second = subprocess.run(
        [sys.executable, "-m", "localcloud", "--state-dir", cloud.state_dir], capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert control.load(cloud.state_dir) == cloud


def test_two_starts_at_once_make_one_server(state_dir: Path) -> None:
    outcomes: list[Any] = []

    def attempt() -> None:
        try:
            outcomes.append(control.start(state_dir, owner=os.getpid()))
        except control.LocalCloudError as error:
            outcomes.append(error)

    attempts = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in attempts:
        thread.start()
    for thread in attempts:
        thread.join()
    clouds = [outcome for outcome in outcomes if isinstance(outcome, control.LocalCloud)]
    assert len(clouds) == 1
    assert control.load(state_dir) == clouds[0]


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
