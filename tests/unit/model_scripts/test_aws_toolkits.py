"""train.py under AWS's own training toolkit, and its artifact under AWS's own inference handler.

Each runs in a process of its own, as in the containers.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import psutil
import pytest

from tests.unit.model_scripts.conftest import SCRIPTS, Job, wait_for

BIN = Path(sys.executable).parent


def start_training_toolkit(
    base: Path, channel: Path, hyperparameters: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Make a training container's /opt/ml at `base` and start the container's entry point."""
    config = base / "input" / "config"
    for folder in (
        config,
        *(base / name for name in ("input/data", "model", "output/data", "home", "tmp", "checkpoints")),
    ):
        folder.mkdir(parents=True)
    (base / "input" / "data" / "training").symlink_to(channel)
    with tarfile.open(base / "sourcedir.tar.gz", "w:gz") as archive:
        for path in (*SCRIPTS.glob("*.py"), SCRIPTS / "config.yaml"):
            archive.add(path, path.name)
    toolkits = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": str(base / "sourcedir.tar.gz"),
        "sagemaker_container_log_level": "20",
        "sagemaker_region": "us-east-1",
        "sagemaker_job_name": "job",
    }
    group = {"instance_group_name": "all", "instance_type": "ml.m5.xlarge", "hosts": ["algo-1"]}
    resources = {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "network_interface_name": "lo",
        "current_instance_group": "all",
        "instance_groups": [group],
    }
    (config / "hyperparameters.json").write_text(json.dumps({**toolkits, **hyperparameters}))
    (config / "inputdataconfig.json").write_text(json.dumps({"training": {"TrainingInputMode": "File"}}))
    (config / "resourceconfig.json").write_text(json.dumps(resources))
    return subprocess.Popen(
        [BIN / "train"],
        cwd=base,
        env={
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(base / "home"),
            "TMPDIR": str(base / "tmp"),
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
            "SM_STUDIO_LOCAL_MODE": "true",
            "TRAINING_JOB_NAME": "job",
            "AWS_REGION": "us-east-1",
            "OMP_NUM_THREADS": "1",
        },
        stdout=(base / "log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def jobs(trained: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """The /opt/ml and exit code of a job that succeeds, one with a mistake, and one that is stopped."""
    settings = {"epochs": "1", "emsize": "8", "nhid": "16", "batch_size": "10", "tied": "false", "lr": "0.01"}
    wanted = {
        "sound": (trained.channel, settings),
        "mistaken": (trained.channel, {"recipe": "fast", "lr": "20"}),
        "stopped": (trained.channel, {**settings, "epochs": "10000", "log_interval": "1"}),
    }
    bases = {name: tmp_path_factory.mktemp(name) / "ml" for name in wanted}
    running = {name: start_training_toolkit(bases[name], *job) for name, job in wanted.items()}
    log = bases["stopped"] / "log"
    wait_for(lambda: "epoch=2/10000 step=" in log.read_text())
    group = running["stopped"].pid
    os.killpg(group, signal.SIGTERM)
    codes = {name: process.wait() for name, process in running.items()}
    # The toolkit ends at once; the script outlives it by the time that saving takes.
    wait_for(lambda: has_ended(group))
    return {name: (bases[name], code) for name, code in codes.items()}


def has_ended(group: int) -> bool:
    """Return whether no process of the group is left, except zombies that nobody has reaped yet."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def test_aws_training_toolkit_runs_train(jobs: dict[str, tuple[Path, int]]) -> None:
    base, code = jobs["sound"]
    log = (base / "log").read_text()
    assert code == 0, log
    assert (base / "output" / "success").exists()
    assert any(line.startswith("test_loss=") for line in log.splitlines())
    assert (base / "model" / "model.pt").exists()
    assert (base / "output" / "data" / "training_curve.svg").exists()


def test_a_users_mistake_is_the_jobs_failure_reason_in_one_sentence(
    jobs: dict[str, tuple[Path, int]],
) -> None:
    base, code = jobs["mistaken"]
    assert code == 1
    assert (base / "output" / "failure").read_text() == (
        "lr must be at most 1 for recipe fast, whose optimiser is Adam, not 20: "
        "leave lr out, or choose recipe classic or awd."
    )
    assert not (base / "output" / "success").exists()


def test_a_stopped_job_leaves_a_checkpoint_and_its_best_model(jobs: dict[str, tuple[Path, int]]) -> None:
    base, _ = jobs["stopped"]
    assert (base / "checkpoints" / "checkpoint.pt").exists()
    assert (base / "model" / "model.pt").exists()
    assert not (base / "output" / "success").exists()


SERVE = """
import json, sys
from sagemaker_pytorch_serving_container.handler_service import HandlerService

class Context:
    system_properties = {"model_dir": sys.argv[1]}
    model_name = "model"
    status, content_type = 200, None
    def get_request_properties(self): return {"Content-Type": "application/json", "Accept": "*/*"}
    request_processor = property(lambda self: [self])
    def set_response_content_type(self, _, value): self.content_type = value
    def set_response_status(self, code, phrase): self.status = code

service, context = HandlerService(), Context()
service.initialize(context)
for body in sys.argv[2:]:
    answer = service.handle([{"body": body.encode()}], context)[0]
    print(json.dumps([context.status, context.content_type, answer]))
"""


@pytest.fixture(scope="module")
def served(trained: Job) -> list[tuple[int, str, str]]:
    """The responses of AWS's handler, which can import only the artifact's own code."""
    process = subprocess.run(
        [
            *(sys.executable, "-c", SERVE, str(trained.model)),
            *('{"seed": 3, "words": 9}', '{"seed": 3, "words": 9}', '{"words": 0}'),
        ],
        cwd="/",
        env={
            "PYTHONPATH": str(trained.model / "code"),
            "SAGEMAKER_PROGRAM": "generate.py",
            "LEXLINE_MODEL": "the-run",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in process.stdout.splitlines()]


def test_awss_handler_serves_the_artifact(served: list[tuple[int, str, str]]) -> None:
    status, content_type, body = served[0]
    answer = json.loads(body)
    assert (status, content_type) == (200, "application/json")
    assert (answer["seed"], answer["model"]) == (3, "the-run")
    assert answer["words"] == len(answer["text"].split())
    assert served[1] == served[0]


def test_awss_handler_returns_status_400(served: list[tuple[int, str, str]]) -> None:
    status, _, body = served[2]
    assert status == 400
    assert body.startswith("words must be a whole number from 1 to 1,000")
