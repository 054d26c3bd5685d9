"""Container images by their URIs, and the runners that stand for them."""

import re
from typing import Any

import pytest

from localcloud.sagemaker.processes.images import (
    ImageNotFound,
    Runner,
    hosting_runner,
    training_runner,
    unfit,
)

ECR = "763104351884.dkr.ecr.eu-central-1.amazonaws.com"
NOT_FOUND = "Either the image does not exist or its permissions are incorrect"


@pytest.mark.parametrize("image", ["pytorch:2.13-cpu-amzn2023-sagemaker", "pytorch-training:2.6.0-cpu-py312"])
def test_pytorch_training_images_run_the_training_toolkit(image: str) -> None:
    assert training_runner(f"{ECR}/{image}") is Runner.TRAINING_TOOLKIT


@pytest.mark.parametrize(
    ("image", "runner"),
    [
        ("pytorch-inference:2.6.0-cpu-py312", Runner.INFERENCE_HANDLER),
        ("ray:serve-ml-sagemaker-cpu-v1", Runner.RAY_SERVE),
        ("ray:serve-ml-sagemaker-cuda-v1.3", Runner.RAY_SERVE),
    ],
)
def test_inference_images_run_awss_handler_or_ray_serve(image: str, runner: Runner) -> None:
    assert hosting_runner(f"{ECR}/{image}") is runner


@pytest.mark.parametrize(
    "image",
    [
        f"{ECR}/xgboost:1.7-1",
        "pytorch:latest",
        "docker.io/library/pytorch",
        f"{ECR}/ray:serve-llm-cpu-v1",
        f"{ECR}/ray",
        f"{ECR}/ray-train:serve-ml-sagemaker-cpu-v1",
    ],
)
def test_other_images_cannot_be_pulled(image: str) -> None:
    for runner in (training_runner, hosting_runner):
        with pytest.raises(ImageNotFound, match=NOT_FOUND):
            runner(image)


def on(instance_type: str, **members: str) -> dict[str, Any]:
    """A variant with instances."""
    return {"VariantName": "AllTraffic", "InstanceType": instance_type, "InitialInstanceCount": 1, **members}


CUDA, CPU = "ray:serve-ml-sagemaker-cuda-v1", "ray:serve-ml-sagemaker-cpu-v1"
SERVERLESS = {"VariantName": "AllTraffic", "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}


@pytest.mark.parametrize(
    ("image", "variant", "reason"),
    [
        (CUDA, on("ml.g5.xlarge"), "CannotStartContainerError.*the host has CUDA 11: .*InferenceAmiVersion"),
        (CUDA, on("ml.g5.xlarge", InferenceAmiVersion="al2-ami-sagemaker-inference-gpu-3-1"), None),
        (CUDA, on("ml.m5.large"), None),
        (CPU, on("ml.g5.xlarge"), None),
        ("pytorch-inference:2.6.0-gpu-py312", on("ml.g5.xlarge"), None),
        (CUDA, SERVERLESS, "Image size .* is greater than supported size 10737418240"),
        ("pytorch-inference:2.6.0-gpu-py312", SERVERLESS, "Image size"),
        ("pytorch-inference:2.6.0-cpu-py312", SERVERLESS, None),
        (CPU, SERVERLESS, None),
    ],
)
def test_an_image_starts_only_where_its_drivers_and_its_size_fit(
    image: str, variant: dict[str, Any], reason: str | None
) -> None:
    refused = unfit(f"{ECR}/{image}", variant)
    assert (refused is None) if reason is None else re.match(reason, refused or "")
