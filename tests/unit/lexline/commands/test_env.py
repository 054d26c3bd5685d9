import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lexline.aws import target as targets
from lexline.aws.stack import Stack
from lexline.aws.target import ACCESS
from localcloud.control import LocalCloud
from tests.unit.docs.tables import rows
from tests.unit.lexline.conftest import Patch, run_lexline

NAMES = {"STACK_NAME", "BUCKET", "STATE_MACHINE_ARN", "ENDPOINT_NAME", "TOPIC_ARN", "API_URL"}
SWITCHES = {"AWS_EC2_METADATA_DISABLED", "AWS_DISABLE_HOST_PREFIX_INJECTION", "NO_PROXY", "no_proxy"}
"""Variables that keep the SDK from other credentials, another host name and proxies."""


@pytest.fixture(autouse=True)
def _stacks(stack: Stack, patch: Patch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack on the local cloud, and one on AWS."""
    cloud = LocalCloud(tmp_path, "http://127.0.0.1:4566", "us-east-1", "000000000000", "key", "s3cr3t/+=", 1)
    patch("aws.target.for_running_cloud", targets.for_cloud(cloud, "lexline"))
    patch("aws.stack.read", lambda target: replace(stack, target=target, bucket="a bucket's"))
    patch("aws.http_api.HttpApi.api_key", "k3y")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text("[profile me]\nregion = eu-west-1\n")
    (tmp_path / "credentials").write_text("[me]\naws_access_key_id = a\naws_secret_access_key = b\n")


def evaluated(environment: Mapping[str, str], *arguments: str) -> dict[str, str]:
    """Return the environment of a shell after eval "$(lexline env ARGUMENTS)"."""
    result = run_lexline("env", *arguments)
    assert result.exit_code == 0, result.output
    script = 'eval "$1"; exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    shell = ["bash", "-euc", script, "bash", result.output, sys.executable]
    variables: dict[str, str] = json.loads(
        subprocess.run(shell, env=environment, capture_output=True, text=True, check=True).stdout
    )
    return variables


def test_a_shell_works_on_the_local_cloud_and_then_on_aws() -> None:
    before = {"AWS_PROFILE": "other", "AWS_SESSION_TOKEN": "old", "PATH": os.environ["PATH"]}
    local = evaluated(before)
    assert local["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert (local["AWS_ACCESS_KEY_ID"], local["AWS_SECRET_ACCESS_KEY"]) == ("key", "s3cr3t/+=")
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set(local)
    assert (local["BUCKET"], local["API_KEY"]) == ("a bucket's", "k3y")
    assert set(local) >= NAMES

    on_aws = evaluated(local, "--profile", "me")
    regions = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert {name: on_aws[name] for name in ACCESS if name in on_aws} == {"AWS_PROFILE": "me", **regions}
    assert set(on_aws) >= {*NAMES, "API_KEY"}


def test_the_other_formats_have_the_same_variables() -> None:
    shell = {
        line.removeprefix("export ")
        for line in run_lexline("env").output.splitlines()
        if line.startswith("export ")
    }
    assert set(run_lexline("env", "--format", "dotenv").output.splitlines()) == shell
    variables = json.loads(run_lexline("env", "--format", "json").output)
    documented = {
        name for row in rows("operating.md", "variable") for name in re.findall(r"`(\w+)`", row["variable"])
    }
    assert set(variables) - SWITCHES == documented
    assert variables["BUCKET"] == "a bucket's"
    assert len(variables) == len(shell)


def test_a_stack_without_a_role_for_notebooks_names_none(stack: Stack, patch: Patch) -> None:
    patch("aws.stack.read", lambda target: replace(stack, target=target, notebook_role_arn=""))
    assert "NOTEBOOK_ROLE_ARN" not in evaluated({"NOTEBOOK_ROLE_ARN": "of another stack"})


def test_a_stack_whose_callers_sign_their_requests_has_no_key(stack: Stack, patch: Patch) -> None:
    patch("aws.stack.read", lambda target: replace(stack, target=target, api_key_id=""))
    assert "API_KEY" not in evaluated({"API_KEY": "of another stack"})
    assert "API_KEY" not in json.loads(run_lexline("env", "--format", "json").output)
