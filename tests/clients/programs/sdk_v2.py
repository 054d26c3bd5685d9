"""The original notebook's calls, in version 2 of the SageMaker SDK.

    python sdk_v2.py GIT_REPOSITORY DATA_FOLDER

Prints a JSON document as its last line: a generated text.
"""

import json
import os
import sys

import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.predictor import Predictor
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import JSONSerializer

from localcloud.session import Session

NAME = f"{os.environ['STACK_NAME']}---notebook-v2"


class JSONPredictor(Predictor):  # type: ignore[misc]
    """A predictor that sends and receives JSON."""

    def __init__(self, endpoint_name: str, sagemaker_session: sagemaker.Session, **_: object) -> None:
        super().__init__(
            endpoint_name, sagemaker_session, serializer=JSONSerializer(), deserializer=JSONDeserializer()
        )


def main(repository: str, folder: str) -> None:
    """Train from a Git repository, deploy, predict, and delete."""
    session = sagemaker.Session(
        boto_session=Session(), default_bucket=os.environ["BUCKET"], default_bucket_prefix="notebook"
    )
    role = os.environ["NOTEBOOK_ROLE_ARN"]
    data = session.upload_data(folder, key_prefix="notebook/v2")
    estimator = PyTorch(
        entry_point="train.py",
        source_dir="model_scripts",
        git_config={"repo": repository, "branch": "main"},
        role=role,
        # Of the versions that this SDK knows, the newest.
        image_uri="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker",
        base_job_name=NAME,
        instance_count=1,
        instance_type="ml.m5.large",
        hyperparameters={"epochs": 1, "emsize": 8, "nhid": 8, "nlayers": 1, "tied": True, "dropout": 0.2},
        sagemaker_session=session,
    )
    estimator.fit({"training": data})
    model = PyTorchModel(
        model_data=estimator.model_data,
        role=role,
        image_uri="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312-ubuntu22.04-sagemaker",
        entry_point="generate.py",
        source_dir="model_scripts",
        git_config={"repo": repository, "branch": "main"},
        predictor_cls=JSONPredictor,
        sagemaker_session=session,
        name=NAME,
    )
    predictor = model.deploy(initial_instance_count=1, instance_type="ml.m5.large", endpoint_name=NAME)
    answer = predictor.predict({"seed": 111, "temperature": 0.9, "words": 20})
    predictor.delete_endpoint()
    model.delete_model()
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
