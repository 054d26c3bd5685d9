"""The template's images are those that the SageMaker SDK names, and their script changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from tests.unit.template.conftest import PROJECT, Template, source, statements, variables_of

REGIONS = list(source()["Mappings"]["ImageAccounts"])


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script, which imports the SDK: that takes seconds, so only the process of these tests does it.

    For every image, the SDK reads half a megabyte of botocore's endpoints. The tests read it once.
    """
    from sagemaker.core import common_utils

    from scripts import write_image_mappings

    with mock.patch.object(common_utils, "_botocore_resolver", cache(common_utils._botocore_resolver)):
        yield write_image_mappings


@pytest.fixture
def copy(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template for the script to work on."""
    path = tmp_path / "template.yaml"
    path.write_text((PROJECT / "template.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(script, "TEMPLATE", path)
    monkeypatch.setattr("sys.argv", ["write_image_mappings.py"])
    return path


def test_every_region_with_the_default_images_can_be_deployed_to(script: ModuleType) -> None:
    assert set(REGIONS) == script.regions("training") == script.regions("ray")
    assert {"us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"} <= set(REGIONS)


def test_the_images_are_the_versions_that_are_documented() -> None:
    assert source()["Mappings"]["Images"] == {
        "training": {
            "Repository": "pytorch",
            "Cpu": "2.13-cpu-amzn2023-sagemaker",
            "Gpu": "2.13-cu133-amzn2023-sagemaker",
        },
        "ray": {
            "Repository": "ray",
            "Cpu": "serve-ml-sagemaker-cpu-v1.4",
        },
        "pytorch": {"Repository": "pytorch-inference", "Cpu": "2.6.0-cpu-py312"},
    }


@pytest.mark.parametrize("hosting", ["ray", "pytorch"])
def test_functions_and_roles_name_the_sdks_images_in_every_region(
    script: ModuleType, deployed_with: Callable[..., Template], hosting: str
) -> None:
    for region in REGIONS:
        if region not in script.regions(hosting):
            # CloudFormation refuses the deployment, too: the mapping has no account.
            with pytest.raises(KeyError, match=hosting):
                deployed_with(region=region, HostingImage=hosting)
            continue
        template = deployed_with(region=region, HostingImage=hosting)
        training = {
            "TRAINING_IMAGE_CPU": script.uri("training", region, "ml.c5.4xlarge"),
            "TRAINING_IMAGE_GPU": script.uri("training", region, "ml.p4d.24xlarge"),
        }
        serving = {
            "HOSTING_IMAGE": script.uri(hosting, region, "ml.t2.medium"),
            "SERVERLESS_IMAGE": variables_of(template, "CreateModelFunction")["SERVERLESS_IMAGE"],
        }
        if region in script.regions("pytorch"):
            assert serving["SERVERLESS_IMAGE"] == script.uri("pytorch", region, "ml.t2.medium")
        for function, images in {"Train": training, "Register": serving, "CreateModel": serving}.items():
            variables = variables_of(template, f"{function}Function")
            assert {name: value for name, value in variables.items() if "IMAGE" in name} == images
        pulled = [
            resource
            for statement in statements(template.of("AWS::IAM::Role")["ExecutionRole"])
            if "ecr:BatchGetImage" in statement["Action"]
            for resource in statement["Resource"]
        ]
        assert pulled == [
            repository_of(training["TRAINING_IMAGE_CPU"], template),
            repository_of(script.uri("ray", region, "ml.t2.medium"), template),
            repository_of(serving["SERVERLESS_IMAGE"], template),
        ]


def repository_of(uri: str, template: Template) -> str:
    """The ARN of the repository of account.dkr.ecr.region.domain/repository:tag."""
    registry, _, path = uri.partition("/")
    account, _, _, region, *_ = registry.split(".")
    partition = template.resolve({"Ref": "AWS::Partition"})
    return f"arn:{partition}:ecr:{region}:{account}:repository/{path.partition(':')[0]}"


def test_writing_again_changes_nothing(script: ModuleType, copy: Path) -> None:
    before = copy.read_text(encoding="utf-8")
    assert script.main() == 0
    assert copy.read_text(encoding="utf-8") == before


def test_only_the_marked_block_is_replaced(script: ModuleType, copy: Path) -> None:
    before = copy.read_text(encoding="utf-8")
    copy.write_text(before.replace("2.13-cpu-amzn2023", "an-old-image"), encoding="utf-8")
    assert script.main() == 0
    assert copy.read_text(encoding="utf-8") == before


def test_checking_fails_on_an_outdated_template_and_leaves_it(
    script: ModuleType, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outdated = copy.read_text(encoding="utf-8").replace("us-east-1: {", "us-east-9: {")
    copy.write_text(outdated, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["write_image_mappings.py", "--check"])
    assert script.main() == 1
    assert copy.read_text(encoding="utf-8") == outdated


def test_a_template_without_its_markers_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="one block"):
        script.rewritten("Mappings: {}\n", script.BEGIN + script.END)
