"""The plan groups small objects, reads large plain texts in ranges, and says what it leaves out by name."""

import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Plan
from core import errors
from tests.unit.pipeline.archives import tarred
from tests.unit.pipeline.uploads.dataset import Files, prepared, read, tale
from uploads import planning, ranges


def names(plan: Plan) -> list[list[str]]:
    return [[each.name for each in item.objects] for item in plan.items]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "GROUP_BYTES", 1000)
    monkeypatch.setattr(planning, "GROUP_OBJECTS", 3)
    monkeypatch.setattr(ranges, "RANGE", 2000)


@pytest.mark.usefixtures("small")
def test_small_objects_are_grouped_in_the_order_of_their_keys() -> None:
    sizes = {"a": 400, "b": 500, "c": 101, "d": 1, "e": 1, "f": 1, "g": 1500, "h": 10, "i": 1001, "j": 1000}
    result = read({name: tale()[:size] for name, size in sizes.items()})
    assert names(result.plan) == [["a", "b"], ["c", "d", "e"], ["f"], ["g"], ["h"], ["i"], ["j"]]
    assert [item.object_name for item in result.plan.items] == [f"0000{number}" for number in range(7)]
    assert result.corpus().files == sorted(sizes)


@pytest.mark.usefixtures("small")
def test_a_large_plain_text_is_read_in_ranges_and_nothing_else() -> None:
    text = tale(400)
    result = read({
        "a.txt": text,
        "b.txt.gz": gzip.compress(text.encode(), 0),
        "c.txt": text.encode("utf-16"),
        "d.tar": tarred({"d.txt": text.encode()}),
        "e.jsonl": f'{{"text": "{"word " * 40}"}}\n' * 50,
        "f.txt": "Käse".encode("cp1252") * 1000,
    })  # fmt: skip
    ranged = {item.objects[0].name: item.end for item in result.plan.items if item.end}
    assert set(ranged) == {"a.txt", "e.jsonl"}
    assert ranged["a.txt"] == len(text.encode())
    first = [(item.first, item.end) for item in result.plan.items if item.objects[0].name == "a.txt"]
    assert [begin for begin, _ in first] == list(range(0, len(text.encode()), 2000))
    corpus = result.corpus()
    assert corpus.files == ["a.txt", "b.txt.gz", "c.txt", "d.tar/d.txt", "e.jsonl"]
    lines = [file.lines for file in corpus.manifest.files]
    assert lines == [400, 400, 400, 400, 50]
    assert list(corpus.left_out) == ["f.txt"]


def test_an_item_fits_into_the_input_of_a_state() -> None:
    files = {f"{number:03}" + "é" * 400: b"x" for number in range(500)}
    plan = read({**files, "z": tale()}).plan
    assert sum(map(len, names(plan))) == 501
    assert all(len(json.dumps(item.model_dump())) < 100_000 for item in plan.items)


MARKERS = [
    "_SUCCESS", "_committed_123", "_started_123", "_metadata", "md5sums.txt", "MD5SUMS", "SHA256SUMS",
    "sha256sum.txt", "checksums.md5", "checksum", "a.txt.sha256", "part-0.md5", ".part-0.crc",
    "manifest.json", "MANIFEST", "manifest-md5.txt", "filelist.txt", "file-list",
]  # fmt: skip
INCIDENTAL = [
    "README.md", "a/readme.txt", "License-CC-BY.txt", "COPYING", ".git/config", "__MACOSX/a.txt", "a/.a.txt",
    "Thumbs.db",
]  # fmt: skip
ORDINARY = [
    "manifesto.txt", "The-Communist-Manifesto.txt", "_poem.txt", "summary.txt", "sums.txt", "checkers.txt",
    "noticeable.txt", "my-readme.txt", "readme2", "metadata.txt", "success", "a.b.txt", "md5.txt",
]  # fmt: skip


@pytest.mark.parametrize("name", [*MARKERS, *INCIDENTAL])
def test_what_comes_with_a_corpus_is_left_out_and_said(name: str) -> None:
    corpus = prepared({name: "Some words.\n" * 20, "part-00000.txt": tale()})
    assert corpus.files == ["part-00000.txt"]
    (reason,) = corpus.left_out.values()
    assert "Rename it" in reason
    with pytest.raises(errors.DatasetEmpty, match=re.escape(f"{name}: {reason}")):
        read({name: "Some words.\n" * 20})


@pytest.mark.parametrize(
    "name",
    [*ORDINARY, "two words.txt", "Τραγούδια, 歌.txt", "line\nbreak.txt", '"}, "x": "y".txt', "x" * 1000],
)
def test_an_object_may_have_any_other_name(name: str) -> None:
    assert prepared({name: tale()}).files == [name]


