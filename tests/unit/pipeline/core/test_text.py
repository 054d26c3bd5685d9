"""text: an invalid document is refused in words for its author, who has never heard of pydantic."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import contracts
from contracts.base import Contract
from contracts.request import ExecutionInput
from core.errors import InvalidInput
from core.text import sentence
from reporting.prices import PriceTable
from serving.probe import Generated
from steps.plan import execution_input

for module in pkgutil.iter_modules(contracts.__path__):
    importlib.import_module(f"contracts.{module.name}")

WRONG: list[Any] = [
    *([], [{}], [1], {}, {"a": {}}, {"a": []}, {"a": -1}, {1.5: 1}),
    *("", "x", "\n", "true", "inf", "2026-01-01", "2026-01-01T00:00", "x" * 5000),
    *(-1, 0, 1, 1.5, 10**30, float("inf"), float("nan"), True, None, datetime(2026, 1, 1, tzinfo=UTC)),
]
"""Each field of each contract refuses some of these."""

# The beginnings of pydantic's messages, and Python's names of types.
PYDANTIC = re.compile(
    r"Input should|Field required|Extra inputs|String should|List should|Dictionary|Value error|Assertion|"
    r"Invalid JSON|valid |unable to|instance of|dictionary|NoneType"
)

RUN = "lexline--sotu-0123456789ab"
REQUESTS = {
    "upload": {"upload": {"bucket": "texts", "key": "uploads/sotu/1.txt", "etag": "9b2cf535", "size": 1}},
    "model": {"model": "previous"},
    "teardown_of": {"teardown_of": {"run": RUN}},
    "cleanup_of": {"cleanup_of": {"run": RUN, "execution": "arn", "status": "FAILED"}},
    "source": {"dataset": "sotu", "source": {"repo": "https://example.org/scripts.git"}},
}
"""Valid requests, by a field with a part that must be there. All others take `{"dataset": "sotu"}`."""


def subclasses(contract: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in contract.__subclasses__():
        if not each.__module__.startswith("tests."):
            yield each
        yield from subclasses(each)


@pytest.mark.parametrize("contract", [*subclasses(Contract), Generated], ids=lambda each: each.__name__)
def test_no_message_is_pydantics(contract: type[BaseModel]) -> None:
    """Every field of every contract, with every wrong value; and with no fields, and an unknown one."""
    documents = [{name: wrong} for name in contract.model_fields for wrong in WRONG]
    refused = set()
    for document in [*documents, {}, {"unknown": 1}, *WRONG]:
        try:
            contract.model_validate(document)
        except ValidationError as error:
            said = sentence(error, contract)
            for problem in error.errors():
                refused.update(problem["loc"][:1])
                assert problem["type"] == "value_error" or problem["msg"] not in said
                assert str(problem["loc"][0]) in said if problem["loc"] else said
            assert not PYDANTIC.search(re.sub(r"\(given: .*?\)", "", said)), said
    assert refused >= contract.model_fields.keys()


def paths(contract: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every field of a request."""
    for name, field in contract.model_fields.items():
        yield (*path, name)
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, Contract) and name != "teardown":
                yield from paths(kind, (*path, name))


def refusal(path: tuple[str, ...], value: Any) -> str:
    """Return the error of a request that is valid but for the value of one field, or an empty string."""
    request: dict[str, Any] = {**REQUESTS.get(path[0], {"dataset": "sotu"})}
    place = request
    for part in path[:-1]:
        place[part] = dict(place.get(part, {}))
        place = place[part]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    try:
        execution_input(request, {})
    except InvalidInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", list(paths(ExecutionInput)), ids=".".join)
def test_each_field_of_a_request_is_named_by_its_path(path: tuple[str, ...]) -> None:
    field = ".".join(path)
    assert refusal(path, [[]]).startswith(f"{field}: ")
    near = refusal((*path[:-1], f"{path[-1]}x"), 1)
    assert f"{field}x: is not a field here; did you mean {path[-1]}? (given: 1)" in near
    if path[-1] in REQUESTS.get(path[0], {}).get(path[0], {}) and refusal(path, ...):
        assert refusal(path, ...) == f"{field}: is missing"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("hyperparameters.epochs", 0, "must be at least 1 (given: 0)"),
        ("hyperparameters.epochs", "many", "must be an integer (given: 'many')"),
        ("hyperparameters.epochs", 1.5, "must be an integer (given: 1.5)"),
        ("hyperparameters.lr", 0, "must be greater than 0.0 (given: 0)"),
        ("hyperparameters.lr", float("inf"), "must be a finite number (given: inf)"),
        ("hyperparameters.recipe", "slow", "must be 'classic', 'fast' or 'awd' (given: 'slow')"),
        ("hyperparameters.tied", "perhaps", "must be true or false (given: 'perhaps')"),
        ("hyperparameters", 3, "must be an object (given: 3)"),
        ("training.instance_count", 65, "must be at most 64 (given: 65)"),
        ("source.repo", "", "must have a length of at least 1 (given: '')"),
        ("source.commit", "main", "must match ^[0-9a-f]{7,40}$ (given: 'main')"),
        ("force", None, "must be true or false (given: None)"),
        ("nothing_like_it", 1, "is not a field here (given: 1)"),
    ],
)
def test_a_wrong_value_is_refused_with_what_it_must_be(path: str, value: Any, message: str) -> None:
    assert refusal(tuple(path.split(".")), value) == f"{path}: {message}"


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_text_that_is_no_json_object_is_refused_in_the_same_words(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"The price table is invalid. must be (JSON|an object)"):
        PriceTable.load(text)
