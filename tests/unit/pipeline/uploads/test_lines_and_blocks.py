"""Text becomes lines and blocks in the same way for all sizes of pieces, and nothing of it is lost."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import DatasetNotText, DatasetNotUtf8
from tests.unit.pipeline.uploads.dataset import prepared, tale
from uploads import blocks, text_lines
from uploads.blocks import measured
from uploads.encodings import Guesses, encoding_of

# Characters at which pieces, lines, words and encodings are likely to break.
TEXTS = st.text(
    st.sampled_from("ab. \t\n\r\u2028\u2029\u0085\x0b\x0c\ufeffé王。😀\x1c\xa0\u3000\u0301"), max_size=60
) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
SIZES = st.integers(1, 9)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def decoded(data: bytes, size: int) -> str:
    encoding = encoding_of(data, is_whole=True)
    return b"".join(text_lines.decoded(pieces(data, size), encoding, Guesses())).decode()


def first_bad_byte(data: bytes) -> int | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def as_lines(text: str, size: int) -> str:
    """Return the text's lines, read in pieces of a number of characters."""
    chunks = (text[start : start + size].encode() for start in range(0, len(text), size))
    found = list(text_lines.lines(chunks))
    assert all(piece.endswith(b"\n") for piece in found)
    return b"".join(found).decode()


def with_lf(text: str) -> str:
    text = re.sub("\r\n|[\r\v\f\x85\u2028\u2029]", "\n", text)
    return text if not text or text.endswith("\n") else text + "\n"


@given(
    st.builds(str.encode, TEXTS)
    | st.binary(max_size=30)
    | st.builds(lambda a, b, c: a.encode() + b + c.encode(), TEXTS, st.binary(max_size=3), TEXTS),
    SIZES,
)
@example(b"\xef\xbb\xbf", 1)
@example(b"\xef\xbb\xbf\xef\xbb\xbf", 3)
@example(b"a\xe7\x8e", 1)
@example(b"\xff\0", 1)
@example(b"\0\xff", 2)
def test_utf_8_is_decoded_or_its_first_bad_byte_is_named(data: bytes, size: int) -> None:
    if encoding_of(data, is_whole=True).codec != "utf-8":
        return
    bad = first_bad_byte(data)
    if bad is not None:
        with pytest.raises((DatasetNotUtf8, DatasetNotText)) as refusal:
            decoded(data, size)
        offsets = re.findall(r"\d+", str(refusal.value).replace("UTF-8", ""))
        assert str(bad) in offsets or (b"\0" in data and str(data.index(0)) in offsets)
        return
    whole = data.decode().removeprefix("\ufeff")
    if "\0" in whole:
        with pytest.raises(DatasetNotText, match=rf"near byte {data.index(0)}\b"):
            decoded(data, size)
        return
    assert decoded(data, size) == whole


@given(TEXTS, SIZES)
@example("a\r\nb", 2)
@example("a\r", 1)
def test_every_line_end_becomes_lf(text: str, size: int) -> None:
    assert as_lines(text, size) == with_lf(text)


LONG = st.lists(
    st.sampled_from(
        [
            "word",
            "Mr.",
            "end.",
            'said."',
            "王様は",
            "です。",
            "」",
            " ",
            " ",
            "\t",
            "\u3000",
            "é\u0301",
            "\n",
            "x" * 25,
        ]
    ),
    max_size=60,
).map("".join)


@given(LONG, SIZES, st.integers(5, 40))
def test_long_lines_are_cut_and_only_white_space_is_replaced(text: str, size: int, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "LONGEST_LINE", longest)
        cut = as_lines(text, size)
        assert cut == as_lines(text, 10_000)
    assert all(len(line) <= longest for line in cut.split("\n"))
    assert re.sub(r"\s", "", cut) == re.sub(r"\s", "", text)
    # A line that is short enough stays as it is.
    for line in text.split("\n"):
        assert len(line) > longest or line in cut.split("\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One two. Three four. Five", ["One two. Three four.", "Five"]),
        ('He said "no." Then he left', ['He said "no."', "Then he left"]),
        ("one two three four five six", ["one two three four", "five six"]),
        ("今日は天気。がいいですね。東京の学生は本を読", ["今日は天気。がいいですね。", "東京の学生は本を読"]),  # noqa: E501
        ("x" * 20, ["x" * 20]),
        ("x" * 21, ["x" * 20, "x"]),
        ("x" * 19 + "e\u0301\u0302" + "x" * 5, ["x" * 19, "e\u0301\u0302" + "x" * 5]),
        ("1234567890 23456789. x", ["1234567890 23456789.", "x"]),
    ],
)  # fmt: skip
def test_a_long_line_is_cut_at_a_sentence_end_else_at_a_space(
    text: str, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "LONGEST_LINE", 20)
    assert as_lines(text, 7).splitlines() == lines


