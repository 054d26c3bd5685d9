"""table: consistent reads, and writes that happen only if their condition holds."""

import pytest
from botocore.exceptions import ClientError

from coordination import table as items
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory


def test_an_item_is_read_with_a_consistent_read(table: TableInMemory) -> None:
    """TableInMemory checks it for every read of the pipeline."""
    with pytest.raises(AssertionError, match="ConsistentRead"):
        table.client.get_item(TableName="tokens", Key={"resource": {"S": "dataset/sotu"}})
    assert items.get("dataset/sotu") == {}
    assert items.write("dataset/sotu", "SET #seen = :seen", {":seen": 1})
    assert items.get("dataset/sotu")["seen"] == 1


def test_a_write_whose_condition_does_not_hold_changes_nothing(table: TableInMemory) -> None:
    table.put("dataset/sotu", run="one")
    me = {":me": "two"}
    assert not items.write("dataset/sotu", "SET #other = :me", me, condition="#run = :me")
    assert table.get("dataset/sotu") == {"run": "one"}
    assert items.write("dataset/sotu", "REMOVE #run", {}, condition="attribute_exists(#run)")
    assert table.get("dataset/sotu") == {}


def test_attributes_may_have_reserved_words_and_hyphens_as_names(table: TableInMemory) -> None:
    table.put("endpoint/lexline", waiting={})
    update = "SET #owner = :x, #size = :x, #waiting.#run = :x"
    assert items.write("endpoint/lexline", update, {":x": "x"}, run="lexline--sotu")
    assert table.get("endpoint/lexline") == {"owner": "x", "size": "x", "waiting": {"lexline--sotu": "x"}}


def test_other_errors_of_a_write_are_raised(table: TableInMemory) -> None:
    with pytest.raises(ClientError, match="invalid for update"):
        items.write("endpoint/lexline", "SET #waiting.#run = :x", {":x": "x"})


def test_values_that_no_expression_mentions_are_left_out(table: TableInMemory) -> None:
    assert items.write("dataset/sotu", "SET #run = :me", {":me": "one", ":other": None})
    assert table.get("dataset/sotu") == {"run": "one"}


@pytest.mark.parametrize("moment", [0, 7, 1_772_366_400.123456, 1e-7, 4e12])
def test_a_number_is_read_as_it_was_written(table: TableInMemory, moment: float) -> None:
    items.write("x", "SET #moment = :moment", {":moment": moment})
    assert items.get("x")["moment"] == moment
    assert items.write("x", "REMOVE #moment", {":m": moment}, condition="#moment = :m")
