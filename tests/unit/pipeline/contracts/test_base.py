"""base: what all contracts promise."""

import importlib
import json
import pkgutil
from datetime import timedelta

import pytest
from pydantic import BaseModel, ValidationError

import contracts
from contracts.base import Contract, iso8601
from contracts.dataset import Prepared
from contracts.registry import Registered
from contracts.request import TeardownAfter
from contracts.run import Execution, Lease, Run
from contracts.serving import Deployed, Finished, ModelCreated, SmokeTested
from contracts.training import Champion, Evaluated, Source, Trained
from tests.unit.pipeline.documents import Documents


def _all(contract: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for below in contract.__subclasses__() for each in (below, *_all(below))]


for _module in pkgutil.iter_modules(contracts.__path__):
    importlib.import_module(f"contracts.{_module.name}")
CONTRACTS = _all(Contract)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_contract_refuses_unknown_fields(contract: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        contract.model_validate({"surprise": 1})
    assert "surprise" in {problem["loc"][0] for problem in refused.value.errors() if problem["loc"]}


@pytest.mark.parametrize(
    ("name", "contract"),
    [
        ("execution", Execution),
        ("run", Run),
        ("lease", Lease),
        ("prepared", Prepared),
        ("source", Source),
        ("champion", Champion),
        ("trained", Trained),
        ("evaluated", Evaluated),
        ("registered", Registered),
        ("model", ModelCreated),
        ("deployed", Deployed),
        ("smoke_test", SmokeTested),
        ("finished", Finished),
    ],
)
def test_a_document_is_the_same_after_json(
    documents: Documents, name: str, contract: type[BaseModel]
) -> None:
    document = contract.model_validate(getattr(documents, name))
    assert contract.model_validate_json(document.model_dump_json()) == document


def test_infinity_and_nan_are_the_same_after_json(documents: Documents) -> None:
    documents.trained["metrics"] = {"test:perplexity": float("inf"), "valid:perplexity": float("nan")}
    text = Trained.model_validate(documents.trained).model_dump_json()
    assert json.loads(text)["metrics"] == {"test:perplexity": "Infinity", "valid:perplexity": "NaN"}
    metrics = Trained.model_validate_json(text).metrics
    assert metrics["test:perplexity"] == float("inf")
    assert metrics["valid:perplexity"] != metrics["valid:perplexity"]


@pytest.mark.parametrize("seconds", [8 * 3600, 24 * 3600 + 5, 90 * 60])
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert TeardownAfter.model_validate({"after": iso8601(duration)}).after == duration
