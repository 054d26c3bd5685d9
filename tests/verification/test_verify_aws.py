"""`make verify-aws` against a local cloud in AWS's place."""

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from localcloud import control
from tests.stack import PROJECT, running
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def verify(*options: str, **environment: str) -> subprocess.Popen[str]:
    """Start the script in a session of its own, so that its children can be interrupted with it."""
    return subprocess.Popen(
        [sys.executable, "scripts/verify_aws.py", "--profile", "there", *options],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_killed_script_leaves_no_local_cloud(tmp_path: Path) -> None:
    with verify(TMPDIR=str(tmp_path)) as script:
        try:
            cloud = wait_until(
                lambda: next(filter(None, map(control.load, tmp_path.glob("lexline-verify-*/home"))), None),
                "the local cloud to start",
            )
        finally:
            os.killpg(script.pid, signal.SIGKILL)
    server = psutil.Process(cloud.pid) if psutil.pid_exists(cloud.pid) else None
    wait_until(lambda: server is None or not control.alive(server), "the local cloud to end")


@pytest.mark.timeout(3600)
def test_two_local_clouds_agree_and_nothing_is_left(tmp_path: Path) -> None:
    config, output = tmp_path / "config", tmp_path / "seen" / "verification.json"
    with running(tmp_path / "cloud", os.environ) as cloud:
        config.write_text(
            f"[profile there]\nregion = {cloud.region}\nendpoint_url = {cloud.endpoint_url}\n"
            f"aws_access_key_id = {cloud.access_key_id}\naws_secret_access_key = {cloud.secret_access_key}\n"
        )
        wheels = f"{sys.version_info.major}.{sys.version_info.minor}-{platform.machine()}"
        options = ["--output", str(output), "--parameter", "WatchSeconds=0"]
        environment = {"AWS_CONFIG_FILE": str(config), "LAYER_TARGETS": wheels, "TMPDIR": str(tmp_path)}
        with verify(*options, **environment) as script:
            try:
                printed, _ = script.communicate()
            except KeyboardInterrupt:
                # As Ctrl-C in a terminal does. The script then deletes what it has created.
                os.killpg(script.pid, signal.SIGINT)
                script.communicate()
                raise
        assert script.returncode == 0, printed
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
