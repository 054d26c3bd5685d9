"""dataset: Prepare returns either data or a reason why there is none."""

import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.dataset import NotPrepared, Prepared, PrepareOutcome
from tests.unit.pipeline.documents import Documents

PREPARE_OUTCOME: TypeAdapter[Prepared | NotPrepared] = TypeAdapter(PrepareOutcome)


@pytest.mark.parametrize("outcome", ["waiting", "seen"])
def test_the_outcome_tells_the_two_apart(documents: Documents, outcome: str) -> None:
    assert isinstance(PREPARE_OUTCOME.validate_python(documents.prepared), Prepared)
    no_data = {"outcome": outcome, "dataset": "sotu", "reason": "valid.txt and test.txt are missing."}
    assert PREPARE_OUTCOME.validate_python(no_data).outcome == outcome
    for other in ("prepared", "superseded"):
        with pytest.raises(ValidationError):
            PREPARE_OUTCOME.validate_python({**no_data, "outcome": other})
