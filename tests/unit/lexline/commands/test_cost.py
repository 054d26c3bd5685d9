"""A price table is checked before it is uploaded, by the rules of the pipeline."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lexline.core import paths
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.pipeline import InvalidInput, PriceTable

PRICES = json.loads((paths.repository() / paths.PRICE_TABLE).read_text())


@pytest.fixture
def uploads(deployed: object, patch: Patch) -> list[bytes]:
    """The tables that were uploaded."""
    tables: list[bytes] = []
    patch("aws.prices.upload", lambda stack, table: tables.append(table))
    return tables


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"notes": []},
        {"date": "yesterday"},
        {"currency": "EUR"},
        {"region": "Frankfurt"},
        {"region": None},
        {"source": ""},
        {"training": {"m5.large": 0.1}},
        {"training": {"ml.m5.large": -1}},
        {"hosting": {"ml.m5.large": 0}},
        {"serverless": {"1000": 0.1}},
        {"serverless": {"2048": 0.1}},
        {"storage_per_gb_month": "free"},
        {"lambda_per_gb_second": None},
        {"unknown": 1},
        {"sources": "a list"},
    ],
)
def test_a_table_is_uploaded_if_it_is_valid_in_the_pipeline_else_its_invalid_field_is_named(
    uploads: list[bytes], tmp_path: Path, change: dict[str, Any]
) -> None:
    content = json.dumps({**PRICES, **change})
    (tmp_path / "prices.json").write_text(content)
    result = run_lexline("cost", "--prices", str(tmp_path / "prices.json"))
    try:
        PriceTable.load(content)
    except InvalidInput:
        assert (result.exit_code, uploads) == (2, [])
        assert "is not a valid price table" in result.output
        assert f"\n  {next(iter(change))}" in result.output
        # pydantic's own words
        assert not re.search("should|Extra inputs|Field required", result.output)
    else:
        assert (result.exit_code, uploads) == (0, [content.encode()])


def test_a_field_that_does_not_exist_or_is_missing_is_named_in_plain_words(
    uploads: list[bytes], tmp_path: Path
) -> None:
    table = {"sources" if name == "source" else name: value for name, value in PRICES.items()}
    (tmp_path / "prices.json").write_text(json.dumps(table))
    result = run_lexline("cost", "--prices", str(tmp_path / "prices.json"))
    assert "\n  source: is missing\n" in result.output
    assert "\n  sources: is not a field here; did you mean source?\n" in result.output


def test_a_table_that_cannot_be_read_is_named(uploads: list[bytes], tmp_path: Path) -> None:
    result = run_lexline("cost", "--prices", str(tmp_path / "none.json"))
    assert (result.exit_code, uploads) == (2, [])
    assert "none.json cannot be read" in result.output
