import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from lexline.display.formatting import duration, listing, money, perplexity, sentence, size

DURATIONS = {0: "0.0 s", 3.14: "3.1 s", 9.97: "10 s", 59.6: "1 min 00 s", 185: "3 min 05 s"}
DURATIONS |= {3600: "1 h 00 min", 93_784: "26 h 03 min"}
PERPLEXITIES = {
    86.68: "86.7",
    208.3: "208",
    33278.0: "33,278",
    math.inf: "infinite",
    math.nan: "not a number",
}
SIZES = {0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 12_345: "12.3 kB", 4_500_000: "4.5 MB"}
SIZES |= {4_500_000_000_000: "4500.0 GB"}
MONEY = {0: "$0.00", 0.00001: "less than $0.0001", 0.0023638: "$0.00236", 0.056: "$0.056", 0.5: "$0.50"}
MONEY |= {0.9999: "$1.00", 40.881: "$40.88", 1234.5: "$1,234.50"}


@pytest.mark.parametrize(
    ("function", "texts"),
    [
        (duration, DURATIONS),
        (perplexity, PERPLEXITIES),
        (size, SIZES),
        (money, MONEY),
        (listing, {("a",): "a", ("a", "b", "c"): "a, b and c"}),
        (sentence, {"It works": "It works.", "It works!": "It works!"}),
    ],
)
def test_values_are_formatted_for_people(function: Callable[[Any], str], texts: Mapping[Any, str]) -> None:
    assert {value: function(value) for value in texts} == texts
