"""find_model: a registered model is deployed by its run, by its version, or as the previous one."""

from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.registry import Registered
from core.errors import ModelNotFound, ModelRejected
from registry import model_packages
from steps import find_model
from tests.unit.pipeline.documents import FORMER, NAME, Document, Documents
from tests.unit.pipeline.stubbed_aws import ExpectedCalls

Finds = Callable[[str], Document]


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch, documents: Documents) -> list[tuple[str, str]]:
    """The groups and names that were looked up in the registry, which has the documents' model."""
    calls: list[tuple[str, str]] = []

    def find(group: str, name: str) -> Registered:
        calls.append((group, name))
        return Registered.model_validate(documents.registered)

    monkeypatch.setattr(model_packages, "find", find)
    return calls


@pytest.fixture
def finds(documents: Documents, context: LambdaContext) -> Finds:
    def found(model: str) -> Document:
        documents.run |= {"work": "deploy", "dataset": None, "model": model}
        return find_model.handler({"run": documents.run}, context)

    return found


@pytest.mark.parametrize("model", [FORMER, "17"])
def test_a_model_is_looked_up_in_the_endpoints_group(
    finds: Finds, documents: Documents, looked_up: list[tuple[str, str]], model: str
) -> None:
    assert finds(model) == documents.registered
    assert looked_up == [("lexline", model)]


def test_previous_is_the_model_that_served_before_the_present_one(
    expect: ExpectedCalls, finds: Finds, looked_up: list[tuple[str, str]]
) -> None:
    expect.describe_endpoint()
    expect.list_tags(run=NAME, model=NAME, previous="lexline--deploy-1", previous_model=FORMER)
    finds("previous")
    assert looked_up == [("lexline", FORMER)]


@pytest.mark.parametrize("tags", [None, {}, {"previous": ""}, {"previous_model": ""}])
def test_previous_is_not_found_if_no_model_served_before(
    expect: ExpectedCalls, finds: Finds, looked_up: list[tuple[str, str]], tags: dict[str, str] | None
) -> None:
    if tags is None:
        expect.no_endpoint()
    else:
        expect.describe_endpoint()
        expect.list_tags(**tags)
    with pytest.raises(ModelNotFound, match=r"served no model before .*`lexline models`"):
        finds("previous")
    assert looked_up == []


@pytest.mark.usefixtures("looked_up")
def test_a_rejected_model_is_deployed_only_with_force(finds: Finds, documents: Documents) -> None:
    documents.registered["approved"] = False
    with pytest.raises(ModelRejected, match=rf'Model {NAME} was rejected.*"force": true'):
        finds(NAME)
    documents.run["force"] = True
    assert finds(NAME) == documents.registered
