"""The resource classes of version 3 of the SageMaker SDK, and boto3's waiters.

    python sdk_v3_resources.py SCRIPT_ARCHIVE_URI DATA_URI

Prints a JSON document with what it saw.
"""

import json
import os
import sys

import boto3
from sagemaker.core.helper.session_helper import Session as CoreSession
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import (
    AlgorithmSpecification,
    Channel,
    ContainerDefinition,
    DataSource,
    OutputDataConfig,
    ProductionVariant,
    ResourceConfig,
    S3DataSource,
    StoppingCondition,
)

from localcloud.session import Session

REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
NAME = f"{os.environ['STACK_NAME']}---notebook-resources"


def main(source: str, data: str) -> None:
    """Create, get, wait for, list, invoke and delete one of each."""
    role = os.environ["NOTEBOOK_ROLE_ARN"]
    session = Session()
    seen: dict[str, object] = {}

    job = TrainingJob.create(
        session=session,
        training_job_name=NAME,
        role_arn=role,
        algorithm_specification=AlgorithmSpecification(
            training_image=f"{REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker", training_input_mode="File"
        ),
        hyper_parameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": source,
            "epochs": "1",
            "emsize": "8",
            "nhid": "8",
            "nlayers": "1",
        },
        input_data_config=[
            Channel(
                channel_name="training",
                data_source=DataSource(s3_data_source=S3DataSource(s3_data_type="S3Prefix", s3_uri=data)),
            )
        ],
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{os.environ['BUCKET']}/notebook/resources"),
        resource_config=ResourceConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
    )
    boto3.client("sagemaker").get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=NAME, WaiterConfig={"Delay": 1}
    )
    job.wait(poll=1)
    got = TrainingJob.get(NAME, session=session)
    seen["job"] = got.training_job_status
    seen["jobs"] = [
        each.training_job_name for each in TrainingJob.get_all(name_contains=NAME, session=session)
    ]

    Model.create(
        session=session,
        model_name=NAME,
        execution_role_arn=role,
        primary_container=ContainerDefinition(
            image=f"{REGISTRY}/pytorch-inference:2.6.0-cpu-py312-ubuntu22.04-sagemaker",
            model_data_url=got.model_artifacts.s3_model_artifacts,
            environment={
                "SAGEMAKER_PROGRAM": "generate.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            },
        ),
    )
    EndpointConfig.create(
        session=session,
        endpoint_config_name=NAME,
        production_variants=[
            ProductionVariant(
                variant_name="AllTraffic",
                model_name=NAME,
                initial_instance_count=1,
                instance_type="ml.m5.large",
                initial_variant_weight=1.0,
            )
        ],
    )
    Endpoint.create(session=session, endpoint_name=NAME, endpoint_config_name=NAME)
    boto3.client("sagemaker").get_waiter("endpoint_in_service").wait(
        EndpointName=NAME, WaiterConfig={"Delay": 1}
    )
    endpoint = Endpoint.get(NAME, session=session)
    endpoint.wait_for_status("InService", poll=1)
    response = endpoint.invoke(body=json.dumps({"seed": 1, "words": 5}), content_type="application/json")
    seen["text"] = json.loads(response.body.read())["text"]
    seen["endpoints"] = [each.endpoint_name for each in Endpoint.get_all(name_contains=NAME, session=session)]
    seen["models"] = [each.model_name for each in Model.get_all(name_contains=NAME, session=session)]
    seen["configs"] = [
        each.endpoint_config_name for each in EndpointConfig.get_all(name_contains=NAME, session=session)
    ]

    endpoint.delete()
    boto3.client("sagemaker").get_waiter("endpoint_deleted").wait(
        EndpointName=NAME, WaiterConfig={"Delay": 1}
    )
    endpoint.wait_for_delete(poll=1)
    EndpointConfig.get(NAME, session=session).delete()
    Model.get(NAME, session=session).delete()
    # The SDK gives the URL of AWS's STS explicitly. The session stays on the local cloud nevertheless.
    seen["caller"] = CoreSession(boto_session=session).get_caller_identity_arn()
    print(f"\n{json.dumps(seen)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
