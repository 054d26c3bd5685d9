"""List operations: filters, order, pages."""

from typing import Any

import pytest

from localcloud.sagemaker.core.context import now
from tests.unit.localcloud.conftest import Cloud, eventually, refusal


@pytest.fixture
def jobs(cloud: Cloud) -> Any:
    """Jobs a-0 .. a-11 and other, a-3 failed, a-5 completed; each created in a millisecond of its own."""
    for index in range(12):
        run = cloud.train(f"a-{index}")
        if index == 3:
            run.finish("Failed", reason="x")
        if index == 5:
            run.finish()
        next_millisecond()
    cloud.train("other")
    return cloud.sagemaker


def next_millisecond() -> None:
    before = now()
    eventually(lambda: now() > before)


def names(response: dict[str, Any]) -> list[str]:
    return [job["TrainingJobName"] for job in response["TrainingJobSummaries"]]


def test_a_page_has_ten_in_order_of_creation_and_the_token_gives_the_rest(jobs: Any) -> None:
    first = jobs.list_training_jobs()
    assert names(first) == [f"a-{index}" for index in range(10)]
    second = jobs.list_training_jobs(NextToken=first["NextToken"])
    assert names(second) == ["a-10", "a-11", "other"]
    assert "NextToken" not in second


def test_paginators_see_each_once(jobs: Any) -> None:
    pages = jobs.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 4})
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [4, 4, 4, 1]


def test_filters(jobs: Any) -> None:
    assert names(jobs.list_training_jobs(NameContains="OTHER")) == ["other"]
    assert names(jobs.list_training_jobs(StatusEquals="Failed")) == ["a-3"]
    assert names(jobs.list_training_jobs(StatusEquals="Completed", NameContains="a-")) == ["a-5"]
    moment = jobs.describe_training_job(TrainingJobName="a-10")["CreationTime"]
    assert names(jobs.list_training_jobs(CreationTimeAfter=moment)) == ["a-11", "other"]
    before = jobs.list_training_jobs(CreationTimeBefore=moment, SortOrder="Descending")
    assert names(before)[:2] == ["a-9", "a-8"]


def test_orders(jobs: Any) -> None:
    assert names(jobs.list_training_jobs(SortBy="Name", MaxResults=3)) == ["a-0", "a-1", "a-10"]
    newest = jobs.list_training_jobs(SortBy="CreationTime", SortOrder="Descending", MaxResults=2)
    assert names(newest) == ["other", "a-11"]
    following = {"SortBy": "CreationTime", "SortOrder": "Descending", "NextToken": newest["NextToken"]}
    assert names(jobs.list_training_jobs(**following))[0] == "a-10"
    assert names(jobs.list_training_jobs(SortBy="Status", MaxResults=2)) == ["a-5", "a-3"]


def test_a_summary_has_the_times_and_the_status(jobs: Any) -> None:
    (summary,) = jobs.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
    assert summary["TrainingJobArn"].endswith(":training-job/a-5")
    assert summary["TrainingJobStatus"] == "Completed"
    assert summary["CreationTime"] <= summary["TrainingEndTime"] <= summary["LastModifiedTime"]


@pytest.mark.parametrize("token", ["nonsense", "bm9uc2Vuc2U=", "WzEsIDJd"])
def test_an_unknown_token_is_refused(cloud: Cloud, token: str) -> None:
    assert "Invalid NextToken" in refusal(cloud.sagemaker.list_training_jobs, NextToken=token)


def test_a_deletion_between_two_pages_hides_nothing(cloud: Cloud) -> None:
    for name in "abcd":
        cloud.model(name)
    first = cloud.sagemaker.list_models(SortBy="Name", SortOrder="Ascending", MaxResults=2)
    cloud.sagemaker.delete_model(ModelName="b")
    second = cloud.sagemaker.list_models(SortBy="Name", SortOrder="Ascending", NextToken=first["NextToken"])
    assert [model["ModelName"] for model in second["Models"]] == ["c", "d"]


def test_models_configs_and_endpoints_are_listed_newest_first(cloud: Cloud) -> None:
    for name in ("one", "two"):
        cloud.endpoint(name, f"config-{name}")
    described = cloud.sagemaker.list_endpoints()["Endpoints"]
    assert {item["EndpointStatus"] for item in described} == {"InService"}
    assert [item["EndpointName"] for item in described] == ["two", "one"]
    models = [item["ModelName"] for item in cloud.sagemaker.list_models()["Models"]]
    assert models == ["config-two", "config-one"]
    configs = cloud.sagemaker.list_endpoint_configs(NameContains="two")["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in configs] == ["config-two"]
    assert cloud.sagemaker.list_endpoints(StatusEquals="Failed")["Endpoints"] == []
