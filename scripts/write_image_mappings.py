"""Write AWS's container images into template.yaml, from the lists of the SageMaker SDK.

    python scripts/write_image_mappings.py            # rewrite the marked block of template.yaml
    python scripts/write_image_mappings.py --check    # change nothing; exit 1 if the block is out of date

A stack cannot query the SDK when it deploys, and the SDK is too big for a Lambda layer. So the template
holds two mappings: the repository and tags of each image, and the account that owns the image in each region.
To move to another framework version, change the constants below and run this script. Unit tests compare the
template with the SDK.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from pathlib import Path
from typing import Any

from sagemaker.core import image_uris

# The arguments of image_uris.retrieve, by the image's name in the template. The names of the hosting images
# are the values of the parameter HostingImage.
IMAGES: dict[str, dict[str, str]] = {
    "training": {"framework": "pytorch-amzn2023", "version": "2.13", "image_scope": "training"},
    # The tag of version 1 moves with each of AWS's releases; that of 1.4 (Ray 2.57.0) does not.
    "ray": {"framework": "ray-serve", "version": "1.4", "image_scope": "inference"},
    "pytorch": {
        "framework": "pytorch",
        "version": "2.6.0",
        "py_version": "py312",
        "image_scope": "inference",
    },
}
# The SDK chooses between the CPU and the GPU image by the instance type. Hosting needs no GPU.
INSTANCES = {"Cpu": "ml.m5.large", "Gpu": "ml.g5.xlarge"}

BEGIN = "  # BEGIN images: written by scripts/write_image_mappings.py\n"
END = "  # END images\n"
TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"


@cache
def regions(image: str) -> frozenset[str]:
    """Return the regions where AWS publishes an image."""
    wanted = IMAGES[image]
    config = image_uris.config_for_framework(wanted["framework"])
    versions = config.get(wanted["image_scope"], config)["versions"]
    return frozenset(versions[wanted["version"]]["registries"])


def uri(image: str, region: str, instance_type: str) -> str:
    """Return the image's URI: account.dkr.ecr.region.domain/repository:tag."""
    return str(image_uris.retrieve(region=region, instance_type=instance_type, **IMAGES[image]))


def mappings() -> dict[str, dict[str, Any]]:
    """Return the template's two mappings.

    Raises:
        ValueError: A repository or a tag differs between regions, so that one mapping cannot hold it.
    """
    # A region is listed if a default deployment works there: it needs the training image and Ray's.
    listed = sorted(regions("training") & regions("ray"))
    images: dict[str, Any] = {}
    for image in IMAGES:
        published = [region for region in listed if region in regions(image)]
        for processor, instance_type in INSTANCES.items():
            if (processor, IMAGES[image]["image_scope"]) == ("Gpu", "inference"):
                continue
            paths = {uri(image, region, instance_type).partition("/")[2] for region in published}
            if len(paths) != 1:
                raise ValueError(f"Image {image} has several names: {', '.join(sorted(paths))}.")
            (path,) = paths
            repository, _, tag = path.partition(":")
            images.setdefault(image, {"Repository": repository})[processor] = tag
    accounts = {
        region: {
            image: uri(image, region, INSTANCES["Cpu"]).partition(".")[0]
            for image in IMAGES
            if region in regions(image)
        }
        for region in listed
    }
    return {"Images": images, "ImageAccounts": accounts}


def block() -> str:
    """Return the marked block, with its markers, as YAML for the Mappings section."""
    lines = [BEGIN]
    for name, rows in mappings().items():
        lines.append(f"  {name}:\n")
        for key, row in rows.items():
            fields = ", ".join(f'{field}: "{value}"' for field, value in row.items())
            lines.append(f"    {key}: {{{fields}}}\n")
    return "".join([*lines, END])


def rewritten(template: str, written: str) -> str:
    """Return the template with its marked block replaced.

    Raises:
        ValueError: The template does not have exactly one marked block.
    """
    if template.count(BEGIN) != 1 or template.count(END) != 1:
        raise ValueError(
            f"The template must hold exactly one block from {BEGIN.strip()!r} to {END.strip()!r}."
        )
    head, _, rest = template.partition(BEGIN)
    return head + written + rest.partition(END)[2]


def main() -> int:
    """Write the block, or compare it with the template; return the exit code."""
    parser = argparse.ArgumentParser(description="Write AWS's container images into template.yaml.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the block is out of date"
    )
    check = parser.parse_args().check
    before = TEMPLATE.read_text(encoding="utf-8")
    after = rewritten(before, block())
    if not check:
        TEMPLATE.write_text(after, encoding="utf-8")
    elif after != before:
        print("The images in template.yaml are out of date: run `make generate`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
