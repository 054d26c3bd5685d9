"""Finding, starting and stopping the local cloud when something is wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud import control
from localcloud.proxies import past_proxies


def write(state: Path, **more: Any) -> None:
    """Write the files of a server with this process's identity."""
    state.mkdir(exist_ok=True)
    identity = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    place = {"endpoint_url": "http://127.0.0.1:41234", "region": "us-east-1", "account": "000000000000"}
    keys = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "secret"}
    (state / "server.json").write_text(json.dumps({**identity, **place, **keys, **more}))
    (state / "lock").write_text(json.dumps({**identity, **more}))


def ended_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def load(state: Path) -> control.LocalCloud:
    cloud = control.load(state)
    assert cloud is not None
    return cloud


# --- finding ---


def test_load_finds_a_running_server(tmp_path: Path) -> None:
    write(tmp_path)
    cloud = load(tmp_path)
    assert cloud.endpoint_url == "http://127.0.0.1:41234"
    assert cloud.pid == os.getpid()


def test_load_finds_nothing_without_a_running_server(tmp_path: Path) -> None:
    assert control.load(tmp_path / "nowhere") is None
    (tmp_path / "server.json").write_text('{"pid": 1')
    assert control.load(tmp_path) is None
    write(tmp_path, pid=ended_process())
    assert control.load(tmp_path) is None
    # Another process has the id of the server.
    write(tmp_path, created=psutil.Process().create_time() - 3600)
    assert control.load(tmp_path) is None


# --- directories ---


def test_stop_removes_the_files_of_a_dead_server(tmp_path: Path) -> None:
    state = tmp_path / "state"
    write(state, pid=ended_process())
    control.stop(state)
    assert not state.exists()


def test_a_directory_with_other_files_is_neither_used_nor_removed(tmp_path: Path) -> None:
    # For example LEXLINE_HOME=~: the local cloud has a folder tmp/ as well.
    precious = tmp_path / "tmp" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(control.OtherFiles, match="is not a local cloud's folder: it holds tmp"):
        control.start(tmp_path)
    control.stop(tmp_path)
    command = [sys.executable, "-m", "localcloud", "--state-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=control._PACKAGE_ROOT)
    assert ended.returncode == 1
    assert "it holds tmp" in ended.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [precious]


@pytest.mark.parametrize("lock", ["", "not JSON", '{"owner": "somebody"}', "[]"])
def test_a_lock_of_another_program_does_not_mark_a_directory(tmp_path: Path, lock: str) -> None:
    (tmp_path / "lock").write_text(lock)
    with pytest.raises(control.LocalCloudError, match="it holds lock"):
        control.claim(tmp_path)
    control.stop(tmp_path)
    assert (tmp_path / "lock").read_text() == lock


def test_a_marked_directory_can_be_marked_again_and_removed(tmp_path: Path) -> None:
    (tmp_path / "builds").mkdir()
    control.claim(tmp_path, beside=("builds",))
    control.claim(tmp_path)
    control.stop(tmp_path)
    assert not tmp_path.exists()


# --- starting ---


def program(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `start` run this program."""
    (folder / "program.py").write_text(source)
    monkeypatch.setattr(control, "_PACKAGE_ROOT", folder)


def test_a_failed_start_shows_the_servers_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    program(tmp_path, "import sys\nraise SystemExit(' '.join(sys.argv[1:]))", monkeypatch)
    output = re.escape(f"code 1 while starting\n  --state-dir {state} --owner 7")
    with pytest.raises(control.LocalCloudError, match=f"{output}$"):
        control.start(state, owner=7, module="program")


@pytest.mark.parametrize("how", ["not ready in time", "Ctrl-C"])
def test_start_ends_a_server_that_it_does_not_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    started: list[psutil.Process] = []

    def interrupt(state: Path) -> None:
        if started and how == "Ctrl-C":
            raise KeyboardInterrupt

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(psutil.Process(self.pid))

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(control, "load", interrupt)
    program(tmp_path, "import time; time.sleep(3600)", monkeypatch)
    ends = {"Ctrl-C": (KeyboardInterrupt, None)}.get(how, (control.LocalCloudError, "not ready within 1 s"))
    with pytest.raises(ends[0], match=ends[1]):
        control.start(tmp_path / "state", timeout=1, module="program")
    assert [control.alive(process) for process in started] == [False]


# --- clients ---


def test_the_environment_names_this_cloud_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.example")
    write(tmp_path)
    environment = load(tmp_path).environment()
    assert {name: value for name, value in environment.items() if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:41234",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }
    assert environment["PATH"] == os.environ["PATH"]


def test_a_client_uses_the_cloud_with_any_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    write(tmp_path)
    client = load(tmp_path).client("sagemaker")
    assert client.meta.endpoint_url == "http://127.0.0.1:41234"
    assert client.meta.region_name == "us-east-1"


# --- proxies ---

LOOPBACK = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, LOOPBACK),
        ({"no_proxy": ""}, LOOPBACK),
        ({"NO_PROXY": "example.com, 10.0.0.0/8"}, f"example.com,10.0.0.0/8,{LOOPBACK}"),
        ({"no_proxy": "lower.com", "NO_PROXY": "upper.com"}, f"lower.com,{LOOPBACK}"),
        ({"no_proxy": "localhost"}, "localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_this_machine_is_reached_past_proxies(given: dict[str, str], expected: str) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9"}
    changed = past_proxies({**proxy, **given})
    assert changed == {**proxy, "no_proxy": expected, "NO_PROXY": expected}
    assert past_proxies(changed) == changed


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_neither_a_client_nor_a_child_process_reaches_the_cloud_through_a_proxy(
    tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    cloud = load(tmp_path)
    assert cloud.client("s3").meta.config.proxies == {}
    read = "import sys; from botocore.utils import get_environ_proxies as read; print(read(sys.argv[1]))"
    for environment, proxies in ((dict(os.environ), "127.0.0.1:9"), (cloud.environment(), "{}")):
        done = subprocess.run(
            [sys.executable, "-c", read, cloud.endpoint_url],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert proxies in done.stdout
