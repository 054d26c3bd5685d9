from functools import cached_property
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError, ReadTimeoutError

from lexline.aws import target as targets
from lexline.core.errors import UsageError, UserError
from localcloud import control
from localcloud.control import LocalCloud


@pytest.fixture
def aws_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two configuration files of AWS, and no other source of credentials or region."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text(
        "[profile full]\nregion=eu-west-1\n[profile nowhere]\n[profile empty]\nregion=eu-west-1\n"
    )
    keys = "aws_access_key_id=a\naws_secret_access_key=b\n"
    (tmp_path / "credentials").write_text(f"[full]\n{keys}[nowhere]\n{keys}")
    return tmp_path


def test_a_profile_gives_account_and_region_to_clients_and_subprocesses(aws_config: Path) -> None:
    target = targets.for_profile("full", "mine", None, aws_config)
    assert not target.local
    assert target.s3.meta.region_name == "eu-west-1"
    assert target.environment["AWS_PROFILE"] == "full"
    assert target.environment["AWS_REGION"] == "eu-west-1"
    assert targets.for_profile("full", "mine", "us-west-2", aws_config).region == "us-west-2"


def test_a_profile_wins_over_the_keys_in_the_environment(
    aws_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of another account")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "c")
    target = targets.for_profile("full", "mine", None, aws_config)
    credentials = target.session.get_credentials()
    assert credentials is not None
    assert credentials.access_key == "a"
    # SAM would prefer keys to AWS_PROFILE, and deploy to the other account.
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(target.environment)


def test_a_profile_means_aws_in_a_shell_that_is_set_up_for_the_local_cloud(
    aws_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud(aws_config).environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(aws_config / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws_config / "credentials"))
    target = targets.for_profile("full", "mine", None, aws_config)
    assert target.region == "eu-west-1"
    assert target.s3.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"
    assert not {"AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"} & set(target.environment)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("nope", "The profiles on this machine: full, nowhere, empty"),
        ("nowhere", "has no region"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_built(
    aws_config: Path, profile: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        targets.for_profile(profile, "lexline", None, aws_config)


def test_a_profile_without_credentials_is_rejected_before_anything_is_built(aws_config: Path) -> None:
    with pytest.raises(NoCredentialsError):
        targets.for_profile("empty", "lexline", None, aws_config)


def cloud(state_dir: Path) -> LocalCloud:
    return LocalCloud(state_dir, "http://127.0.0.1:4566", "us-east-1", "000000000000", "key", "secret", 1)


def test_the_local_cloud_is_used_whatever_profile_the_environment_names(
    aws_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    target = targets.for_cloud(cloud(aws_config), "lexline")
    assert target.s3.meta.endpoint_url == "http://127.0.0.1:4566"
    assert target.environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert "AWS_PROFILE" not in target.environment


def test_no_client_of_the_local_cloud_uses_a_proxy(aws_config: Path) -> None:
    target = targets.for_cloud(cloud(aws_config), "lexline")
    names = [name for name, each in vars(targets.Target).items() if isinstance(each, cached_property)]
    assert "s3" in names
    # Without this setting, botocore takes the proxies of the environment.
    assert {name: getattr(target, name).meta.config.proxies for name in names} == {name: {} for name in names}
    assert targets.for_profile("full", "mine", None, aws_config).s3.meta.config.proxies is None


def test_a_target_in_a_traceback_shows_no_credentials(aws_config: Path) -> None:
    target = targets.for_cloud(cloud(aws_config), "lexline")
    assert target.environment["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "secret" not in repr(target)


def test_a_home_with_files_of_the_user_is_rejected_and_one_with_builds_for_aws_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(home: Path, beside: tuple[str, ...]) -> LocalCloud:
        control.claim(home, beside)
        return cloud(home)

    monkeypatch.setattr(control, "start", start)
    (tmp_path / "mine" / "aws").mkdir(parents=True)
    assert targets.start_cloud(tmp_path / "mine", "lexline").local
    with pytest.raises(UserError, match="mine") as refused:
        targets.start_cloud(tmp_path, "lexline")
    assert refused.value.hint == "Set LEXLINE_HOME to a folder that is empty or does not exist."


def test_a_local_cloud_that_died_is_not_called_one_that_never_ran(tmp_path: Path) -> None:
    (tmp_path / "aws").mkdir()
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not running"):
        targets.for_running_cloud(tmp_path, "lexline")
    (tmp_path / "thesis.txt").unlink()
    control.claim(tmp_path, beside=("aws",))
    with pytest.raises(UserError, match="has stopped") as stopped:
        targets.for_running_cloud(tmp_path, "lexline")
    assert "lexline up" in stopped.value.hint


def test_a_local_cloud_is_called_stopped_only_if_its_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.claim(tmp_path)
    error = ReadTimeoutError(endpoint_url="http://127.0.0.1:4566")
    assert "has stopped" in targets.not_reached(tmp_path, error)[0]
    monkeypatch.setattr(control, "load", cloud)
    message, hint = targets.not_reached(tmp_path, error)
    assert "does not respond" in message
    assert "Read timeout" in message
    assert str(tmp_path / "server.log") in hint
