"""Tags of every kind of resource."""

from tests.unit.localcloud.conftest import ARN, Cloud, eventually, model_request, refusal


def test_tags_are_added_overwritten_and_removed(cloud: Cloud) -> None:
    cloud.sagemaker.create_model(**model_request("m", Tags=[{"Key": "a", "Value": "1"}]))
    arn, tags = f"{ARN}:model/m", [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]
    assert cloud.sagemaker.add_tags(ResourceArn=arn, Tags=tags)["Tags"] == tags
    cloud.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "never there"])
    assert cloud.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "3"}]


def test_every_kind_of_resource_has_tags_and_they_are_deleted_with_it(cloud: Cloud) -> None:
    def create() -> None:
        cloud.endpoint("lexline", "first")
        cloud.sagemaker.create_model_package_group(ModelPackageGroupName="sotu")

    create()
    cloud.train("job")
    tags = [{"Key": "a", "Value": "1"}]
    deletable = ("model/first", "endpoint-config/first", "endpoint/lexline", "model-package-group/sotu")
    for resource in (*deletable, "training-job/job"):
        cloud.sagemaker.add_tags(ResourceArn=f"{ARN}:{resource}", Tags=tags)
        assert cloud.sagemaker.list_tags(ResourceArn=f"{ARN}:{resource}")["Tags"] == tags
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    eventually(lambda: cloud.sagemaker.list_endpoints()["Endpoints"] == [])
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="first")
    cloud.sagemaker.delete_model(ModelName="first")
    cloud.sagemaker.delete_model_package_group(ModelPackageGroupName="sotu")
    create()
    for resource in deletable:
        assert cloud.sagemaker.list_tags(ResourceArn=f"{ARN}:{resource}")["Tags"] == []


def test_tags_have_rules(cloud: Cloud) -> None:
    cloud.model("m")
    add, arn = cloud.sagemaker.add_tags, f"{ARN}:model/m"
    same = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    assert "Duplicate tag keys" in refusal(add, ResourceArn=arn, Tags=same)
    assert "aws: prefixed" in refusal(add, ResourceArn=arn, Tags=[{"Key": "aws:mine", "Value": "1"}])
    add(ResourceArn=arn, Tags=[{"Key": str(index), "Value": ""} for index in range(50)])
    one_more = [{"Key": "more", "Value": ""}]
    assert "limit of 50" in refusal(add, "ResourceLimitExceeded", ResourceArn=arn, Tags=one_more)
    unknown = f"{ARN}:model/nobody"
    assert refusal(add, ResourceArn=unknown, Tags=one_more) == f'Could not find resource "{unknown}".'