def test_empty_objects_are_left_out_and_folders_are_not_files() -> None:
    corpus = prepared({"a/": "", "a/b.txt": tale(), "a/empty.txt": "", "odd/": "text"})
    assert corpus.files == ["a/b.txt"]
    assert corpus.left_out == {
        "a/empty.txt": "It is empty. Upload it with its text.",
        "odd/": "Its name ends with a slash, as that of a folder does. Upload it under another name.",
    }


def test_a_dataset_without_an_object_is_not_found() -> None:
    with pytest.raises(errors.DatasetNotFound, match="no object under s3://bucket/uploads/tales/"):
        read({})


def test_a_dataset_of_empty_objects_is_empty() -> None:
    with pytest.raises(errors.DatasetEmpty, match=r"a\.txt: It is empty.*b\.txt: It is empty"):
        read({"a.txt": "", "b.txt": ""})


def test_the_error_for_many_files_stays_short() -> None:
    files: Files = {f"{'long' * 200}{number}": "" for number in range(2000)}
    with pytest.raises(errors.DatasetEmpty, match=r"1,995 more files were left out") as failure:
        read(files)
    assert len(str(failure.value)) < 5000


# --- ranges


LINES = st.lists(
    st.text(st.sampled_from("ab é王😀.\t\u3000"), max_size=30) | st.just("A sentence. Another one! "),
    max_size=40,
)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r", "\u2028", "\x85"]), st.integers(1, 300), st.booleans())
def test_ranges_of_any_size_give_the_text_of_one_piece(
    lines: list[str], end: str, size: int, has_mark: bool
) -> None:
    text = ("\ufeff" if has_mark else "") + "".join(line + end for line in lines)
    expected = in_one_piece(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "GROUP_BYTES", 0)
        patch.setattr(ranges, "RANGE", size)
        assert text_of({"a.txt": text}) == expected


@given(
    st.lists(st.sampled_from(["word", "A sentence. ", "王様です。", " ", "x" * 50, "\n"]), max_size=80),
    st.integers(1, 100),
    st.integers(4, 40),
)
def test_ranges_of_a_text_without_line_ends_lose_nothing(parts: list[str], size: int, window: int) -> None:
    """Where no line end is near, a range ends at a sentence, a space or a character."""
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "GROUP_BYTES", 0)
        patch.setattr(ranges, "RANGE", size)
        patch.setattr(ranges, "WINDOW", window)
        found = text_of({"a.txt": text})
    assert re.sub(r"\s", "", found) == re.sub(r"\s", "", text)
    if window == 40 and size > 60:
        assert found.split() == text.split()


@given(st.lists(st.text(st.sampled_from('ab é\n\r\u2028\\"'), max_size=20), max_size=30), st.integers(1, 200))
def test_ranges_of_json_lines_give_the_same_texts(texts: list[str], size: int) -> None:
    records = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    expected = in_one_piece(records, "a.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "GROUP_BYTES", 0)
        patch.setattr(ranges, "RANGE", size)
        assert text_of({"a.jsonl": records}) == expected


def in_one_piece(text: str, name: str = "a.txt") -> str:
    return text_of({name: text}) if text else ""


def text_of(files: Files) -> str:
    """Return all text that is read, with words or without a manifest."""
    if not any(files.values()):
        return ""
    result = read(files)
    assert not [entry for each in result.results for entry in each.left_out if "no words" not in entry.reason]
    found = ""
    for item, each in zip(result.plan.items, result.results, strict=True):
        for file in each.files:
            size = sum(part.bytes for block in file.blocks for part in block.parts)
            found += result.texts[item.object_name][file.start : file.start + size].decode()
    return found if found.strip() else ""


@pytest.mark.usefixtures("small")
def test_a_large_file_that_is_no_text_in_one_range_is_left_out_as_a_whole() -> None:
    data = tale(400).encode()
    damaged = data[:9000] + b"\xff\xfe\xfd" + data[9000:]
    corpus = prepared({"a.txt": damaged, "b.txt": tale(20)})
    assert corpus.files == ["b.txt"]
    assert "byte at 9,000" in corpus.left_out["a.txt"] or "byte 9,000" in corpus.left_out["a.txt"]


@pytest.mark.usefixtures("small")
def test_a_large_file_without_words_is_left_out() -> None:
    corpus = prepared({"a.txt": " \n" * 5000, "b.txt": tale(20)})
    assert corpus.left_out == {"a.txt": "It contains no words. Upload it with its text."}


@pytest.mark.usefixtures("small")
def test_a_line_that_is_not_json_is_found_in_a_range() -> None:
    records = f'{{"text": "{"word " * 40}"}}\n' * 50
    corpus = prepared({"a.jsonl": records[:7000] + "\n" + records[7000:], "b.txt": tale(20)})
    assert re.search(r"Line \d+ after byte \d,\d+ is not JSON", corpus.left_out["a.jsonl"])
