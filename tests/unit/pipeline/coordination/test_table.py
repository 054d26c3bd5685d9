"""table: items are read as they are now, and written only where the condition holds."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from coordination import table as items


def test_an_item_is_read_as_it_is_now_and_not_as_a_replica_has_it(table: Any) -> None:
    assert items.get("dataset/sotu") == {}
    for number in (1, 2):
        assert items.write("dataset/sotu", "SET #seen = :seen", {":seen": items.number(number)})
        assert items.seconds(items.get("dataset/sotu"), "seen") == number


def test_a_write_whose_condition_does_not_hold_changes_nothing_and_says_so(table: Any) -> None:
    table.put("dataset/sotu", run="one")
    me = {":me": {"S": "two"}}
    assert not items.write("dataset/sotu", "SET #other = :me", me, condition="#run = :me")
    assert table.get("dataset/sotu") == {"run": "one"}
    assert items.write("dataset/sotu", "REMOVE #run", {}, condition="attribute_exists(#run)")
    assert table.get("dataset/sotu") == {}


def test_an_attribute_may_have_any_name(table: Any) -> None:
    # `owner`, `status` and `size` are among DynamoDB's reserved words, and a run's name has hyphens.
    table.put("endpoint/lexline", waiting={})
    assert items.write(
        "endpoint/lexline",
        "SET #owner = :x, #size = :x, #waiting.#run = :x",
        {":x": {"S": "x"}},
        names={"run": "lexline--sotu-0123456789ab"},
    )
    assert table.get("endpoint/lexline") == {
        "owner": "x",
        "size": "x",
        "waiting": {"lexline--sotu-0123456789ab": "x"},
    }


def test_what_dynamodb_refuses_for_another_reason_is_an_error(table: Any, stubbed: Any) -> None:
    with pytest.raises(ClientError, match="invalid for update"):
        items.write("endpoint/lexline", "SET #waiting.#run = :x", {":x": {"S": "x"}})


def test_what_an_item_does_not_have_is_no_text_and_zero(table: Any) -> None:
    table.put("dataset/sotu", run="one", quiet=1.5)
    item = items.get("dataset/sotu")
    assert (items.text(item, "run"), items.text(item, "quiet"), items.text(item, "else")) == (
        "one",
        None,
        None,
    )
    assert (items.seconds(item, "quiet"), items.seconds(item, "else")) == (1.5, 0)


@pytest.mark.parametrize("moment", [0, 7, 1_772_366_400.123456, 1e-7, 4e12])
def test_a_number_comes_back_as_it_was(table: Any, moment: float) -> None:
    items.write("x", "SET #moment = :moment", {":moment": items.number(moment)})
    assert items.seconds(items.get("x"), "moment") == moment
    assert items.write("x", "REMOVE #moment", {":m": items.number(moment)}, condition="#moment = :m")
