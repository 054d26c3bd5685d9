"""dataset: AssembleDataset returns either data or a reason why there is none."""

import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.dataset import NotPrepared, Prepared, PrepareOutcome
from tests.unit.pipeline.documents import Documents

PREPARE_OUTCOME: TypeAdapter[Prepared | NotPrepared] = TypeAdapter(PrepareOutcome)


def test_the_outcome_tells_the_two_apart(documents: Documents) -> None:
    assert isinstance(PREPARE_OUTCOME.validate_python(documents.prepared), Prepared)
    no_data = {"outcome": "waiting", "dataset": "sotu", "reason": "valid.txt and test.txt are missing."}
    assert PREPARE_OUTCOME.validate_python(no_data).outcome == "waiting"
    for other in ("prepared", "seen"):
        with pytest.raises(ValidationError):
            PREPARE_OUTCOME.validate_python({**no_data, "outcome": other})
