import math
from collections.abc import Callable
from typing import Any

import pytest

from lexline.display import formatting


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formatting.duration, 0, "0.0 s"),
        (formatting.duration, 3.14, "3.1 s"),
        (formatting.duration, 9.97, "10 s"),
        (formatting.duration, 59.6, "1 min 00 s"),
        (formatting.duration, 185, "3 min 05 s"),
        (formatting.duration, 3600, "1 h 00 min"),
        (formatting.duration, 93_784, "26 h 03 min"),
        (formatting.perplexity, 86.68, "86.7"),
        (formatting.perplexity, 208.3, "208"),
        (formatting.perplexity, 33278.0, "33,278"),
        (formatting.perplexity, math.inf, "infinite"),
        (formatting.perplexity, math.nan, "not a number"),
        (formatting.size, 0, "0 bytes"),
        (formatting.size, 999, "999 bytes"),
        (formatting.size, 1000, "1.0 kB"),
        (formatting.size, 12_345, "12.3 kB"),
        (formatting.size, 4_500_000, "4.5 MB"),
        (formatting.size, 4_500_000_000_000, "4500.0 GB"),
        (formatting.money, 0, "$0.00"),
        (formatting.money, 0.00001, "less than $0.0001"),
        (formatting.money, 0.0023638, "$0.00236"),
        (formatting.money, 0.056, "$0.056"),
        (formatting.money, 0.5, "$0.50"),
        (formatting.money, 0.9999, "$1.00"),
        (formatting.money, 40.881, "$40.88"),
        (formatting.money, 1234.5, "$1,234.50"),
        (formatting.listing, ["a"], "a"),
        (formatting.listing, ["a", "b", "c"], "a, b and c"),
        (formatting.sentence, "It works", "It works."),
        (formatting.sentence, "It works!", "It works!"),
    ],
)
def test_values_are_formatted_for_people(function: Callable[[Any], str], value: object, text: str) -> None:
    assert function(value) == text
