"""The template's images are those that the SageMaker SDK gives, and their script changes nothing else."""

import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from tests.unit.template.conftest import PROJECT, source

MAPPINGS = ("TrainingImages", "HostingCpuImages", "HostingGpuImages", "HostingRepositories")


@pytest.fixture(scope="module")
def image_uris() -> Iterator[ModuleType]:
    """The SDK's module, which takes seconds to import; only the process that runs these tests does.

    It reads botocore's endpoints, half a megabyte of JSON, for every image it is asked for: here once.
    """
    from sagemaker.core import common_utils, image_uris

    with mock.patch.object(common_utils, "_botocore_resolver", cache(common_utils._botocore_resolver)):
        yield image_uris


@pytest.fixture(scope="module")
def script(image_uris: ModuleType) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "write_image_mappings", PROJECT / "scripts" / "write_image_mappings.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template for the script to work on."""
    path = tmp_path / "template.yaml"
    path.write_text((PROJECT / "template.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(script, "TEMPLATE", path)
    monkeypatch.setattr("sys.argv", ["write_image_mappings.py"])
    return path


def test_the_template_holds_the_images_of_every_region_that_has_both(script: ModuleType) -> None:
    mappings = {name: source()["Mappings"][name] for name in MAPPINGS}
    assert all(list(by_region) == script.regions() for by_region in mappings.values())
    assert script.mappings() == mappings


def test_the_default_images_are_in_every_region_where_training_is(image_uris: ModuleType) -> None:
    mapping = source()["Mappings"]["HostingCpuImages"]
    assert {"us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"} <= mapping.keys()
    training = image_uris.config_for_framework("pytorch-amzn2023")["training"]["versions"]["2.13"]
    assert mapping.keys() == training["registries"].keys()


def test_a_region_without_the_pytorch_image_does_not_claim_to_have_it(image_uris: ModuleType) -> None:
    published = image_uris.config_for_framework("pytorch")["inference"]["versions"]["2.6.0"]["registries"]
    for name in ("HostingCpuImages", "HostingGpuImages", "HostingRepositories"):
        mapping = source()["Mappings"][name]
        assert {region for region, images in mapping.items() if "pytorch" in images} == published.keys()


@pytest.mark.parametrize(
    ("image", "instance_type", "tag"),
    [
        ("Cpu", "ml.c5.4xlarge", "2.13-cpu-amzn2023-sagemaker"),
        ("Gpu", "ml.p4d.24xlarge", "2.13-cu133-amzn2023-sagemaker"),
    ],
)
def test_training_runs_pytorch_2_13(image_uris: ModuleType, image: str, instance_type: str, tag: str) -> None:
    for region, images in source()["Mappings"]["TrainingImages"].items():
        expected = image_uris.retrieve(
            "pytorch-amzn2023", region, version="2.13", instance_type=instance_type, image_scope="training"
        )
        assert images[image] == expected
        assert images[image].endswith(f"/pytorch:{tag}")


@pytest.mark.parametrize(
    ("mapping", "instance_type", "tag"),
    [
        ("HostingCpuImages", "ml.t2.medium", "serve-ml-sagemaker-cpu-v1"),
        ("HostingGpuImages", "ml.g4dn.xlarge", "serve-ml-sagemaker-cuda-v1"),
    ],
)
def test_hosting_runs_the_ray_serve_image(
    image_uris: ModuleType, mapping: str, instance_type: str, tag: str
) -> None:
    for region, images in source()["Mappings"][mapping].items():
        expected = image_uris.retrieve(
            "ray-serve", region, version="1", instance_type=instance_type, image_scope="inference"
        )
        assert images["ray"] == expected
        assert images["ray"].endswith(f"/ray:{tag}")


@pytest.mark.parametrize(
    ("mapping", "instance_type"),
    [("HostingCpuImages", "ml.t2.medium"), ("HostingGpuImages", "ml.g4dn.xlarge")],
)
def test_hosting_can_run_the_pytorch_inference_image(
    image_uris: ModuleType, mapping: str, instance_type: str
) -> None:
    for region, images in source()["Mappings"][mapping].items():
        if "pytorch" in images:
            expected = image_uris.retrieve(
                "pytorch",
                region,
                version="2.6.0",
                py_version="py312",
                instance_type=instance_type,
                image_scope="inference",
            )
            assert images["pytorch"] == expected


def test_repositories_are_those_of_the_images() -> None:
    mappings = source()["Mappings"]
    for region in mappings["TrainingImages"]:
        training = mappings["TrainingImages"][region]
        pulled = [(training["Repository"], training["Cpu"]), (training["Repository"], training["Gpu"])]
        for name, where in mappings["HostingRepositories"][region].items():
            pulled.append((where, mappings["HostingCpuImages"][region][name]))
            pulled.append((where, mappings["HostingGpuImages"][region][name]))
        for where, image in pulled:
            account, _, name = where.partition(":repository/")
            assert image.startswith(f"{account}.dkr.ecr.{region}.")
            assert f"/{name}:" in image


def test_writing_again_changes_nothing(script: ModuleType, copy: Path) -> None:
    before = copy.read_text(encoding="utf-8")
    assert script.main() == 0
    assert copy.read_text(encoding="utf-8") == before


def test_only_the_marked_block_is_replaced(script: ModuleType, copy: Path) -> None:
    before = copy.read_text(encoding="utf-8")
    region = "us-east-1"
    copy.write_text(before.replace(script.training_images(region)["Cpu"], "an-old-image"), encoding="utf-8")
    assert script.main() == 0
    assert copy.read_text(encoding="utf-8") == before


def test_checking_fails_on_an_outdated_template_and_leaves_it(
    script: ModuleType, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outdated = copy.read_text(encoding="utf-8").replace("us-east-1:\n", "us-east-9:\n", 1)
    copy.write_text(outdated, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["write_image_mappings.py", "--check"])
    assert script.main() == 1
    assert copy.read_text(encoding="utf-8") == outdated


def test_a_template_without_its_markers_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="one block"):
        script.rewritten("Mappings: {}\n", script.BEGIN + script.END)
