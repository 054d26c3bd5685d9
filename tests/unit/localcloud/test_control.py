"""Finding, starting and stopping the local cloud when things are not as they should be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud import control


def write(state: Path, **more: Any) -> None:
    """A state directory as a server with this process's identity would write it."""
    state.mkdir(exist_ok=True)
    identity = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    connection = {"port": 41234, "access_key_id": "AKIAEXAMPLE", "secret_access_key": "secret"}
    (state / "server.json").write_text(json.dumps({**identity, **connection, **more}))
    (state / "lock").write_text(json.dumps({**identity, **more}))


def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_load_finds_the_server_that_runs(tmp_path: Path) -> None:
    write(tmp_path)
    cloud = control.load(tmp_path)
    assert cloud is not None
    assert cloud.endpoint_url == "http://127.0.0.1:41234"
    assert cloud.pid == os.getpid()


def test_load_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    assert control.load(tmp_path / "nowhere") is None


def test_load_finds_nothing_when_the_server_has_died(tmp_path: Path) -> None:
    write(tmp_path, pid=dead())
    assert control.load(tmp_path) is None


def test_load_is_not_taken_in_by_another_process_of_the_same_id(tmp_path: Path) -> None:
    write(tmp_path, created=psutil.Process().create_time() - 3600)
    assert control.load(tmp_path) is None


def test_load_is_not_taken_in_by_a_half_written_file(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"pid": 1')
    assert control.load(tmp_path) is None


def test_stop_removes_what_a_dead_server_has_left(tmp_path: Path) -> None:
    state = tmp_path / "state"
    write(state, pid=dead())
    control.stop(state)
    assert not state.exists()


def test_stop_leaves_a_directory_alone_that_is_not_a_local_clouds(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    control.stop(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_start_takes_no_directory_that_holds_something_of_somebody_elses(tmp_path: Path) -> None:
    # As LEXLINE_HOME=~ would give it: tmp/ is also the name of one of a local cloud's own folders.
    precious = tmp_path / "tmp" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(control.LocalCloudError, match="is not a local cloud's directory: it holds tmp"):
        control.start(tmp_path)
    control.stop(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [precious]


def test_the_server_itself_takes_none_either(tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    command = [sys.executable, "-m", "localcloud", "--state-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=control._PACKAGE_ROOT)
    assert ended.returncode == 1
    assert "it holds s3" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["s3"]


@pytest.mark.parametrize("lock", ["", "not JSON", '{"owner": "somebody"}', "[]"])
def test_a_lock_that_somebody_else_wrote_does_not_make_it_a_local_clouds(tmp_path: Path, lock: str) -> None:
    (tmp_path / "lock").write_text(lock)
    with pytest.raises(control.LocalCloudError, match="it holds lock"):
        control.claim(tmp_path)
    control.stop(tmp_path)
    assert (tmp_path / "lock").read_text() == lock


def test_a_claimed_directory_that_no_server_has_used_yet_can_be_claimed_again_and_removed(
    tmp_path: Path,
) -> None:
    (tmp_path / "builds").mkdir()
    control.claim(tmp_path, beside=("builds",))
    control.claim(tmp_path)
    control.stop(tmp_path)
    assert not tmp_path.exists()


def test_start_says_why_the_server_did_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "localcloud"
    failing.mkdir()
    (failing / "__main__.py").write_text("raise SystemExit('the disk is full')")
    monkeypatch.setattr(control, "_PACKAGE_ROOT", tmp_path)
    with pytest.raises(control.LocalCloudError, match="code 1 while starting\n  the disk is full"):
        control.start(tmp_path / "state")


def test_start_runs_another_server_with_the_same_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "another.py").write_text("import sys\nraise SystemExit(' '.join(sys.argv[1:]))")
    monkeypatch.setattr(control, "_PACKAGE_ROOT", tmp_path)
    state = tmp_path / "state"
    with pytest.raises(control.LocalCloudError, match=f"--state-dir {state} --owner 7$"):
        control.start(state, owner=7, module="another")


def test_start_gives_up_on_a_server_that_is_never_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "localcloud"
    stuck.mkdir()
    (stuck / "__main__.py").write_text(
        "import os, sys, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(300)"
    )
    monkeypatch.setattr(control, "_PACKAGE_ROOT", tmp_path)
    with pytest.raises(control.LocalCloudError, match="not ready within 1 s\n  pid") as failure:
        control.start(tmp_path / "state", timeout=1)
    assert not psutil.pid_exists(int(str(failure.value).rsplit(" ", 1)[1]))


def test_the_environment_names_this_cloud_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.example")
    write(tmp_path)
    cloud = control.load(tmp_path)
    assert cloud is not None
    environment = cloud.environment()
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


def test_a_client_is_the_clouds_whatever_profile_the_user_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    write(tmp_path)
    cloud = control.load(tmp_path)
    assert cloud is not None
    client = cloud.client("sagemaker")
    assert client.meta.endpoint_url == "http://127.0.0.1:41234"
    assert client.meta.region_name == "us-east-1"
