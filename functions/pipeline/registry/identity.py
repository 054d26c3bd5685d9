"""What makes a model the model it is: data, scripts and hyperparameters."""

from __future__ import annotations

import hashlib

from contracts.request import Hyperparameters


def of(hyperparameters: Hyperparameters, fingerprint: str, code: str) -> str:
    """A SHA-256, in hex, over the data's fingerprint, the scripts' hash and every hyperparameter."""
    told = hyperparameters.model_dump_json()
    return hashlib.sha256("\n".join((fingerprint, code, told)).encode()).hexdigest()
