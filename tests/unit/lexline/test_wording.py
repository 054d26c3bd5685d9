import math

import pytest

from lexline import wording


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0.0 s"),
        (3.14, "3.1 s"),
        (9.97, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (93_784, "26 h 03 min"),
    ],
)
def test_durations(value: float, words: str) -> None:
    assert wording.seconds(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (86.68, "86.7"),
        (208.3, "208"),
        (33278.0, "33,278"),
        (math.inf, "infinite"),
        (math.nan, "not a number"),
    ],
)
def test_perplexities(value: float, words: str) -> None:
    assert wording.perplexity(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12.3 kB"), (4_500_000_000_000, "4500.0 GB")],
)
def test_sizes(value: int, words: str) -> None:
    assert wording.size(value) == words


@pytest.mark.parametrize(
    ("dollars", "words"),
    [
        (0, "$0.00"),
        (0.00001, "less than $0.0001"),
        (0.0023638, "$0.00236"),
        (0.056, "$0.056"),
        (0.5, "$0.50"),
        (0.9999, "$1.00"),
        (40.881, "$40.88"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money(dollars: float, words: str) -> None:
    assert wording.money(dollars) == words


def test_listings() -> None:
    assert wording.listing(["a"]) == "a"
    assert wording.listing(["a", "b", "c"]) == "a, b and c"