@given(TEXTS)
def test_sizes_are_counted_as_python_counts_them(text: str) -> None:
    lines = with_lf(text.replace("\x1c", " \x1c")).encode()
    size = measured(lines)
    split = lines.decode().split("\n")[:-1]
    assert size == blocks.Measured(
        lines=len(split),
        filled=sum(bool(line.strip()) for line in split),
        words=len(lines.decode().split()),
        bytes=len(lines),
    )


LINES = st.lists(st.sampled_from(["", " ", "a", "two words", "王様 は", "\u3000", "x" * 40]), max_size=80)


@given(LINES, st.integers(1, 50), st.integers(20, 200))
def test_blocks_are_the_text_and_do_not_depend_on_pieces(lines: list[str], size: int, largest: int) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()

    def in_blocks(number: int) -> list[tuple[str, list[tuple[int, int, int]], bytes]]:
        groups = (lines[at : at + number] for at in range(0, len(lines), number))
        whole = text_lines.lines("".join(f"{line}\n" for line in group).encode() for group in groups)
        found = []
        for block in blocks.blocks(whole):
            finished = block.finished()
            sizes = [(part.lines, part.words, part.bytes) for part in finished.parts]
            found.append((finished.sha256, sizes, b"".join(block.pieces)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", largest)
        found = in_blocks(size)
        assert found == in_blocks(1000)
    assert b"".join(content for _, _, content in found) == text
    for number, (_, sizes, content) in enumerate(found):
        assert len(content) >= largest or number == len(found) - 1
        filled = [line for line in content.decode().split("\n") if line.strip()]
        assert len(sizes) == (3 if len(filled) >= blocks.ENOUGH_LINES else 1)
        place = 0
        words = []
        for count, number_of_words, length in sizes:
            part = content[place : place + length].decode()
            place += length
            assert (count, number_of_words) == (part.count("\n"), len(part.split()))
            words.append(sum(bool(line.strip()) for line in part.split("\n")))
        assert place == len(content)
        if len(sizes) == 3:
            held_out = max(1, len(filled) * 5 // 100)
            assert words == [len(filled) - 2 * held_out, held_out, held_out]


@given(
    st.lists(
        st.sampled_from(["A sentence.", "wort", "王様です。", "\n", "No end"]), min_size=1, max_size=400
    ).map(" ".join)
)
def test_few_long_lines_are_cut_at_sentences_or_words(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "ENOUGH_CHARACTERS", 100)
        lines = as_lines(text, 1000)
        (block,) = blocks.blocks([lines.encode()])
        parts = block.finished().parts
    content = b"".join(block.pieces).decode()
    assert re.sub(r"\s", "", content) == re.sub(r"\s", "", text)
    assert content.endswith("\n")
    assert len(parts) in (1, 3)
    assert len(parts) == 1 or all(part.words for part in parts)
    assert abs(content.count("\n") - lines.count("\n")) <= 2


@pytest.mark.parametrize(
    "text",
    [
        "A sentence of five words. " * 60,
        "word " * 300,
        "今日は天気がいいですね。" * 120,
        "\n\n".join(["Nine paragraphs, and each has two sentences. Here is more of it. " * 3] * 9),
    ],
)
def test_a_text_without_enough_lines_is_split_if_it_is_long_enough(text: str) -> None:
    corpus = prepared({"a.txt": text})
    assert re.sub(r"\s", "", corpus.text) == re.sub(r"\s", "", text)
    assert all(corpus.splits.values())
    assert len(corpus.train) > 7 * len(corpus.valid)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\v", "\f"])
def test_any_line_end_divides_a_corpus_into_lines(end: str) -> None:
    corpus = prepared({"a.txt": tale().replace("\n", end)})
    assert corpus.text == tale()
    assert corpus.manifest.splits.train.lines == 180


def test_a_text_without_line_ends_is_cut_into_lines() -> None:
    text = "It was a long day. " * 10_000
    corpus = prepared({"a.txt": text})
    assert corpus.text.replace("\n", " ") == text + " "
    assert max(map(len, corpus.text.split("\n"))) <= text_lines.LONGEST_LINE
    assert corpus.manifest.splits.valid.lines == corpus.manifest.splits.test.lines == 1
