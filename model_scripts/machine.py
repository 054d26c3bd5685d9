"""The machine that a job trains on: its device, how precisely that computes, and its description for people.

GPUs of compute capability 8.0 and above train in TF32: the products of matrices have FP32's range and 10 bits
after the point. Models are evaluated in FP32 on every device.

    NVIDIA, Accelerating AI training with NVIDIA TF32 tensor cores, 2021
"""

import contextlib
import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import distributed
from user_error import UserError

CPU_INFO = Path("/proc/cpuinfo")

FIRST_WITH_TF32 = (8, 0)
"""Compute capability of the first GPUs with TF32."""


def check_gpus(environment: Mapping[str, str]) -> None:
    """Raise UserError if the instance has GPUs that cannot be used: processors would train at a GPU's price.

    Args:
        environment: SM_NUM_GPUS says how many GPUs the instance has, by SageMaker's training toolkit.
    """
    expected = int(environment.get("SM_NUM_GPUS") or 0)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    problem = f"PyTorch {torch.__version__} can use {found} of them" if found < expected else None
    if found and not problem:
        try:
            torch.ones(1, device=distributed.device()).add(1).item()
        except RuntimeError as error:  # for example a GPU for which this PyTorch was not built
            cause, _, _ = str(error).partition("\n")
            problem = f"PyTorch {torch.__version__} cannot compute on them ({cause})"
    if problem:
        raise UserError(
            f"The instance has GPUs ({max(expected, found)}), but {problem}. Use AWS's training image for "
            "GPUs with an instance type that it supports, or set training.instance_type to one without GPUs, "
            "such as ml.m5.xlarge."
        )


def prepare(seed: int) -> torch.device:
    """Seed the initial weights, choose the precision of training, and return this rank's device.

    The same seed on the same machine trains the same model.
    """
    torch.manual_seed(seed)
    device = distributed.device()
    if device.type == "cuda":
        # cuBLAS is deterministic only with a workspace of fixed size (PyTorch's notes on randomness).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # That also fills each new tensor, which takes time; nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    return device


def precision(device: torch.device) -> str:
    """Return the name of the format in which matrices are multiplied in training, after `prepare`."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= FIRST_WITH_TF32:
        return "TF32"
    return "FP32"


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Multiply matrices in FP32 inside this context, in cuDNN's LSTM too, which uses TF32 by default."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


def describe(device: torch.device) -> dict[str, Any]:
    """Return the entry `machine` of metrics.json.

    `precision` is that of training. `memory` is the peak of this process's memory in bytes, and `gpu_memory`
    of that which torch took of its GPU; None without a GPU. `processes` train together, each on a device like
    this one.
    """
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else _cpu(),
        "precision": precision(device),
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
