"""Write the container images of every region into template.yaml, from the SageMaker SDK's own lists.

    python scripts/write_image_mappings.py            # rewrite the marked block of template.yaml
    python scripts/write_image_mappings.py --check    # exit 1 if the block is not what the SDK says

A stack cannot ask the SDK for an image when it deploys, and the SDK is far too big for a Lambda, so its
answers stand in the template as a Mapping. Moving to another framework version is a change of the constants
below and one run of this script; the unit tests hold the template against the SDK.
"""

import argparse
import sys
from pathlib import Path

from sagemaker.core import image_uris

TRAINING_FRAMEWORK, TRAINING_VERSION = "pytorch-amzn2023", "2.13"
HOSTING_FRAMEWORK, HOSTING_VERSION, HOSTING_PYTHON = "pytorch", "2.6.0", "py312"

# The SDK picks the image by instance type; any CPU and any GPU instance gives the one wanted.
CPU_INSTANCE, GPU_INSTANCE = "ml.m5.large", "ml.g5.xlarge"

BEGIN = "  # BEGIN images: written by scripts/write_image_mappings.py\n"
END = "  # END images\n"
TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"


def regions() -> list[str]:
    """The regions where AWS publishes both the training and the hosting image, sorted."""
    training = image_uris.config_for_framework(TRAINING_FRAMEWORK)["training"]
    hosting = image_uris.config_for_framework(HOSTING_FRAMEWORK)["inference"]
    both = (
        training["versions"][TRAINING_VERSION]["registries"].keys()
        & hosting["versions"][HOSTING_VERSION]["registries"].keys()
    )
    return sorted(both)


def images(region: str) -> dict[str, str]:
    """The four image URIs of a region, and the two repositories they are pulled from.

    A repository is written "account:repository/name": the part of its ARN that differs between regions.
    """

    def training(instance_type: str) -> str:
        return _uri(
            TRAINING_FRAMEWORK, region, TRAINING_VERSION, instance_type=instance_type, image_scope="training"
        )

    def hosting(instance_type: str) -> str:
        return _uri(
            HOSTING_FRAMEWORK,
            region,
            HOSTING_VERSION,
            py_version=HOSTING_PYTHON,
            instance_type=instance_type,
            image_scope="inference",
        )

    return {
        "TrainingCpu": training(CPU_INSTANCE),
        "TrainingGpu": training(GPU_INSTANCE),
        "TrainingRepository": repository(training(CPU_INSTANCE)),
        "HostingCpu": hosting(CPU_INSTANCE),
        "HostingGpu": hosting(GPU_INSTANCE),
        "HostingRepository": repository(hosting(CPU_INSTANCE)),
    }


def _uri(*place: str, **image: str) -> str:
    return str(image_uris.retrieve(*place, **image))


def repository(image_uri: str) -> str:
    """ "account:repository/name" of account.dkr.ecr.region.domain/name:tag."""
    registry, _, path = image_uri.partition("/")
    return f"{registry.partition('.')[0]}:repository/{path.partition(':')[0]}"


def mapping() -> str:
    """The marked block, markers included, as YAML at the depth of the Mappings section."""
    lines = [BEGIN, "  Images:\n"]
    for region in regions():
        lines.append(f"    {region}:\n")
        lines += [f'      {name}: "{value}"\n' for name, value in images(region).items()]
    lines.append(END)
    return "".join(lines)


def rewritten(template: str, block: str) -> str:
    """The template with its marked block replaced; ValueError unless it has exactly one."""
    if template.count(BEGIN) != 1 or template.count(END) != 1:
        raise ValueError(
            f"the template must hold exactly one block from {BEGIN.strip()!r} to {END.strip()!r}"
        )
    head, _, rest = template.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + block + tail


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the SDK's image URIs into template.yaml.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if the template is out of date"
    )
    arguments = parser.parse_args()
    before = TEMPLATE.read_text()
    after = rewritten(before, mapping())
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
