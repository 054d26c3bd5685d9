"""Which runner an image URI names.

The local cloud has no container engine: an image's repository says which of AWS's own toolkits, installed
in this environment, does what the image would do. Account and region are not checked, so a template's URI for
any region runs here unchanged; nor is the tag, but in the repository `ray`, which holds more than one kind of
image.
"""

import re
from enum import Enum
from fnmatch import fnmatchcase

_IMAGE = re.compile(
    r"^(?P<account>\d{12})\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/(?P<repository>[a-z0-9._/-]+)"
    r"(:(?P<tag>[A-Za-z0-9._-]+))?(@sha256:[0-9a-f]{64})?$"
)


class Runner(Enum):
    """What stands in for a container."""

    TRAINING_TOOLKIT = "sagemaker-training with sagemaker-pytorch-training"
    INFERENCE_HANDLER = "sagemaker-inference with sagemaker-pytorch-inference"
    RAY_SERVE = "ray[serve]"


class ImageNotFound(Exception):
    """No runner here stands in for the image; the message is the failure reason to show."""


def training_runner(image: str) -> Runner:
    """The runner of a training image; raises ImageNotFound."""
    return _runner(image, _TRAINING, "Cannot pull algorithm container.")


def hosting_runner(image: str) -> Runner:
    """The runner of an inference image; raises ImageNotFound."""
    return _runner(image, _HOSTING, "Cannot pull the inference container.")


_TRAINING = {
    "pytorch": Runner.TRAINING_TOOLKIT,
    "pytorch-training": Runner.TRAINING_TOOLKIT,
}
_HOSTING = {
    "pytorch-inference": Runner.INFERENCE_HANDLER,
    "ray:serve-ml-sagemaker-*": Runner.RAY_SERVE,
}
"""By repository, or by a pattern of repository and tag."""


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
