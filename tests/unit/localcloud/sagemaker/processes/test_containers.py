"""Every training host has an /opt/ml of its own, as in a container, and a ContainerEntrypoint runs in it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.processes import container
from localcloud.sagemaker.processes.failure_reasons import LIMIT, container_error
from tests.unit.localcloud.sagemaker.processes.conftest import Run
from tests.unit.localcloud.sagemaker.processes.helpers import REGISTRY, DirectoryStore, wait_for

needs_namespaces = pytest.mark.skipif(
    container.refusal() is not None, reason="the kernel gives no process a mount namespace of its own"
)


def entry(script: str, *arguments: str, **changes: Any) -> dict[str, Any]:
    """Changes of a request: the job runs a bash script, and its channels and hyperparameters are v3's."""
    algorithm = {
        "TrainingImage": f"{REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", script, *arguments],
    }
    return {
        "AlgorithmSpecification": algorithm,
        "HyperParameters": {"tied": "true", "dropout": "0.2"},
        **changes,
    }


@needs_namespaces
def test_an_entry_point_sees_its_arguments_the_config_and_the_data_below_opt_ml(run: Run) -> None:
    witness = run.finished(
        "",
        **entry(
            'echo "argument $1"; cat /opt/ml/input/config/hyperparameters.json; echo; pwd;'
            ' cat /opt/ml/input/data/training/train; echo "job $TRAINING_JOB_NAME"; command -v python3 pip',
            "name",
            "first",
        ),
    )
    assert witness.outcome.status == "Completed", witness.reason
    assert {
        "argument first",
        '{"tied": "true", "dropout": "0.2"}',
        "/opt/ml",
        "a corpus",
        "job job",
        f"{Path(sys.executable).parent}/python3",
        f"{Path(sys.executable).parent}/pip",
    } <= set(witness.lines)


@needs_namespaces
def test_two_jobs_at_once_each_have_their_own_opt_ml(
    run: Run, tmp_path: Path, objects: DirectoryStore
) -> None:
    script = (
        "echo $0 > /opt/ml/model/mine; echo ready;"
        " while [ ! -e /opt/ml/input/data/training/go ]; do sleep 0.05; done;"
        f" ls /opt/ml/model; ls -A {tmp_path}/jobs; cat /opt/ml/model/mine"
    )
    jobs = {name: run("", name=name, **entry(script, name))[1] for name in ("one", "two")}
    for name, witness in jobs.items():
        wait_for(lambda lines=witness.lines: "ready" in lines, f"job {name} to write its file")  # type: ignore[misc]
    for name in jobs:
        (tmp_path / "jobs" / name / "algo-1/input/data/training/go").touch()
    for name, witness in jobs.items():
        witness.wait()
        # The folder of all jobs is empty for each of them.
        assert witness.lines == ["ready", "mine", name], witness.reason
    assert not Path("/opt/ml").exists()


@needs_namespaces
def test_the_toolkits_scripts_may_use_opt_ml_too(run: Run, objects: DirectoryStore) -> None:
    witness = run.finished(
        "import os\n"
        "text = open('/opt/ml/input/data/training/train').read().strip()\n"
        "print(text + ' ' + os.environ['SM_MODEL_DIR'])\n"
        "open('/opt/ml/model/weights', 'w').write('x')"
    )
    assert "a corpus /opt/ml/model" in witness.lines
    assert witness.outcome.model_artifacts_uri == "s3://bucket/runs/job/output/model.tar.gz"


@needs_namespaces
def test_what_a_job_installs_is_its_own(run: Run, tmp_path: Path) -> None:
    module = Path(sys.prefix) / "installed_by_a_job.py"
    witness = run.finished("", **entry(f"echo installed > {module}; cat {module}"))
    assert witness.lines == ["installed"], witness.reason
    assert not module.exists()


@needs_namespaces
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no cheese > /opt/ml/output/failure; exit 3", "AlgorithmError: no cheese, exit code: 3"),
        (
            "echo the last line; exit 4",
            "AlgorithmError: the container wrote no /opt/ml/output/failure. The end of its log: the last"
            " line, exit code: 4",
        ),
        ("kill -9 $$", "killed by signal 9 (SIGKILL)"),
    ],
)
def test_a_failed_entry_point_fails_the_job_with_its_own_report(run: Run, script: str, reason: str) -> None:
    witness = run.finished("", **entry(script))
    assert witness.outcome.status == "Failed"
    assert reason in witness.reason


def test_a_long_report_is_cut_at_its_end_as_on_aws() -> None:
    reason = container_error("cheese " * 1000, 1, [])
    assert len(reason) == LIMIT
    assert reason.startswith("AlgorithmError: cheese cheese")
    assert reason.endswith(", exit code: 1")


@needs_namespaces
def test_a_program_that_does_not_exist_is_named(run: Run) -> None:
    changes = entry("")
    changes["AlgorithmSpecification"]["ContainerEntrypoint"] = ["/opt/ml/nothing"]
    witness = run.finished("", **changes)
    assert "/opt/ml/nothing: No such file or directory, exit code: 127" in witness.reason


def test_arguments_need_an_entry_point(run: Run) -> None:
    changes = entry("")
    del changes["AlgorithmSpecification"]["ContainerEntrypoint"]
    assert "ContainerArguments without ContainerEntrypoint" in run.finished("", **changes).reason


def test_a_kernel_without_namespaces_runs_the_toolkit_and_refuses_entry_points_with_the_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "refusal", lambda: "unshare(CLONE_NEWUSER): Operation not permitted")
    witness = run.finished("import os\nprint(os.environ['SM_MODEL_DIR'])")
    assert witness.outcome.status == "Completed", witness.reason
    assert f"{run.directory}/jobs/job/algo-1/model" in witness.lines
    refused = run.finished("", name="second", **entry("true"))
    assert "unshare(CLONE_NEWUSER): Operation not permitted" in refused.reason
    assert "Allow user namespaces" in refused.reason


@needs_namespaces
def test_folders_that_nobody_may_read_are_removed(tmp_path: Path) -> None:
    (tmp_path / "job" / "closed" / "deep").mkdir(parents=True)
    (tmp_path / "job" / "closed").chmod(0)
    container.remove(tmp_path / "job")
    assert not (tmp_path / "job").exists()
