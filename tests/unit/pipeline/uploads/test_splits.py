"""The split of a dataset: given or made, stable while the dataset grows, and nothing is lost or doubled."""

import gzip
import json
import lzma
import random
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import errors
from tests.unit.pipeline.archives import tarred, zipped
from tests.unit.pipeline.uploads.dataset import Files, prepared, read, tale
from uploads import assembly, planning, ranges
from uploads.file_names import COMPRESSED, role_of

SPLITS = ("train", "valid", "test")
SET = {"train": tale(120), "valid": tale(30), "test": tale(40)}
Bytes = dict[str, bytes]

# --- a split that is given


@pytest.mark.parametrize(
    "names",
    [
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("Train.txt", "VAL.TXT", "test.txt"),
        ("ptb.train.txt", "ptb.validation.txt", "ptb.test.txt"),
        ("a/train", "a/dev", "a/test"),
        ("training.txt", "val.txt", "testing.txt"),
        ("train.txt.gz", "valid.txt.xz", "test.txt"),
        ("train.jsonl", "valid.jsonl", "test.jsonl"),
    ],
)
def test_a_split_is_kept_whole_under_the_usual_names(names: tuple[str, str, str]) -> None:
    files = {name: packed(name, text) for name, text in zip(names, SET.values(), strict=True)}
    assert prepared(files).splits == SET
    # In an archive, and beside other texts, in any order.
    for pack in (zipped, tarred):
        inside = {
            **{f"wiki/{name}": data for name, data in files.items() if "." not in name[-3:]},
            "wiki/z.txt": b"z",
        }
        if len(inside) == 4:
            corpus = prepared({"all.archive": pack(dict(reversed(inside.items()))), "a.txt": "Other text.\n"})
            assert corpus.splits == SET
            assert set(corpus.left_out) == {"a.txt", "all.archive/wiki/z.txt"}
            assert "a split of its own: all.archive/wiki/" in corpus.left_out["a.txt"]


def packed(name: str, text: str) -> bytes:
    if name.endswith(".jsonl"):
        text = "".join(json.dumps({"text": line}) + "\n" for line in text.splitlines())
    data = text.encode()
    return (
        gzip.compress(data) if name.endswith(".gz") else lzma.compress(data) if name.endswith(".xz") else data
    )


@pytest.mark.parametrize("name", ["dog-training.txt", "turing-test.txt", "test.txt", "a/valid"])
def test_one_file_of_a_split_is_an_ordinary_text(name: str) -> None:
    assert prepared({name: tale()}).manifest.splits.train.lines == 180
    corpus = prepared({name: tale(), "essay.txt": tale(40)})
    assert sorted(corpus.files) == sorted([name, "essay.txt"])


@pytest.mark.parametrize(
    "ending",
    ["zip", "tar", "tgz", "tbz", "tbz2", "txz", "tzst", *(f"tar.{ending}" for ending in COMPRESSED)],
)
def test_an_archive_named_as_a_split_is_a_corpus_of_its_own(ending: str) -> None:
    assert role_of(f"train.{ending}") is None


@pytest.mark.parametrize("missing", SPLITS)
def test_two_of_three_are_an_error_that_names_the_third(missing: str) -> None:
    files = {f"wiki.{split}.txt": text for split, text in SET.items() if split != missing}
    for others in ({}, {"essay.txt": tale()}, {f"old/wiki.{missing}.txt": tale()}):
        with pytest.raises(
            errors.SplitIncomplete, match=f"came without {missing}. Upload the file for {missing}"
        ) as error:
            prepared({**files, **others})
        assert all(name in str(error.value) for name in files)


def test_the_third_file_may_have_been_left_out() -> None:
    files: Files = {
        "train.txt": SET["train"],
        "test.txt": SET["test"],
        "valid.txt": b"K\xe4se und Brot. " * 50,
    }
    with pytest.raises(
        errors.SplitIncomplete, match=r"without valid: valid\.txt was left out\. .*iconv -f CP1252"
    ):
        prepared(files)


def test_two_files_for_one_split_and_two_sets_are_errors() -> None:
    files = {f"{split}.txt": text for split, text in SET.items()}
    with pytest.raises(
        errors.SplitAmbiguous, match=r"two files for valid: val\.txt and valid\.txt\. Delete one"
    ):
        prepared({**files, "val.txt": tale()})
    with pytest.raises(
        errors.SplitAmbiguous, match=r"more than one set.*a/train\.txt and train\.txt\. Delete all but"
    ):
        prepared({**files, **{f"a/{name}": text for name, text in files.items()}})


def test_files_of_several_incomplete_families_are_ordinary_texts() -> None:
    corpus = prepared(
        {"a-train.txt": tale(), "b-test.txt": tale(50), "val.txt": tale(60), "valid.txt": tale(70)}
    )
    assert len(corpus.files) == 4


