"""What a job trains on, for people: the device, and the most memory that a process used."""

import resource
from pathlib import Path
from typing import Any

import torch

import distributed

CPU_INFO = Path("/proc/cpuinfo")


def describe(device: torch.device) -> dict[str, Any]:
    """Return the entry `machine` of metrics.json.

    `memory` is the peak of this process's memory in bytes, and `gpu_memory` of that which torch took of its
    GPU; None without a GPU. `processes` train together, each on a device like this one.
    """
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else _cpu(),
        "processes": distributed.world_size(),
        # Linux counts in KiB (getrusage(2)).
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "gpu_memory": torch.cuda.max_memory_reserved(device) if on_gpu else None,
    }


def _cpu() -> str:
    threads = torch.get_num_threads()
    return f"{_cpu_model()}, {threads} thread{'s' * (threads != 1)}"


def _cpu_model() -> str:
    """Return the processor's name; Linux does not tell it on every architecture."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"
