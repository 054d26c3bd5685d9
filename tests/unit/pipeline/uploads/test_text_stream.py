"""Text is decoded, counted and cut in the same way for all sizes of pieces."""

import hashlib
import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import DatasetNotText, DatasetNotUtf8
from uploads.splits import cut, lines_per_split
from uploads.text_stream import Tally, decoded, preview

# Characters at which pieces, lines, words and encodings are likely to break.
TEXTS = st.text(st.sampled_from("ab \t\n\r\u2028\u0085\x0c\ufeffé王😀\x1c"), max_size=60) | st.text(
    max_size=60
)
SIZES = st.integers(1, 9)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def normalised(text: str) -> str:
    """Return the text as `decoded` promises it."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text if not text or text.endswith("\n") else text + "\n"


@given(
    st.builds(str.encode, TEXTS)
    | st.binary(max_size=30)
    | st.builds(lambda a, b, c: a.encode() + b + c.encode(), TEXTS, st.binary(max_size=3), TEXTS),
    SIZES,
)
@example(b"\xef\xbb\xbf", 1)
@example(b"\xef\xbb\xbf\xef\xbb\xbf", 3)
@example(b"\xef\xbb", 1)
@example(b"a\r", 1)
@example(b"a\r\nb", 2)
@example(b"a\xe7\x8e", 1)
@example(b"\xff\0", 1)
@example(b"\0\xff", 2)
def test_text_is_decoded_or_its_first_bad_byte_is_named(data: bytes, size: int) -> None:
    text, _, _ = data.partition(b"\0")
    try:
        text.decode()
        bad = len(text) if b"\0" in data else None
    except UnicodeDecodeError as error:
        # A character that the NUL byte cuts off is reported as the NUL byte.
        cut_off = b"\0" in data and error.reason == "unexpected end of data"
        bad = len(text) if cut_off else error.start
    if bad is None:
        assert "".join(decoded(pieces(data, size), "x")) == normalised(data.decode())
        return
    with pytest.raises((DatasetNotText, DatasetNotUtf8)) as refusal:
        list(decoded(pieces(data, size), "x"))
    assert refusal.type is (DatasetNotText if data[bad : bad + 1] == b"\0" else DatasetNotUtf8)
    assert f"offset {bad}" in re.findall(r"offset \d+", str(refusal.value))


@given(st.lists(TEXTS))
def test_pieces_are_counted_as_their_whole(texts: list[str]) -> None:
    tally, whole = Tally(), "".join(texts)
    assert b"".join(tally.add(text) for text in texts) == whole.encode()
    counts = (len(whole.encode()), whole.count("\n"), len(whole.split()))
    assert (tally.bytes, tally.lines, tally.words) == counts
    assert tally.sha256 == hashlib.sha256(whole.encode()).hexdigest()


@given(st.lists(TEXTS))
def test_the_splits_put_together_are_the_corpus(texts: list[str]) -> None:
    whole = "".join(texts)
    lines = lines_per_split(whole.count("\n"))
    dealt = {"train": "", "valid": "", "test": ""}
    order = []
    for split, piece in cut(texts, lines):
        dealt[split] += piece
        order.append(split)
    assert "".join(dealt.values()) == whole
    assert order == sorted(order, key=list(dealt).index)
    assert [text.count("\n") for text in dealt.values()] == list(lines.values())
    assert all(text.endswith("\n") for text in list(dealt.values())[:2] if text)


@given(st.integers(0, 10**9))
def test_a_corpus_is_split_90_to_5_to_5(lines: int) -> None:
    split = lines_per_split(lines)
    assert sum(split.values()) == lines
    assert split["valid"] == split["test"]
    assert lines < 20 or split["valid"] == lines * 5 // 100
    assert lines < 3 or min(split.values()) >= 1


@given(TEXTS, st.integers(0, 6), st.sampled_from(["", "x" * 200, "x" * 201]))
def test_the_preview_is_the_first_five_lines_each_cut_at_200_characters(
    text: str, lines: int, long: str
) -> None:
    whole = "a\n" * lines + text + long + "\n" + text + "\n"
    expected = [line if len(line) <= 200 else f"{line[:199]}…" for line in whole.split("\n")[:-1][:5]]
    assert preview(whole) == expected


def test_the_preview_does_not_need_the_end_of_a_long_line() -> None:
    assert preview("a\n" + "x" * 201) == ["a", "x" * 199 + "…"]