# --- a split that is made


def poems(number: int, first: int = 0) -> Bytes:
    """Return texts that are too short to be cut."""
    return {
        f"{n:05}.txt": f"Poem {n}\nhas no more than\nfour lines of {n * n}\n".encode()
        for n in range(first, first + number)
    }


def test_small_files_go_whole_to_one_split() -> None:
    corpus = prepared(poems(400))
    assert {split: text.count("Poem") for split, text in corpus.splits.items()} == {
        split: text.count("lines of") for split, text in corpus.splits.items()
    }
    shares = {split: text.count("Poem") / 400 for split, text in corpus.splits.items()}
    assert 0.85 < shares["train"] < 0.95
    assert min(shares.values()) > 0.02


@pytest.mark.parametrize("number", [3, 4, 10])
def test_valid_and_test_are_never_empty(number: int) -> None:
    for first in range(0, 200, number):
        corpus = prepared(poems(number, first))
        assert all(corpus.splits.values())


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": "One line.\n"},
        {"a.txt": "One line.\n", "b.txt": "Another.\n"},
        dict.fromkeys(("a.txt", "b.txt", "c.txt"), "The same text.\n"),
        {"a.txt": "a\n" * 9},
    ],
)
def test_a_dataset_that_cannot_be_split_is_too_small(files: Files) -> None:
    with pytest.raises(errors.DatasetTooSmall, match="at least 10 lines, or at least three different texts"):
        prepared(files)


def test_a_dataset_of_short_texts_may_need_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "_by_hash", lambda _: "test")
    with pytest.raises(errors.DatasetTooSmall, match="or one more text"):
        prepared(poems(3))


def test_equal_texts_are_in_the_same_split() -> None:
    files = poems(6)
    corpus = prepared({**files, **{f"copy-of-{name}": data for name, data in files.items()}})
    for data in files.values():
        assert sorted(text.count(data.decode()) for text in corpus.splits.values()) == [0, 0, 2]


def test_the_fingerprint_is_that_of_the_text_and_its_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    files: Bytes = {"a.txt": tale(100).encode(), "b.txt": tale(60).encode(), **poems(20)}
    first = prepared(files).manifest.fingerprint
    assert (
        prepared({f"x/{name}.gz": gzip.compress(data) for name, data in files.items()}).manifest.fingerprint
        == first
    )
    assert prepared({"a.zip": zipped(dict(sorted(files.items())))}).manifest.fingerprint == first
    monkeypatch.setattr(planning, "GROUP_OBJECTS", 2)
    assert prepared(files).manifest.fingerprint == first
    assert prepared({**files, "b.txt": tale(61).encode()}).manifest.fingerprint != first
    given_split = {f"{split}.txt": text for split, text in SET.items()}
    assert (
        prepared(given_split).manifest.fingerprint
        != prepared({"train.txt": "".join(SET.values())}).manifest.fingerprint
    )


def test_the_number_of_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "MOST_TEXTS", 10)
    with pytest.raises(errors.DatasetTooLarge, match=r"more than 10 texts\. Join them"):
        prepared(poems(11))


# --- a dataset that grows


