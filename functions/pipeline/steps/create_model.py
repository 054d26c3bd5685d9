"""CreateModel: create the SageMaker model, which says which container serves the artifact, and how."""

from contracts.serving import CreateModelInput, ModelCreated
from core import aws, environment, names
from entry_point import step
from serving import tags

# Ray's mode, the same here and on the local cloud.
RAY_MODE = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # With that option alone, the model's output does not reach the endpoint's log.
    "RAY_SERVE_LOG_TO_STDERR": "1",
    # It would also let each replica listen on ports of its own, which nothing calls: AWS's adapter calls the
    # proxy.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
    # If the proxy dies, Ray replaces it after a second and not after ten.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # Otherwise Ray reports each container to its makers.
    "RAY_USAGE_STATS_ENABLED": "0",
}


@step(CreateModelInput)
def handler(given: CreateModelInput) -> ModelCreated:
    """Create the model, unless an earlier attempt of this step has."""
    run = given.run
    image = environment.hosting_image(run.hosting)
    serverless = run.hosting.endpoint_type == "serverless"
    with aws.allowing(aws.already_exists):
        aws.sagemaker().create_model(
            ModelName=run.name,
            ExecutionRoleArn=environment.execution_role_arn(),
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": given.registered.model_artifacts,
                # train.py copies its scripts into the artifact, so the artifact can be served as it is. The
                # PyTorch image reads SAGEMAKER_*, the Ray image reads RAY_*; each ignores the other's.
                "Environment": {
                    **RAY_MODE,
                    "SAGEMAKER_PROGRAM": "generate.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                    "SAGEMAKER_REGION": environment.region(),
                    "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
                    "LEXLINE_MODEL": given.registered.model,
                    # AWS recommends one worker, which loads one copy of the model (Serverless Inference).
                    **({"SAGEMAKER_MODEL_SERVER_WORKERS": "1"} if serverless else {}),
                },
            },
            Tags=tags.describing(run, given.registered),
        )
    return ModelCreated(
        name=run.name,
        arn=names.arn(run, "model", run.name),
        image=image,
        model_artifacts=given.registered.model_artifacts,
    )
