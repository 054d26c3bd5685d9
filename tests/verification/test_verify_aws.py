"""`make verify-aws` against a local cloud in AWS's place."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import PROJECT, running

pytestmark = pytest.mark.slow


@pytest.mark.timeout(3600)
def test_two_local_clouds_agree_and_nothing_is_left(tmp_path: Path) -> None:
    config, output = tmp_path / "config", tmp_path / "seen" / "verification.json"
    with running(tmp_path / "cloud", os.environ) as cloud:
        config.write_text(
            f"[profile there]\nregion = {cloud.region}\nendpoint_url = {cloud.endpoint_url}\n"
            f"aws_access_key_id = {cloud.access_key_id}\naws_secret_access_key = {cloud.secret_access_key}\n"
        )
        wheels = f"{sys.version_info.major}.{sys.version_info.minor}-{platform.machine()}"
        done = subprocess.run(
            [
                sys.executable,
                "scripts/verify_aws.py",
                "--profile",
                "there",
                "--output",
                str(output),
                "--parameter",
                "WatchSeconds=0",
            ],
            cwd=PROJECT,
            env={**os.environ, "AWS_CONFIG_FILE": str(config), "LAYER_TARGETS": wheels},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
        assert not [each["StackName"] for each in stacks if each["StackName"].startswith("verify-")]
    seen = json.loads(output.read_text())
    outcomes = {name: each["value"] for name, each in seen["aws"].items() if name.endswith(": execution")}
    assert outcomes == {
        "first model: execution": ["SUCCEEDED", "Succeeded"],
        "rejected model: execution": ["SUCCEEDED", "Rejected"],
        "second model: execution": ["SUCCEEDED", "Succeeded"],
        "rollback: execution": ["SUCCEEDED", "Succeeded"],
    }
    assert seen["aws"]["left after the deletion"]["value"] == []
