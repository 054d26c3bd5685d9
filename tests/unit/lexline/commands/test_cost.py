"""A price table is checked before it is uploaded, by the rules of the pipeline."""

import json
from pathlib import Path
from typing import Any

import pytest

from lexline.commands import price_table
from lexline.core import paths
from lexline.core.errors import UsageError
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.pipeline import InvalidInput, PriceTable

TABLE = paths.repository() / paths.PRICE_TABLE
PRICES = json.loads(TABLE.read_text())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"notes": []},
        {"date": "yesterday"},
        {"currency": "EUR"},
        {"region": "Frankfurt"},
        {"source": ""},
        {"training": {"m5.large": 0.1}},
        {"hosting": {"ml.m5.large": 0}},
        {"serverless": {"1000": 0.1}},
        {"serverless": {"2048": 0.1}},
        {"storage_per_gb_month": "free"},
        {"lambda_per_gb_second": None},
        {"unknown": 1},
    ],
)
def test_a_price_table_is_valid_here_if_it_is_valid_in_the_pipeline(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    content = json.dumps({**PRICES, **change})
    (tmp_path / "prices.json").write_text(content)
    try:
        PriceTable.load(content)
    except InvalidInput:
        with pytest.raises(UsageError, match="not a valid price table"):
            price_table.load(tmp_path / "prices.json")
    else:
        assert price_table.load(tmp_path / "prices.json")[1] == content.encode()


@pytest.fixture
def uploads(deployed: object, patch: Patch) -> list[bytes]:
    """The tables that were uploaded."""
    tables: list[bytes] = []
    patch("aws.prices.upload", lambda stack, table: tables.append(table))
    return tables


def test_a_valid_table_is_uploaded(uploads: list[bytes]) -> None:
    assert run_lexline("cost", "--prices", str(TABLE)).exit_code == 0
    assert uploads == [TABLE.read_bytes()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": None}, "  region: "),
        ({"training": {"ml.m5.large": -1}}, "training.ml.m5.large"),
        ({"hosting": {"m5.large": 1}}, "hosting.m5.large"),
        (None, "none.json cannot be read"),
    ],
)
def test_an_invalid_table_is_rejected_and_its_fields_are_named(
    uploads: list[bytes], tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    if change:
        (tmp_path / "none.json").write_text(json.dumps({**PRICES, **change}))
    result = run_lexline("cost", "--prices", str(tmp_path / "none.json"))
    assert result.exit_code == 2
    assert message in result.output
    assert uploads == []
