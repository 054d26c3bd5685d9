"""formatting: numbers as people write them."""

import math

import pytest

from reporting.formatting import duration, money, perplexity, size

MONEY = {
    0: "$0",
    0.00003: "under $0.0001",
    0.0041: "$0.0041",
    0.010861: "$0.0109",
    0.05: "$0.05",
    0.5: "$0.50",
}
MONEY |= {0.115: "$0.115", 0.9996: "$1.00", 9.994: "$9.99", 9.996: "$10", 83.95: "$84", 18433.44: "$18,433"}
DURATIONS = {
    0.0: "0.0 s",
    0.04: "under 0.1 s",
    0.21: "0.2 s",
    9.96: "10 s",
    59.4: "59 s",
    185: "3 min 05 s",
    7830: "2 h 10 min",
}
PERPLEXITIES = {86.716: "86.72", 208.3: "208.3", 33278: "33,278", 2.5e12: "2.50e+12", math.inf: "infinite"}
PERPLEXITIES |= {math.nan: "not a number"}
SIZES = {0: "0 bytes", 999: "999 bytes", 12_345: "12.3 kB", 812_345_678: "812 MB", 2 * 10**15: "2000 TB"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((money(dollars), expected) for dollars, expected in MONEY.items()),
        *((duration(seconds), expected) for seconds, expected in DURATIONS.items()),
        *((perplexity(value), expected) for value, expected in PERPLEXITIES.items()),
        *((size(count), expected) for count, expected in SIZES.items()),
    ],
)
def test_numbers_are_written_as_people_write_them(written: str, expected: str) -> None:
    assert written == expected
