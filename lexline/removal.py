"""Takes a deployment on AWS away: what its runs made in SageMaker, what its bucket holds, and the stack.

CloudFormation knows only the stack. The endpoint, its configs and models were made by runs, and would go on
costing money without it. Only what this stack's own executions made is deleted: every name they made ends
with the execution's id, and another stack's endpoint may begin with the same letters. AWS forgets executions
after 90 days; what they made is then known by its model's artifact, which lies in the stack's bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from botocore.exceptions import ClientError, WaiterError

from lexline.errors import UserError
from lexline.runs import run_id
from lexline.target import Stack, Target

Say = Callable[[str], None]


def remove(target: Target, stack: Stack, say: Say) -> None:
    """Deletes everything. May be called again when it was interrupted."""
    executions = list(_executions(target, stack))
    _stop_runs(target, stack, executions, say)
    _delete_served(target, stack, {run_id(arn) for arn in executions}, say)
    say(f"Emptying the bucket {stack.bucket}")
    _empty(target, stack.bucket)
    delete_stack(target, say)


def delete_stack(target: Target, say: Say) -> None:
    """Deletes the stack and waits for it. Raises UserError with CloudFormation's reason when it cannot."""
    say(f"Deleting the stack {target.stack}")
    target.cloudformation.delete_stack(StackName=target.stack)
    try:
        target.cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=target.stack, WaiterConfig={"Delay": 5, "MaxAttempts": 240}
        )
    except WaiterError as error:
        events = target.cloudformation.describe_stack_events(StackName=target.stack)["StackEvents"]
        reasons = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event.get("ResourceStatus") == "DELETE_FAILED"
        ]
        raise UserError(
            "The stack could not be deleted:\n" + "\n".join(reasons), "Try `lexline down` again."
        ) from error


def _executions(target: Target, stack: Stack) -> Iterator[str]:
    pages = target.stepfunctions.get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=stack.state_machine_arn):
        for execution in page["executions"]:
            yield execution["executionArn"]


def _stop_runs(target: Target, stack: Stack, executions: list[str], say: Say) -> None:
    running = target.stepfunctions.list_executions(
        stateMachineArn=stack.state_machine_arn, statusFilter="RUNNING"
    )["executions"]
    for execution in running:
        say(f"Stopping the run {run_id(execution['executionArn'])}")
        target.stepfunctions.stop_execution(
            executionArn=execution["executionArn"], cause="lexline down removed the deployment."
        )
    ids = {run_id(arn) for arn in executions}
    pages = target.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=f"{stack.endpoint}-", StatusEquals="InProgress"
    )
    names = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    stopped = [name for name in names if _made_by(name, ids)]
    for name in stopped:
        target.sagemaker.stop_training_job(TrainingJobName=name)
    for name in stopped:
        # A job that is stopping still writes to the bucket, which must be empty in the end.
        say(f"Waiting for the training job {name} to stop")
        target.sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 240}
        )


def _delete_served(target: Target, stack: Stack, ids: set[str], say: Say) -> None:
    sagemaker = target.sagemaker
    try:
        live = sagemaker.describe_endpoint(EndpointName=stack.endpoint)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
    else:
        # A config's name is a run's name; one that another stack or a person made is not this stack's to
        # delete.
        if _is_own(target, stack, live["EndpointConfigName"], ids):
            say(f"Deleting the endpoint {stack.endpoint}")
            sagemaker.delete_endpoint(EndpointName=stack.endpoint)
            sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=stack.endpoint)
    for config_page in sagemaker.get_paginator("list_endpoint_configs").paginate(
        NameContains=f"{stack.endpoint}-"
    ):
        for config in config_page["EndpointConfigs"]:
            if _is_own(target, stack, config["EndpointConfigName"], ids):
                sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for model_page in sagemaker.get_paginator("list_models").paginate(NameContains=f"{stack.endpoint}-"):
        for model in model_page["Models"]:
            if _is_own(target, stack, model["ModelName"], ids):
                say(f"Deleting the model {model['ModelName']}")
                sagemaker.delete_model(ModelName=model["ModelName"])


def _made_by(name: str, ids: set[str]) -> bool:
    return name.rsplit("-", 1)[-1] in ids


def _is_own(target: Target, stack: Stack, name: str, ids: set[str]) -> bool:
    """Whether a run of this stack made the config and the model of this name."""
    if _made_by(name, ids):
        return True
    try:
        model = target.sagemaker.describe_model(ModelName=name)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
        return False
    artifact = model.get("PrimaryContainer", {}).get("ModelDataUrl", "")
    return artifact.startswith(f"s3://{stack.bucket}/runs/")


def _empty(target: Target, bucket: str) -> None:
    """Deletes every version of every object: CloudFormation deletes only empty buckets."""
    try:
        for page in target.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if versions:
                target.s3.delete_objects(
                    Bucket=bucket,
                    Delete={
                        "Objects": [
                            {"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions
                        ],
                        "Quiet": True,
                    },
                )
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
