"""The runner for each container image.

The local cloud has no container engine. An image's repository decides which of AWS's toolkits, installed in
this environment, does the image's work. Account and region are ignored, so a template's URI for any region
works here. The tag is ignored, too, except in the repository `ray`, which holds several kinds of images.
"""

import re
from collections.abc import Mapping
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

_IMAGE = re.compile(
    r"^(?P<account>\d{12})\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/(?P<repository>[a-z0-9._/-]+)"
    r"(:(?P<tag>[A-Za-z0-9._-]+))?(@sha256:[0-9a-f]{64})?$"
)


class Runner(Enum):
    """A substitute for a container."""

    TRAINING_TOOLKIT = "sagemaker-training with sagemaker-pytorch-training"
    INFERENCE_HANDLER = "sagemaker-inference with sagemaker-pytorch-inference"
    RAY_SERVE = "ray[serve]"


class ImageNotFound(Exception):
    """No runner exists for the image; the message is the failure reason to show."""


def training_runner(image: str) -> Runner:
    """Return the runner of a training image; raise ImageNotFound if there is none."""
    return _runner(image, _TRAINING, "Cannot pull algorithm container.")


def hosting_runner(image: str) -> Runner:
    """Return the runner of an inference image; raise ImageNotFound if there is none."""
    return _runner(image, _HOSTING, "Cannot pull the inference container.")


_TRAINING = {
    "pytorch": Runner.TRAINING_TOOLKIT,
    "pytorch-training": Runner.TRAINING_TOOLKIT,
}
_HOSTING = {
    "pytorch-inference": Runner.INFERENCE_HANDLER,
    "ray:serve-ml-sagemaker-*": Runner.RAY_SERVE,
}
"""Keys are repositories, or patterns of repository and tag."""

_CUDA_OF_AMI = {
    "al2-ami-sagemaker-inference-gpu-2": 12,
    "al2-ami-sagemaker-inference-gpu-2-1": 12,
    "al2-ami-sagemaker-inference-gpu-3-1": 12,
    "al2023-ami-sagemaker-inference-gpu-4-1": 13,
}
"""The CUDA version of each InferenceAmiVersion, from ProductionVariant in the API reference."""
_DEFAULT_CUDA = 11
"""CUDA without an InferenceAmiVersion: too old for Ray's image (docs/ray/deployment/sagemaker.md in
https://github.com/aws/deep-learning-containers)."""
_CUDA_OF_IMAGE = {"ray:serve-ml-sagemaker-cuda-*": 12}
_LARGEST_SERVERLESS = 10 * 2**30
_SIZES = {"*gpu*": 13_494_688_833, "*cuda*": 13_494_688_833}
"""Bytes of images that exceed serverless inference's limit. AWS publishes no sizes. The number is that of
pytorch-inference:2.0.0-gpu-py310, for which serverless inference gave this FailureReason
(https://github.com/aws/deep-learning-containers/issues/4616). Other GPU images have CUDA in them, too."""


def unfit(image: str, variant: Mapping[str, Any]) -> str | None:
    """Return the FailureReason of a variant on which the image cannot start; None if it can."""
    name = image.rpartition("/")[2]
    if "ServerlessConfig" in variant:
        size = _first(_SIZES, name, 0)
        return f"Image size {size} is greater than supported size {_LARGEST_SERVERLESS}" if size else None
    # The accelerated families are g (ml.g5.xlarge) and p (ml.p4d.24xlarge).
    has_gpu = variant["InstanceType"].removeprefix("ml.")[:1] in ("g", "p")
    needed = _first(_CUDA_OF_IMAGE, name, 0)
    found = _CUDA_OF_AMI.get(variant.get("InferenceAmiVersion", ""), _DEFAULT_CUDA)
    if has_gpu and needed > found:
        return (
            "CannotStartContainerError. Please ensure the model container for variant"
            f" {variant['VariantName']} starts correctly when invoked with 'docker run {image} serve'. (The"
            f" image needs CUDA {needed}, and the host has CUDA {found}: give the variant an"
            " InferenceAmiVersion with newer drivers.)"
        )
    return None


def _first(table: Mapping[str, int], name: str, default: int) -> int:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), default)


def _runner(image: str, known: dict[str, Runner], refusal: str) -> Runner:
    match = _IMAGE.match(image)
    if match:
        repository, tag = match["repository"], match["tag"] or "latest"
        for pattern, runner in known.items():
            if fnmatchcase(f"{repository}:{tag}", pattern if ":" in pattern else f"{pattern}:*"):
                return runner
    raise ImageNotFound(
        f"{refusal} Either the image does not exist or its permissions are incorrect: {image}"
        f" (the local cloud runs the repositories {', '.join(known)})."
    )
