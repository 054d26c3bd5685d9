"""What a job trains on."""

from pathlib import Path

import pytest
import torch

import machine
from tests.unit.model_scripts.conftest import Job, Patch


def test_the_metrics_name_the_processor_and_the_memory(trained: Job) -> None:
    found = trained.metrics()["machine"]
    assert set(found) == {"device", "precision", "processes", "memory", "gpu_memory"}
    assert found["device"].endswith((" thread", " threads"))
    assert (found["processes"], found["gpu_memory"]) == (1, None)
    # A process that has imported torch takes more than this.
    assert found["memory"] > 50e6


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("processor\t: 0\nmodel name\t: Neoverse-V1\nprocessor\t: 1\nmodel name\t: other\n", "Neoverse-V1"),
        ("processor\t: 0\n", "CPU"),
        (None, "CPU"),
    ],
)
def test_a_processor_without_a_name_is_a_cpu(
    tmp_path: Path, monkeypatch: Patch, content: str | None, name: str
) -> None:
    path = tmp_path / "cpuinfo"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(machine, "CPU_INFO", path)
    threads = torch.get_num_threads()
    expected = f"{name}, {threads} thread{'s' * (threads != 1)}"
    assert machine.describe(torch.device("cpu"))["device"] == expected
