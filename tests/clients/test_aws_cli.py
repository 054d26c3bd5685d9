"""The AWS CLI itself, in a shell after eval "$(lexline env)", as README.md says.

PyPI has version 1 of the CLI. Version 2 takes a blob as base64, unless it gets the option
`--cli-binary-format raw-in-base64-out`.
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.clients.conftest import Clients
from tests.clients.texts import write
from tests.stack import PROJECT


class Shell:
    """A shell on which `eval "$(lexline env)"` was typed."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def __call__(self, line: str, code: int = 0) -> str:
        """Type a line, check the exit code of its last command, and return its output."""
        lexline = f"{Path(sys.executable).parent}/lexline"
        script = f'set -euo pipefail\neval "$({lexline} env)"\n{line}\n'
        home = {"LEXLINE_HOME": str(self._clients.stack.cloud.state_dir), "PYTHONPATH": str(PROJECT)}
        return self._clients.run(["bash", "-c", script], environment=home, code=code).strip()


@pytest.fixture
def shell(clients: Clients) -> Shell:
    return Shell(clients)


@pytest.fixture(scope="module")
def run(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a run whose endpoint is in service, started by `aws s3 cp`."""
    shell = Shell(clients)
    corpus = write(tmp_path_factory.mktemp("corpus")) / "train"
    known = set(clients.stack.executions())
    shell(f'aws s3 cp {corpus} "s3://$BUCKET/uploads/cli/corpus.txt"')
    (execution,) = clients.stack.wait_for_new(known)
    name = clients.stack.report(execution)["run"]
    assert isinstance(name, str)
    return name


def test_s3_copies_lists_and_encrypts(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "a file.txt"
    file.write_text("some text")
    shell(f'aws s3 cp "{file}" "s3://$BUCKET/notebook/cli/file.txt" --sse aws:kms')
    assert shell('aws s3 cp "s3://$BUCKET/notebook/cli/file.txt" -') == "some text"
    assert "file.txt" in shell('aws s3 ls "s3://$BUCKET/notebook/cli/"')
    key = shell(
        'aws s3api head-object --bucket "$BUCKET" --key notebook/cli/file.txt'
        " --query SSEKMSKeyId --output text"
    )
    assert key.startswith("arn:aws:kms:us-east-1:")


def test_an_uploads_execution_is_described(shell: Shell, run: str) -> None:
    output = shell(
        'execution=$(aws stepfunctions list-executions --state-machine-arn "$STATE_MACHINE_ARN"'
        " --status-filter SUCCEEDED --query 'executions[0].executionArn' --output text)\n"
        'aws stepfunctions describe-execution --execution-arn "$execution" --query status --output text'
    )
    assert output == "SUCCEEDED"


def test_an_execution_is_started_and_awaited(shell: Shell, run: str) -> None:
    output = shell(
        'execution=$(aws stepfunctions start-execution --state-machine-arn "$STATE_MACHINE_ARN"'
        ' --input \'{"dataset": "cli"}\' --query executionArn --output text)\n'
        "while sleep 0.5; do\n"
        '  status=$(aws stepfunctions describe-execution --execution-arn "$execution"'
        " --query status --output text)\n"
        '  [ "$status" = RUNNING ] || break\n'
        "done\n"
        'echo "$status"'
    )
    assert output == "SUCCEEDED"


def test_sagemaker_lists_the_job_and_logs_has_its_lines(shell: Shell, run: str) -> None:
    names = json.loads(
        shell("aws sagemaker list-training-jobs --query 'TrainingJobSummaries[].TrainingJobName'")
    )
    assert run in names
    group = "/aws/sagemaker/TrainingJobs"
    events = shell(
        f"aws logs filter-log-events --log-group-name {group} --log-stream-name-prefix {run}/"
        " --filter-pattern test_perplexity --query 'events[].message' --output text"
    )
    assert "test_perplexity=" in events


def test_the_endpoint_is_invoked(shell: Shell, run: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    shell(
        'aws sagemaker-runtime invoke-endpoint --endpoint-name "$ENDPOINT_NAME"'
        f" --content-type application/json --body '{{\"words\": 5}}' {answer}"
    )
    assert json.loads(answer.read_text())["text"]


def test_the_stack_is_described_and_waited_for(shell: Shell, run: str) -> None:
    output = shell(
        'aws cloudformation wait stack-exists --stack-name "$STACK_NAME"\n'
        'aws cloudformation describe-stacks --stack-name "$STACK_NAME"'
        " --query \"Stacks[0].Outputs[?OutputKey=='BucketName'].OutputValue\" --output text"
    )
    assert output == shell("echo $BUCKET")


def test_an_error_has_awss_code(shell: Shell) -> None:
    output = shell("aws sagemaker describe-endpoint --endpoint-name nothing", code=255)
    assert "An error occurred (ValidationException)" in output
    assert "Could not find endpoint" in output


def test_a_presigned_url_of_signature_4_works_and_one_of_signature_2_is_refused(
    shell: Shell, clients: Clients
) -> None:
    shell('echo -n secret | aws s3 cp - "s3://$BUCKET/notebook/cli/presigned.txt"')
    # In us-east-1, boto3 and this CLI presign with version 2 of the signature unless they are told.
    shell("aws configure set default.s3.signature_version s3v4")
    url = shell('aws s3 presign "s3://$BUCKET/notebook/cli/presigned.txt"')
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    with urllib.request.urlopen(url) as response:
        assert response.read() == b"secret"
    with pytest.raises(urllib.error.HTTPError) as changed:
        urllib.request.urlopen(url.replace("presigned.txt", "file.txt"))
    assert changed.value.code == 403
    old = clients.program("presign_v2.py").strip()
    assert "AWSAccessKeyId=" in old
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(old)
    assert refused.value.code == 400
    assert b"Please use AWS4-HMAC-SHA256" in refused.value.read()
