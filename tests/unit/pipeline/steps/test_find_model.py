"""find_model: a registered model is deployed by its run, its version, or as the one that served before."""

from typing import Any

import pytest

from contracts.registry import Registered
from core.errors import ModelNotFound, ModelRejected
from registry import model_packages
from steps import find_model

NAME = "lexline--sotu-0123456789ab"
FORMER = "lexline--sotu-aaaaaaaaaaaa"


@pytest.fixture
def registers(monkeypatch: pytest.MonkeyPatch, documents: Any) -> list[tuple[str, str]]:
    """What was looked for in the registry, group and name; it finds the documents' model."""
    asked: list[tuple[str, str]] = []

    def find(group: str, wanted: str) -> Registered:
        asked.append((group, wanted))
        return Registered.model_validate(documents.registered)

    monkeypatch.setattr(model_packages, "find", find)
    return asked


def found(documents: Any, context: Any, model: str) -> Any:
    documents.run |= {"work": "deploy", "dataset": None, "model": model}
    return find_model.handler({"run": documents.run}, context)


@pytest.mark.parametrize("model", [FORMER, "17"])
def test_a_model_is_looked_up_in_the_endpoints_group(
    stubbed: Any, documents: Any, context: Any, registers: list[Any], model: str
) -> None:
    assert found(documents, context, model) == documents.registered
    assert registers == [("lexline", model)]


def test_previous_is_the_model_that_served_before_the_one_that_serves(
    stubbed: Any, described: Any, documents: Any, context: Any, registers: list[Any]
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(), EndpointName="lexline")
    stubbed.answers(
        "sagemaker",
        "list_tags",
        described.tags(run=NAME, model=NAME, previous="lexline-deploy-1", previous_model=FORMER),
        ResourceArn=f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{NAME}",
    )
    found(documents, context, "previous")
    assert registers == [("lexline", FORMER)]


@pytest.mark.parametrize("tags", [{}, {"previous": ""}, {"previous_model": ""}])
def test_where_nothing_served_before_there_is_nothing_to_go_back_to(
    stubbed: Any, described: Any, documents: Any, context: Any, registers: list[Any], tags: dict[str, str]
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint())
    stubbed.answers("sagemaker", "list_tags", described.tags(**tags))
    with pytest.raises(ModelNotFound, match=r"served nothing before what it serves now\. `lexline models`"):
        found(documents, context, "previous")
    assert registers == []


def test_where_nothing_serves_there_is_nothing_to_go_back_to(
    stubbed: Any, documents: Any, context: Any, registers: list[Any]
) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", "ValidationException", "Could not find endpoint")
    with pytest.raises(ModelNotFound):
        found(documents, context, "previous")


def test_a_refused_model_is_deployed_only_with_force(
    stubbed: Any, documents: Any, context: Any, registers: list[Any]
) -> None:
    documents.registered["approved"] = False
    with pytest.raises(ModelRejected, match=rf'Model {NAME} was refused.*"force": true'):
        found(documents, context, NAME)
    documents.run["force"] = True
    assert found(documents, context, NAME) == documents.registered


def test_a_model_that_is_not_registered_ends_the_run_with_a_sentence(
    stubbed: Any, documents: Any, context: Any
) -> None:
    stubbed.answers("sagemaker", "list_model_packages", {"ModelPackageSummaryList": []})
    with pytest.raises(ModelNotFound, match="No model 17 is registered in lexline"):
        found(documents, context, "17")
