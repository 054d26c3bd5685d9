"""Two stacks in one account: neither changes what the other one's runs have created."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lexline.aws import deletion, target
from lexline.aws.stack import read
from localcloud.control import LocalCloud
from tests.faults.pipeline import Pipeline
from tests.stack import TINY, deploy

NAMES = ("poems", "poems-two")
KINDS = {
    "list_endpoints": ("Endpoints", "EndpointName"),
    "list_endpoint_configs": ("EndpointConfigs", "EndpointConfigName"),
    "list_models": ("Models", "ModelName"),
    "list_training_jobs": ("TrainingJobSummaries", "TrainingJobName"),
}


@pytest.fixture
def stacks(cloud: LocalCloud, pipeline: Pipeline) -> Iterator[list[Pipeline]]:
    """Two further stacks beside `lexline`; the name of one begins with the other's name."""
    yield [Pipeline(deploy(cloud, {**TINY, "QuietSeconds": "0.05"}, name), pipeline.faults) for name in NAMES]
    for name in set(NAMES) & set(deletion.stack_names(target.for_cloud(cloud, "any"))):
        delete(cloud, name)


def delete(cloud: LocalCloud, name: str) -> None:
    deletion.delete_all(read(target.for_cloud(cloud, name)), lambda line: None)


def possessions(pipeline: Pipeline) -> dict[str, Any]:
    """Everything that the stack's runs have created, and the stack's table."""
    sagemaker, name = pipeline.sagemaker, pipeline.endpoint
    found: dict[str, Any] = {}
    for operation, (field, key) in KINDS.items():
        listed = getattr(sagemaker, operation)(MaxResults=100)[field]
        found[field] = sorted(each[key] for each in listed if f"{each[key]}--".startswith(f"{name}--"))
    packages = sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
    versions = pipeline.client("s3").list_object_versions(Bucket=pipeline.stack.bucket)["Versions"]
    items = pipeline.client("dynamodb").scan(TableName=pipeline.stack.outputs["TableName"])["Items"]
    return {
        **found,
        "endpoint": sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"],
        "packages": sorted(each["ModelPackageArn"] for each in packages),
        "objects": sorted((each["Key"], each["VersionId"]) for each in versions),
        "items": sorted(map(str, items)),
    }


@pytest.mark.slow
def test_two_stacks_run_at_the_same_time_and_one_is_deleted(
    cloud: LocalCloud, stacks: list[Pipeline]
) -> None:
    for version in range(2):
        for each in stacks:
            each.upload("sotu", version)
        for each in stacks:
            each.wait_for_executions(version + 1)
        for each in stacks:
            each.wait_for_rest()
    for each in stacks:
        assert each.statuses() == ["Succeeded", "Succeeded"]
        assert each.endpoint == each.stack.name
        swept = each.sweep()
        assert (swept["orphans"], swept["foreign"], swept["started"]) == ([], [], [])
    deleted, kept = stacks
    before, model = possessions(kept), kept.serving_model()
    assert all(before.values())
    assert model
    assert model.startswith("poems-two--")
    delete(cloud, deleted.stack.name)
    assert possessions(kept) == before
    assert kept.serving_model() == model
    left = [each for each in kept.orphans() if f"/{deleted.endpoint}--" in each]
    assert left == []
    kept.run_upload("sotu", 2)
    assert kept.statuses() == ["Succeeded"] * 3


@pytest.mark.parametrize("owner", ["arn:aws:cloudformation:us-east-1:000000000000:stack/poems/1", None])
def test_a_run_changes_no_endpoint_of_another_stack(pipeline: Pipeline, owner: str | None) -> None:
    """The error has the command that makes the resources the stack's own, if an earlier version made them."""
    pipeline.serve_first_model()
    pipeline.faults.event("upload", "lost")
    pipeline.upload("second", 1)
    request, sagemaker = {"dataset": "second"}, pipeline.sagemaker
    before, jobs = sagemaker.describe_endpoint(EndpointName=pipeline.endpoint), pipeline.jobs()
    config = (
        before["EndpointArn"]
        .replace(":endpoint/", ":endpoint-config/")
        .replace(f"/{pipeline.endpoint}", f"/{before['EndpointConfigName']}")
    )
    for arn in (before["EndpointArn"], config):
        if owner:
            sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "lexline:stack", "Value": owner}])
        else:
            sagemaker.delete_tags(ResourceArn=arn, TagKeys=["lexline:stack"])
    failed = pipeline.run(request)
    assert failed["error"] == "NotOwned"
    assert pipeline.jobs() == jobs
    after = sagemaker.describe_endpoint(EndpointName=pipeline.endpoint)
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
    if owner:
        assert f"endpoint/{pipeline.endpoint} belongs to the stack poems ({owner})" in failed["cause"]
        return
    commands = re.findall(
        r"`aws sagemaker add-tags --resource-arn (\S+) --tags Key=(\S+),Value=(\S+)`", failed["cause"]
    )
    assert [arn for arn, _, _ in commands] == [before["EndpointArn"], config]
    for arn, key, value in commands:
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": key, "Value": value}])
    assert pipeline.run(request)["output"]["status"] == "Succeeded"
