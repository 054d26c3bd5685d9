"""The step that names the trained artifacts as a SageMaker model: which container serves them, and how."""

from __future__ import annotations

from botocore.exceptions import ClientError

from contracts.serving import CreateModelInput, ModelCreated
from core import aws, environment, names
from entry_point import step
from serving import endpoint


@step(CreateModelInput)
def handler(given: CreateModelInput) -> ModelCreated:
    run = given.run
    image = environment.hosting_image(run.hosting)
    try:
        aws.sagemaker().create_model(
            ModelName=run.name,
            ExecutionRoleArn=environment.execution_role_arn(),
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": given.registered.model_artifacts,
                # train.py puts its scripts into the artifact, so that it serves without being packed again.
                # The PyTorch image reads SAGEMAKER_*, the Ray image RAY_*, and neither minds the other's.
                "Environment": {
                    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                    # Unless asked, that setting keeps what the model prints out of the endpoint's log.
                    "RAY_SERVE_LOG_TO_STDERR": "1",
                    "SAGEMAKER_PROGRAM": "generate.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                    "SAGEMAKER_REGION": environment.region(),
                    "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
                    "LEXLINE_MODEL": given.registered.model,
                },
            },
            Tags=endpoint.tags(run, given.registered),
        )
    except ClientError as error:
        # The name is this execution's own: an earlier attempt of this step made it.
        if not aws.already_exists(error):
            raise
    return ModelCreated(
        name=run.name,
        arn=names.arn(run, "model", run.name),
        image=image,
        model_artifacts=given.registered.model_artifacts,
    )
