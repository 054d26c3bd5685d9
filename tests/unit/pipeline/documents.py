"""The documents of one run, as they cross the steps, and the environment of the functions."""

import copy
from typing import Any

Document = dict[str, Any]

ACCOUNT, REGION = "111122223333", "eu-west-1"
NAME = "lexline--sotu-0123456789ab"
# The run whose model served before, and a third one.
FORMER, OTHER = "lexline--sotu-aaaaaaaaaaaa", "lexline--sotu-ffffffffffff"
SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
ENDPOINT_ARN = f"{SAGEMAKER}:endpoint/lexline"
STACK_ID = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lexline/5a2b1c3d"
OTHER_STACK_ID = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lexline-two/9f8e7d6c"
ENVIRONMENT = {
    "AWS_REGION": REGION,
    "BUCKET": "texts",
    "TABLE": "tokens",
    "ENDPOINT_NAME": "lexline",
    "STACK_ID": STACK_ID,
    "EXECUTION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lexline-sagemaker",
    "TOPIC_ARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:lexline-results",
    "STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:lexline-pipeline",
    "QUIET_SECONDS": "60",
    "ALARMS": "lexline-5xx,lexline-latency",
    "SWEEP": "delete",
    "SCHEDULE_GROUP": "lexline-teardowns",
    "SCHEDULE_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lexline-schedules",
    "TRAINING_IMAGE_CPU": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:cpu",
    "TRAINING_IMAGE_GPU": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:gpu",
    "HOSTING_IMAGE": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/ray:cpu",
    "SERVERLESS_IMAGE": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-inference:cpu",
}

_EXECUTION: Document = {
    "id": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:lexline-pipeline:first",
    "started": "2026-03-01T12:00:00Z",
}
_RUN: Document = {
    "name": NAME,
    "endpoint": "lexline",
    "execution": _EXECUTION,
    "work": "train",
    "subject": NAME,
    "dataset": "sotu",
    "upload": None,
    "model": None,
    "teardown_of": None,
    "cleanup_of": None,
    "force": False,
    "source": None,
    "hyperparameters": {"epochs": 6, "tied": True},
    "training": {"instance_type": "ml.m5.xlarge", "instance_count": 1, "max_runtime_seconds": 3600},
    "hosting": {"instance_type": "ml.m5.large", "instance_count": 1},
    "max_perplexity": None,
    "tolerance": 0,
    "teardown": "never",
}
_LEASE: Document = {"owner": NAME, "generation": 7}
_PREPARED: Document = {
    "outcome": "prepared",
    "dataset": "sotu",
    "fingerprint": "ab" * 32,
    "prepared_uri": f"s3://texts/prepared/sotu/{NAME}/corpus/",
    "manifest_uri": f"s3://texts/prepared/sotu/{NAME}/corpus/manifest.json",
    "splits": {
        "train": {"lines": 900, "words": 9000, "bytes": 54000},
        "valid": {"lines": 50, "words": 500, "bytes": 3000},
        "test": {"lines": 50, "words": 500, "bytes": 3000},
    },
    "files": 3,
    "left_out": [],
    "left_out_count": 0,
    "notes": [],
}
_SOURCE: Document = {
    "uri": f"s3://texts/code/{'cd' * 32}/sourcedir.tar.gz",
    "sha256": "cd" * 32,
    "repo": None,
    "branch": None,
    "commit": None,
}
_CHAMPION: Document = {
    "config": FORMER,
    "model": FORMER,
    "dataset": "sotu",
    "artifact_prefix": f"s3://texts/runs/{FORMER}/output/model.tar.gz",
}
_TRAINED: Document = {
    "job": NAME,
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{NAME}",
    "model_artifacts": f"s3://texts/runs/{NAME}/output/model.tar.gz",
    "instance_type": "ml.m5.xlarge",
    "instance_count": 1,
    "spot": True,
    "training_seconds": 610,
    "billable_seconds": 183,
    "metrics": {
        "test:perplexity": 208.3,
        "valid:perplexity": 226.6,
        "train:perplexity": 168.0,
        "train:words_per_second": 1432.0,
        "vocabulary:size": 33278.0,
        "test:unknown_share": 0.021,
        "test:exact_perplexity": 250.1,
        "test:words": 34012.0,
    },
}
_EVALUATED: Document = {
    "accepted": True,
    "reason": (
        "On the 500 words of the test text, which it had not seen, the new model is as uncertain about the "
        "next word as if it chose among 208 words (perplexity 208.30, 2.1% of the test text unknown). It is "
        f"better than {FORMER}, which served: asked for the exact words of that text, its perplexity is 3.2% "
        "lower."
    ),
    "objection": None,
    "metrics": {
        "test_perplexity": 208.3,
        "valid_perplexity": 226.6,
        "train_perplexity": 168.0,
        "words_per_second": 1432.0,
        "vocabulary_size": 33278,
        "test_unknown_share": 0.021,
        "test_exact_perplexity": 250.1,
        "test_words": 34012,
        "notes": [],
    },
    "comparison": {
        "champion": FORMER,
        "champion_perplexity": 215.2,
        "challenger_perplexity": 208.3,
        "tolerance": 0.0,
        "reason": None,
        "notes": [],
    },
}
_REGISTERED: Document = {
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/lexline/3",
    "version": 3,
    "model": NAME,
    "approved": True,
    "model_artifacts": _TRAINED["model_artifacts"],
    "dataset": "sotu",
    "fingerprint": _PREPARED["fingerprint"],
    "identity": "12" * 32,
    "test_perplexity": 208.3,
    "test_unknown_share": 0.021,
}
_MODEL: Document = {
    "name": NAME,
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/{NAME}",
    "image": ENVIRONMENT["HOSTING_IMAGE"],
    "model_artifacts": _TRAINED["model_artifacts"],
}
_DEPLOYED: Document = {
    "endpoint": "lexline",
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/lexline",
    "config": NAME,
    "instance_count": 1,
}
_SMOKE_TEST: Document = {
    "texts": [
        {
            "prompt": "",
            "seed": 111,
            "temperature": 1.0,
            "text": "The state of the union is strong.",
            "seconds": 0.21,
        }
    ],
    "slowest_seconds": 0.21,
}
_FINISHED: Document = {"scales": False, "teardown_at": None, "replaced": FORMER}


class Documents:
    """One of each document, as JSON has it. A test may change its own copies."""

    def __init__(self) -> None:
        self.execution = copy.deepcopy(_EXECUTION)
        self.run = copy.deepcopy(_RUN)
        self.lease = copy.deepcopy(_LEASE)
        self.prepared = copy.deepcopy(_PREPARED)
        self.source = copy.deepcopy(_SOURCE)
        self.champion = copy.deepcopy(_CHAMPION)
        self.trained = copy.deepcopy(_TRAINED)
        self.evaluated = copy.deepcopy(_EVALUATED)
        self.registered = copy.deepcopy(_REGISTERED)
        self.model = copy.deepcopy(_MODEL)
        self.deployed = copy.deepcopy(_DEPLOYED)
        self.smoke_test = copy.deepcopy(_SMOKE_TEST)
        self.finished = copy.deepcopy(_FINISHED)

    def input(self, *names: str) -> Document:
        """Return the input of a step: these documents by their names."""
        return {name: getattr(self, name) for name in names}