def split_of_lines(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the split of every line; every line of these files is different. None if it is too small."""
    try:
        corpus = prepared(files)
    except errors.DatasetTooSmall:
        return {}
    return {line: split for split, text in corpus.splits.items() for line in text.splitlines()}


def file_of_random_size(number: int, sizes: Sequence[int], chance: random.Random) -> Bytes:
    lines = chance.choice(sizes)
    text = "".join(f"Line {line} of the text {number}, {chance.random()}\n" for line in range(lines))
    name = f"{chance.choice(['', 'a/', 'z/'])}{chance.random()}.txt"
    return {f"{name}.gz": gzip.compress(text.encode())} if chance.random() < 0.2 else {name: text.encode()}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 8), st.sampled_from([[1, 2, 5, 9], [1, 9, 10, 11, 40, 100]]))
def test_a_dataset_may_grow_ten_times_and_no_line_of_train_becomes_held_out(
    seed: int, number: int, sizes: list[int]
) -> None:
    chance = random.Random(seed)
    made = [file_of_random_size(each, sizes, chance) for each in range(10 * number)]
    files: Bytes = {}
    before: dict[str, str] = {}
    for start in range(0, len(made), number):
        for each in made[start : start + number]:
            files |= each
        now = split_of_lines(files)
        assert set(before) <= set(now)
        assert not [line for line, split in before.items() if split == "train" and now[line] != "train"]
        before = now
    assert before


def test_the_lines_of_a_file_with_enough_lines_stay_in_their_splits() -> None:
    small = split_of_lines({"b.txt": tale().encode()})
    large = split_of_lines(
        {"b.txt": tale().encode(), **poems(200), "a.txt": "".join(f"x {n}\n" for n in range(99)).encode()}
    )
    assert {line: large[line] for line in small} == small


# --- any set of files

UNIQUE = st.integers(0, 10**12)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[Bytes, Counter[str], set[str]]:
    """Return files of all kinds, the lines of their texts, and the names of those that are no text."""
    chance = random.Random(draw(UNIQUE))
    files: Bytes = {}
    lines: Counter[str] = Counter()
    no_text: set[str] = set()
    for number in range(draw(st.integers(1, 12))):
        kind = draw(
            st.sampled_from(
                [
                    "plain",
                    "plain",
                    "gz",
                    "xz",
                    "zip",
                    "tar",
                    "jsonl",
                    "utf-16",
                    "image",
                    "latin",
                    "empty",
                    "csv",
                    "readme",
                    "broken",
                ]
            )
        )
        made = [
            f"{kind} {number} line {line} {chance.random()}" for line in range(chance.choice([1, 3, 12, 30]))
        ]
        text = "".join(f"{line}\n" for line in made).encode()
        name = f"{chance.choice(['', 'b/', 'ü/'])}{number}.{kind}"
        if kind in ("zip", "tar"):
            half = len(made) // 2
            members = {
                "x.txt": "\n".join(made[:half]).encode(),
                "y/z.txt": "\n".join(made[half:]).encode(),
                "img.png": b"\x89PNG\0",
            }
            files[name] = zipped(members) if kind == "zip" else tarred(members)
            no_text |= {f"{name}/img.png"} | ({f"{name}/x.txt"} if not half else set())
        elif kind == "readme":
            files[f"{number}/README.md"] = text
            no_text.add(f"{number}/README.md")
        else:
            contents = {
                "gz": gzip.compress(text), "xz": lzma.compress(text), "image": b"\x89PNG\r\n\x1a\n\0" + text,
                "jsonl": "".join(json.dumps({"text": line}) + "\n" for line in made).encode(),
                "utf-16": text.decode().encode("utf-16"), "latin": b"K\xe4se " + text, "empty": b"",
                "broken": gzip.compress(text)[:-9],
            }  # fmt: skip
            files[name] = contents.get(kind, text)
        if kind in ("image", "latin", "empty", "csv", "broken"):
            no_text.add(name)
        elif kind != "readme":
            lines.update(made)
    return files, lines, no_text


@settings(max_examples=60, deadline=None)
@given(mixtures(), st.integers(1, 5), st.integers(50, 5000), st.integers(20, 3000))
def test_all_text_is_in_one_split_or_on_the_list(
    mixture: tuple[Bytes, Counter[str], set[str]], objects: int, group: int, size: int
) -> None:
    files, lines, no_text = mixture
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "GROUP_OBJECTS", objects)
        patch.setattr(planning, "GROUP_BYTES", group)
        patch.setattr(ranges, "RANGE", size)
        try:
            result = read(files)
            corpus = result.corpus()
        except errors.DatasetTooSmall:
            blocks = [block for each in result.results for file in each.files for block in file.blocks]
            assert all(len(block.parts) == 1 for block in blocks)
            shares = {int(block.sha256, 16) / 2**256 for block in blocks}
            assert len(shares) < 3 or max(shares) < 0.1
            return
        except errors.InvalidDataset:
            assert not lines
            return
    found = Counter(line for text in corpus.splits.values() for line in text.splitlines())
    assert found == lines
    assert set(corpus.left_out) == no_text
    assert all(corpus.splits.values())
    assert sum(file.bytes for file in corpus.manifest.files) == len(corpus.text.encode())
    assert sorted(source.uri for source in corpus.manifest.source) == sorted(
        f"s3://bucket/uploads/tales/{name}"
        for name in files
        if files[name] and not name.endswith("README.md")
    )


@settings(max_examples=30, deadline=None)
@given(mixtures(), st.randoms(use_true_random=False))
def test_the_corpus_does_not_depend_on_the_order_of_the_uploads(
    mixture: tuple[Bytes, Counter[str], set[str]], chance: random.Random
) -> None:
    files, _, _ = mixture
    shuffled = list(files.items())
    chance.shuffle(shuffled)

    def outcome(given_files: Bytes) -> str:
        try:
            return prepared(given_files).manifest.fingerprint
        except errors.InvalidDataset as error:
            return str(error)

    assert outcome(dict(shuffled)) == outcome(files)


def test_ranges_of_one_file_are_merged_into_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "GROUP_BYTES", 0)
    monkeypatch.setattr(ranges, "RANGE", 3000)
    result = read({"a.txt": tale(), "b.txt": tale(50)})
    assert len(result.plan.items) > 3
    corpus = result.corpus()
    assert [(file.name, file.lines, file.words) for file in corpus.manifest.files] == [
        ("a.txt", 200, 1800),
        ("b.txt", 50, 450),
    ]
    assert len(corpus.manifest.source) == 2
