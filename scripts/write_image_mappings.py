"""Write the container images of every region into template.yaml, from the SageMaker SDK's own lists.

    python scripts/write_image_mappings.py            # rewrite the marked block of template.yaml
    python scripts/write_image_mappings.py --check    # exit 1 if the block is not what the SDK says

A stack cannot ask the SDK for an image when it deploys, and the SDK is far too big for a Lambda, so its
answers stand in the template as a Mapping. Moving to another framework version is a change of the constants
below and one run of this script; the unit tests hold the template against the SDK.
"""

import argparse
import sys
from functools import cache
from pathlib import Path

from sagemaker.core import image_uris

TRAINING_FRAMEWORK, TRAINING_VERSION = "pytorch-amzn2023", "2.13"
# By the values of the template's parameter HostingImage.
HOSTING = {
    "ray": ("ray-serve", {"version": "1"}),
    "pytorch": ("pytorch", {"version": "2.6.0", "py_version": "py312"}),
}

# The SDK picks the image by instance type; any CPU and any GPU instance gives the one wanted.
CPU_INSTANCE, GPU_INSTANCE = "ml.m5.large", "ml.g5.xlarge"

BEGIN = "  # BEGIN images: written by scripts/write_image_mappings.py\n"
END = "  # END images\n"
TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"


@cache
def regions(hosting: str = "ray") -> list[str]:
    """The regions where AWS publishes both the training image and this hosting image, sorted."""
    framework, image = HOSTING[hosting]
    training = image_uris.config_for_framework(TRAINING_FRAMEWORK)["training"]
    inference = image_uris.config_for_framework(framework)
    versions = inference.get("inference", inference)["versions"]
    both = (
        training["versions"][TRAINING_VERSION]["registries"].keys()
        & versions[image["version"]]["registries"].keys()
    )
    return sorted(both)


def training_images(region: str) -> dict[str, str]:
    """The training images of a region, and the repository they are pulled from.

    A repository is written "account:repository/name": the part of its ARN that differs between regions.
    """

    def image(instance_type: str) -> str:
        return str(
            image_uris.retrieve(
                TRAINING_FRAMEWORK,
                region,
                TRAINING_VERSION,
                instance_type=instance_type,
                image_scope="training",
            )
        )

    cpu, gpu = image(CPU_INSTANCE), image(GPU_INSTANCE)
    return {"Cpu": cpu, "Gpu": gpu, "Repository": repository(cpu)}


def hosting_images(region: str, instance_type: str) -> dict[str, str]:
    """The hosting images of a region for an instance type; not every region has every one."""
    return {
        name: str(
            image_uris.retrieve(
                framework, region, instance_type=instance_type, image_scope="inference", **image
            )
        )
        for name, (framework, image) in HOSTING.items()
        if region in regions(name)
    }


def repository(image_uri: str) -> str:
    """ "account:repository/name" of account.dkr.ecr.region.domain/name:tag."""
    registry, _, path = image_uri.partition("/")
    return f"{registry.partition('.')[0]}:repository/{path.partition(':')[0]}"


def mappings() -> dict[str, dict[str, dict[str, str]]]:
    """The template's mappings: name, region, and what the region has."""
    everywhere = regions()
    cpu = {region: hosting_images(region, CPU_INSTANCE) for region in everywhere}
    return {
        "TrainingImages": {region: training_images(region) for region in everywhere},
        "HostingCpuImages": cpu,
        "HostingGpuImages": {region: hosting_images(region, GPU_INSTANCE) for region in everywhere},
        "HostingRepositories": {
            region: {name: repository(uri) for name, uri in images.items()} for region, images in cpu.items()
        },
    }


def block() -> str:
    """The marked block, markers included, as YAML at the depth of the Mappings section."""
    lines = [BEGIN]
    for name, by_region in mappings().items():
        lines.append(f"  {name}:\n")
        for region, values in by_region.items():
            lines.append(f"    {region}:\n")
            lines += [f'      {key}: "{value}"\n' for key, value in values.items()]
    lines.append(END)
    return "".join(lines)


def rewritten(template: str, written: str) -> str:
    """The template with its marked block replaced; ValueError unless it has exactly one."""
    if template.count(BEGIN) != 1 or template.count(END) != 1:
        raise ValueError(
            f"the template must hold exactly one block from {BEGIN.strip()!r} to {END.strip()!r}"
        )
    head, _, rest = template.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + written + tail


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the SDK's image URIs into template.yaml.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if the template is out of date"
    )
    arguments = parser.parse_args()
    before = TEMPLATE.read_text()
    after = rewritten(before, block())
    if after == before:
        print("template.yaml holds the SDK's images")
        return 0
    if arguments.check:
        print(
            "template.yaml does not hold the SDK's images: run scripts/write_image_mappings.py",
            file=sys.stderr,
        )
        return 1
    TEMPLATE.write_text(after)
    print(f"template.yaml: images of {len(regions())} regions written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
