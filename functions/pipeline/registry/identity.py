"""A model's identity: two models with the same data, scripts and hyperparameters are the same model."""

import hashlib

from contracts.request import Hyperparameters


def of(hyperparameters: Hyperparameters, fingerprint: str, code: str) -> str:
    """Return the identity as a SHA-256 in hexadecimal.

    Args:
        hyperparameters: all of them, including those left to the recipe.
        fingerprint: the SHA-256 of the prepared data.
        code: the SHA-256 of the packed scripts.
    """
    return hashlib.sha256(
        "\n".join((fingerprint, code, hyperparameters.model_dump_json())).encode()
    ).hexdigest()
