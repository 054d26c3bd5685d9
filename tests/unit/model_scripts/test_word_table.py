import itertools
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from word_table import WordTable, find_words

ODD_SPACES = "\t\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
NO_SPACES = "\0\x01\x84\u00a1\u180e\u200b\u2027\u20a8\u3001\ufeff"
LONG = ["x" * 15, "x" * 16, "x" * 17, "y" * 8, "é" * 8, "é" * 8 + "x", "戦場" * 40]
PARTS = [*"ab \n", "the", "é", "戦", "\U0001f600", *ODD_SPACES, *NO_SPACES, *LONG]


def texts() -> st.SearchStrategy[str]:
    return (st.lists(st.sampled_from(PARTS)).map("".join) | st.text()).map(
        lambda text: text.replace("\r", "\n")
    )


def simply_split(text: str) -> list[str]:
    """Words between white space, and each line end."""
    first, *others = text.split("\n")
    return [*first.split(), *itertools.chain.from_iterable(["\n", *line.split()] for line in others)]


def read(table: WordTable, text: str) -> list[str]:
    numbers = table.number(find_words(text.encode()))
    known = ["", "\n", *table.words(2)]
    assert len(known) == len(table)
    return [known[number] for number in numbers]


@given(st.lists(texts(), min_size=1, max_size=4))
@example(["a\0 a \0 \0\0", "a a\0\0"])
@example(["\xa0\u2028a\u3000\x85", "\u202f"])
def test_words_and_line_ends_come_back_in_their_order(blocks: list[str]) -> None:
    table = WordTable(bits=1)
    for block in blocks:
        assert read(table, block) == simply_split(block)


def test_text_is_cut_at_exactly_what_str_split_cuts_at() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    characters.remove("\r")  # which never reaches a table
    text = "a".join(characters)
    assert read(WordTable(), text) == simply_split(text)


@pytest.mark.parametrize("beginning", ["", "8 bytes:", "more than 16 bytes:"])
def test_words_keep_their_numbers_while_the_table_grows(beginning: str) -> None:
    table = WordTable(bits=1)
    words = [f"{beginning}{number * 7919 % 1_000_003}".replace(" ", "_") for number in range(20_000)]
    first = [
        table.number(find_words(" ".join(words[start : start + 900]).encode()))
        for start in range(0, 20_000, 900)
    ]
    again = table.number(find_words(" ".join(words).encode()))
    assert [number for block in first for number in block] == again.tolist()
    assert len(set(again.tolist())) == len(set(words)) == len(table) - 2


NOT_UTF_8 = [b"\xff", b"\xe2\x80", b"\xf0\xe2\x80\xa8", b"\xe2\x80\xa8\x80", b"\xed\xa0\x80", b"\xc0\x80"]


@pytest.mark.parametrize("bad", NOT_UTF_8)
@pytest.mark.parametrize("after", [b"", b" ", b"\n", b"x", b"\xe3\x80\x80", b"y" * 20])
def test_bytes_that_are_not_utf_8_are_found(bad: bytes, after: bytes) -> None:
    table = WordTable()
    with pytest.raises(UnicodeDecodeError):  # noqa: PT012
        table.number(find_words(b"good " + bad + after + b" text"))
        table.words(2)
