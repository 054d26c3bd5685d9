from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.stub import Stubber

from lexline import target as targets
from lexline.errors import UsageError, UserError
from lexline.target import Target
from localcloud import control
from localcloud.control import LocalCloud

Stub = Callable[[Any], Stubber]
OUTPUTS = {
    "BucketName": "lexline-bucket",
    "StateMachineArn": "arn:machine",
    "EndpointName": "lexline",
    "TableName": "lexline-waits",
    "ApiUrl": "https://abc.execute-api.us-east-1.amazonaws.com/v1",
    "ApiId": "abc",
    "ApiKeyId": "keyid",
    "ApiAuthorization": "API_KEY",
}


def described(status: str = "CREATE_COMPLETE", outputs: dict[str, str] = OUTPUTS) -> dict[str, Any]:
    return {
        "Stacks": [
            {
                "StackName": "lexline",
                "StackStatus": status,
                "CreationTime": datetime(2026, 11, 23, tzinfo=UTC),
                "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
            }
        ]
    }


@pytest.fixture
def aws_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """AWS's two configuration files, and nothing else that could give credentials."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text(
        "[profile full]\nregion=eu-west-1\n[profile nowhere]\n[profile empty]\nregion=eu-west-1\n"
    )
    (tmp_path / "credentials").write_text(
        "[full]\naws_access_key_id=a\naws_secret_access_key=b\n[nowhere]\naws_access_key_id=a\n"
        "aws_secret_access_key=b\n"
    )
    return tmp_path


def test_a_profile_gives_account_and_region_to_clients_and_subprocesses(aws_config: Path) -> None:
    target = targets.aws("full", "mine", None, aws_config)
    assert not target.local
    assert target.s3.meta.region_name == "eu-west-1"
    assert target.environment["AWS_PROFILE"] == "full"
    assert target.environment["AWS_REGION"] == "eu-west-1"
    assert targets.aws("full", "mine", "us-west-2", aws_config).s3.meta.region_name == "us-west-2"


@pytest.mark.parametrize("stack", ["../../thesis", "/etc", "a b", "1st", ""])
def test_a_stack_has_a_name_that_cloudformation_takes_and_that_leads_nowhere(
    aws_config: Path, stack: str
) -> None:
    with pytest.raises(UsageError, match="cannot name a stack"):
        targets.aws("full", stack, None, aws_config)


def test_an_unknown_profile_is_named_with_those_there_are(aws_config: Path) -> None:
    with pytest.raises(UsageError, match="nope; this machine has: full, nowhere, empty"):
        targets.aws("nope", "lexline", None, aws_config)


def test_a_profile_without_a_region_needs_one(aws_config: Path) -> None:
    with pytest.raises(UsageError, match="names no region"):
        targets.aws("nowhere", "lexline", None, aws_config)


def test_a_profile_without_credentials_is_refused_before_anything_is_built(aws_config: Path) -> None:
    with pytest.raises(NoCredentialsError):
        targets.aws("empty", "lexline", None, aws_config)


def cloud(state_dir: Path) -> LocalCloud:
    return LocalCloud(state_dir, "http://127.0.0.1:4566", "us-east-1", "000000000000", "key", "secret", 1)


def test_the_local_cloud_is_used_whatever_profile_the_shell_names(
    aws_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    target = targets.local(cloud(aws_config), "lexline")
    assert target.s3.meta.endpoint_url == "http://127.0.0.1:4566"
    assert target.environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert "AWS_PROFILE" not in target.environment


def test_a_target_shows_no_credentials_in_a_traceback(aws_config: Path) -> None:
    target = targets.local(cloud(aws_config), "lexline")
    assert target.environment["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "secret" not in repr(target)


def test_a_home_that_holds_the_users_files_is_refused_and_one_that_built_for_aws_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(home: Path, beside: tuple[str, ...]) -> LocalCloud:
        control.claim(home, beside)
        return cloud(home)

    monkeypatch.setattr(control, "start", start)
    (tmp_path / "mine" / "aws").mkdir(parents=True)
    assert targets.start_local(tmp_path / "mine", "lexline").local
    with pytest.raises(UserError, match="it holds mine"):
        targets.start_local(tmp_path, "lexline")


def test_a_local_cloud_that_never_ran_and_one_that_died_are_told_apart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(UserError, match="is not running"):
        targets.running_local(home, "lexline")
    (home / "aws").mkdir(parents=True)
    with pytest.raises(UserError, match="is not running"):
        targets.running_local(home, "lexline")
    (home / "server.log").touch()
    with pytest.raises(UserError, match="has stopped") as refusal:
        targets.running_local(home, "lexline")
    assert "lexline up" in refusal.value.hint


def test_the_stack_is_read_from_its_outputs(target: Target, stub: Stub) -> None:
    stub(target.cloudformation).add_response("describe_stacks", described(), {"StackName": "lexline"})
    stack = targets.deployed(target)
    assert stack.bucket == "lexline-bucket"
    assert stack.api_url == OUTPUTS["ApiUrl"]


def test_the_local_apis_url_is_on_this_machine(target: Target, stub: Stub) -> None:
    local = replace(target, endpoint_url="http://127.0.0.1:4566")
    stub(local.cloudformation).add_response("describe_stacks", described())
    assert targets.deployed(local).api_url == "http://127.0.0.1:4566/restapis/abc/v1/_user_request_"


def test_no_stack_says_how_to_deploy_one(target: Target, stub: Stub) -> None:
    stub(target.cloudformation).add_client_error(
        "describe_stacks", "ValidationError", "Stack with id lexline does not exist", 400
    )
    with pytest.raises(targets.NotDeployed, match="no stack called lexline") as refusal:
        targets.deployed(target)
    assert "lexline up" in refusal.value.hint


def test_a_stack_that_failed_to_deploy_says_so(target: Target, stub: Stub) -> None:
    stub(target.cloudformation).add_response("describe_stacks", described("ROLLBACK_COMPLETE", {}))
    with pytest.raises(targets.NotUsable, match="ROLLBACK_COMPLETE"):
        targets.deployed(target)


def test_a_stack_of_an_earlier_version_says_how_to_bring_it_up_to_date(target: Target, stub: Stub) -> None:
    earlier = {key: value for key, value in OUTPUTS.items() if key != "TableName"}
    stub(target.cloudformation).add_response("describe_stacks", described(outputs=earlier))
    with pytest.raises(targets.Outdated, match="earlier version") as refusal:
        targets.deployed(target)
    assert "lexline up" in refusal.value.hint


def test_other_errors_of_cloudformation_are_not_taken_for_a_missing_stack(target: Target, stub: Stub) -> None:
    stub(target.cloudformation).add_client_error("describe_stacks", "AccessDenied", "no", 403)
    with pytest.raises(ClientError):
        targets.deployed(target)
