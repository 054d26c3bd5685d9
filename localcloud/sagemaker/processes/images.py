"""The runner for each container image.

The local cloud has no container engine. An image's repository decides which of AWS's toolkits, installed in
this environment, does the image's work. Account and region are ignored, so a template's URI for any region
works here. The tag is ignored, too, except in the repository `ray`, which holds several kinds of images.
"""

import re
from enum import Enum
from fnmatch import fnmatchcase

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
