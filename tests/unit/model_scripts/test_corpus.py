import json
import os
import random
import signal
import tarfile
import tempfile
from collections.abc import Mapping
from mmap import mmap
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import comparison
import corpus
import host_processes
import numbered_text
import split_files
from corpus import Corpus
from tests.unit.model_scripts import simple_corpus
from tests.unit.model_scripts.conftest import Patch, read_splits
from tokenizer import CHOICES
from user_error import UserError

WIKITEXT = Path(__file__).parents[4] / "shared" / "data" / "wikitext-2.tar.xz"
PARTS = [
    *(
        "a",
        "b",
        "the",
        "The",
        "é",
        "戦",
        "ด้",
        "ᄀ",
        "ᅡ",
        "<unk>",
        "<eos>",
        "￭",
        "■",
        "\0",
        "don't",
        "well-known",
        "1,000.5",
    ),
    *(",", ".", '"', "(", "--", "cafe\u0301", "x" * 16, "é" * 8 + "x", "\ufeff", "\u200b", "@-@"),
    *(" ", "  ", "\n", "\r", "\r\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"),
]
TEXTS = st.lists(st.sampled_from(PARTS)).map("".join) | st.text(min_size=1)


def spelling(number: int) -> str:
    """Return one of 450 words of letters."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number // 2))


def write(folder: Path, texts: Mapping[str, bytes]) -> Path:
    for split, text in texts.items():
        (folder / split).write_bytes(text)
    return folder


def read(channel: Path, tokenizer: str, **how: int) -> Corpus:
    with tempfile.TemporaryDirectory() as scratch:
        return corpus.read(channel, tokenizer, Path(scratch), **how)


def assert_as_simple(channel: Path, tokenizer: str, **how: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        found = corpus.read(channel, tokenizer, Path(scratch), **how)
        splits = read_splits(found)
    wanted = simple_corpus.read(channel, tokenizer)
    assert found.tokenizer == CHOICES[tokenizer].name
    assert found.vocabulary.words == wanted.words
    assert {split: tokens.tolist() for split, tokens in splits.items()} == wanted.splits
    numbers = wanted.splits["train"]
    assert found.counts.tolist() == np.bincount(numbers, minlength=len(wanted.words)).tolist()


@pytest.mark.parametrize("tokenizer", ["prose", "tokenized", "joined"])
@given(train=TEXTS, valid=TEXTS, test=TEXTS, block_bytes=st.integers(1, 40))
@example(train="don't戦don't", valid="l'戦", test="it's戦", block_bytes=1)
@example(train="<eos> <eos> <unk>\u2028<eos>￭", valid="\ufeff\ufeff ", test="\r", block_bytes=2)
def test_a_corpus_equals_that_of_the_simple_way(
    tokenizer: str, train: str, valid: str, test: str, block_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        texts = {"train": f"a {train} a", "valid": f"{valid}\n", "test": f"\ufeff{test}."}
        channel = write(Path(folder), {split: text.encode() for split, text in texts.items()})
        assert_as_simple(channel, tokenizer, block_bytes=block_bytes)


LINES = (
    '\ufeffSo be it,\r\nso "戦場"\u3000be it \x1c\n\n',
    "<eos> naïve1,000.5 so\u2028be <unk>\r￭ naïve naïve",
)
TEXT = "".join(LINES).encode()


@pytest.mark.parametrize("tokenizer", ["prose", "tokenized"])
def test_blocks_may_end_anywhere(tmp_path: Path, tokenizer: str) -> None:
    channel = write(tmp_path, {"train": TEXT, "valid": TEXT[3:], "test": b"\n" + TEXT[3:]})
    for block_bytes in range(1, len(TEXT) + 2):
        assert_as_simple(channel, tokenizer, block_bytes=block_bytes)


@pytest.mark.parametrize("tokenizer", ["prose", "tokenized"])
@pytest.mark.parametrize("most", [1, 50])
def test_a_text_may_have_many_sections_and_its_words_many_parts(
    tmp_path: Path, tokenizer: str, most: int, monkeypatch: Patch
) -> None:
    channel = write(tmp_path, {"train": TEXT * 4, "valid": TEXT, "test": TEXT})
    for limit in ("MOST_OF_A_TABLE", "WORDS_AT_ONCE", "CHUNKS_AT_ONCE"):
        monkeypatch.setattr(numbered_text, limit, most)
    assert_as_simple(channel, tokenizer, block_bytes=64)


@pytest.mark.parametrize("processors", [2, 3])
def test_several_processes_read_what_one_does(tmp_path: Path, processors: int, monkeypatch: Patch) -> None:
    texts = {"train": TEXT * 20, "valid": TEXT, "test": "\n".join(map(spelling, range(900))).encode()}
    channel = write(tmp_path, texts)
    monkeypatch.setattr(numbered_text, "BYTES_OF_A_PROCESS", 100)
    monkeypatch.setattr(host_processes, "own_processors", lambda: processors)
    monkeypatch.setattr(numbered_text, "WORDS_AT_ONCE", 200)
    assert_as_simple(channel, "prose", block_bytes=64)
    assert read(channel, "prose").unknown_words == len({*map(spelling, range(900))} - {"a"})


def test_an_error_of_any_process_names_the_file(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(numbered_text, "BYTES_OF_A_PROCESS", 100)
    monkeypatch.setattr(host_processes, "own_processors", lambda: 2)
    channel = write(tmp_path, {**GOOD, "train": b"a a\n" * 100 + b"caf\xe9\n"})
    with pytest.raises(UserError, match=r"^train is not UTF-8 text\.$"):
        read(channel, "tokenized")


@pytest.mark.parametrize("processors", [1, 2])
def test_a_full_disk_is_explained(tmp_path: Path, processors: int, monkeypatch: Patch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numbered_text, "BYTES_OF_A_PROCESS", 100)
    monkeypatch.setattr(host_processes, "own_processors", lambda: processors)
    monkeypatch.setattr(numbered_text.np, "save", full)
    with pytest.raises(
        UserError, match=r"^The disk of .* is full\. .*: set the environment variable TMPDIR to"
    ):
        read(write(tmp_path, {**GOOD, "train": b"a a\n" * 100}), "tokenized")


def test_a_process_that_is_killed_is_explained(tmp_path: Path, monkeypatch: Patch) -> None:
    def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(numbered_text, "BYTES_OF_A_PROCESS", 100)
    monkeypatch.setattr(host_processes, "own_processors", lambda: 2)
    monkeypatch.setattr(numbered_text.np, "save", killed)
    with pytest.raises(UserError, match=r"ended early.* choose an instance type with more memory"):
        read(write(tmp_path, {**GOOD, "train": b"a a\n" * 100}), "tokenized")


@pytest.mark.parametrize("tokenizer", ["prose", "tokenized"])
def test_a_split_on_its_own_is_worded_as_among_the_others(tmp_path: Path, tokenizer: str) -> None:
    channel = write(tmp_path, {"train": TEXT * 2, "valid": b"\n", "test": b"\n" + TEXT + b"unheard of <unk>"})
    whole = corpus.read(channel, tokenizer, tmp_path / "whole")
    test = comparison.number_test(channel, whole.tokenizer, tmp_path / "numbers")
    tokens = test.encode(whole.vocabulary, {"test": range(test.lengths["test"])})["test"]
    assert tokens[:].tolist() == read_splits(whole)["test"].tolist()


def test_tokens_are_mapped_from_files_without_names(tmp_path: Path) -> None:
    text = corpus.read(write(tmp_path, {"train": TEXT, "valid": TEXT, "test": TEXT}), "prose", tmp_path / "s")
    needed = {split: range(2, length - 1) for split, length in text.lengths.items()}
    splits = text.encode(needed)
    assert list(splits) == ["train", "valid", "test"]
    for split, tokens in splits.items():
        assert isinstance(tokens.own.base, np.memmap | mmap)
        assert tokens.own.dtype == np.int32
        assert (tokens.begin, len(tokens.own)) == (2, text.lengths[split] - 3)
        assert tokens[3:5].tolist() == tokens.own[1:3].tolist()
        with pytest.raises(IndexError, match="This rank has no tokens 0 to 3"):
            tokens[:3]
    left = {path.name for path in (tmp_path / "s").rglob("*") if path.is_file()}
    assert not {name for name in left if name in ("train", "valid", "test") or name.endswith(".tokens")}


def test_the_ranges_of_a_manifest_make_the_same_corpus(tmp_path: Path) -> None:
    files, prepared = tmp_path / "files", tmp_path / "prepared"
    files.mkdir()
    prepared.mkdir()
    texts = {"train": b"a b\nb a\nc c\n", "valid": b"a c\n", "test": b"b d\n"}
    objects = {"00000": b"a b\nb a\na c\n", "00001": b"b d\nc c\n"}
    ranges = {
        "train": [["00000", 0, 8], ["00001", 4, 8]],
        "valid": [["00000", 8, 12]],
        "test": [["00001", 0, 4]],
    }
    write(prepared, objects)
    splits = {split: {"ranges": found} for split, found in ranges.items()}
    (prepared / "manifest.json").write_text(json.dumps({"splits": splits}))
    expected = corpus.read(write(files, texts), "auto", tmp_path / "1")
    found = corpus.read(prepared, "auto", tmp_path / "2")
    assert found.vocabulary.words == expected.vocabulary.words
    assert {split: tokens.tolist() for split, tokens in read_splits(found).items()} == {
        split: tokens.tolist() for split, tokens in read_splits(expected).items()
    }


def test_the_tokenizer_is_chosen_by_what_train_looks_like(tmp_path: Path) -> None:
    texts = {"train": b"It was, was (it)?\n", "valid": b"a\n", "test": b"a\n"}
    assert read(write(tmp_path, texts), "auto").tokenizer == "prose-2"
    assert (
        read(write(tmp_path, {**texts, "train": b"well @-@ known\n" * 2}), "auto").tokenizer == "tokenized-2"
    )


PHRASES = {
    "Chinese": (
        "昨天 在春天|我们的政府 北京的市民 一个年轻的学生|学习 建设 保护|一本书 新的道路 五百公斤大米",
        "，",
        "。",
    ),
    "Japanese": (
        "昨日 春に|私たちは 若い学生が ホテルの客は|本を 新しい道を コーヒーを|読みます 作りました 好きです",
        "、",
        "。",
    ),
    "Thai": ("เมื่อวานนี้ ทุกวัน ในฤดูฝน|รัฐบาล ชาวนา แม่ของเขา|เรียนรู้ สร้าง ปกป้อง|หนังสือ ถนนใหม่ สันติภาพ น้ำ", " ", " "),
    "Lao": ("ມື້ວານນີ້ ທຸກມື້|ລັດຖະບານ ຊາວນາ ແມ່ຂອງລາວ|ຮຽນ ສ້າງ ຂຽນ|ປຶ້ມ ຖະໜົນໃໝ່ ນໍ້າ", " ", " "),
    "Khmer": ("ម្សិលមិញ រាល់ថ្ងៃ|រដ្ឋាភិបាល កសិករ ម្តាយរបស់គាត់|រៀន សាងសង់ សរសេរ|សៀវភៅ ផ្លូវថ្មី សន្តិភាព", " ", "។"),
    "Burmese": ("မနေ့က နေ့တိုင်း|အစိုးရ လယ်သမား သူ့အမေ|စာအုပ် လမ်းသစ် ငြိမ်းချမ်းရေး|ဖတ်သည် ဆောက်သည် ရေးသည်", "၊", "။"),
    "Tibetan": ("ཁ་སང་ ཉིན་ལྟར་|གཞུང་གིས་ ཞིང་པས་ ཁོའི་ཨ་མས་|དེབ་ ལམ་གསར་པ་ ཞི་བདེ་|བཀླགས་ བཟོས་ བྲིས་", " ", "།"),
}


@pytest.mark.parametrize("language", PHRASES)
def test_text_without_spaces_loses_less_than_a_hundredth_of_its_characters(
    tmp_path: Path, language: str
) -> None:
    parts, comma, end = PHRASES[language]
    chance = random.Random(1)

    def sentences(count: int) -> str:
        phrases = lambda: "".join(chance.choice(part.split()) for part in parts.split("|"))  # noqa: E731
        return "".join(f"{phrases()}{comma}{phrases()}{end}\n" for _ in range(count))

    texts = {"train": sentences(1000).encode(), "valid": b"x", "test": sentences(200).encode()}
    found, cut = read(write(tmp_path, texts), "auto"), CHOICES["prose"]
    assert found.tokenizer == cut.name
    test = comparison.number_test(tmp_path, found.tokenizer, tmp_path / "numbers")
    lost = sum(
        count * len(word)
        for words, counts in test.count_own_words("test")
        for word, count in zip(words, counts, strict=True)
        if word not in found.vocabulary.numbers
    )
    assert lost < 0.01 * test.count_characters().total()
    lines = [line.strip() for line in normalize("NFC", texts["test"].decode()).splitlines()]
    assert [cut.join(cut.split(line)) for line in lines] == lines


GOOD = {"train": b"a a\n", "valid": b"a\n", "test": b"a\n"}


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("where", [0, 1_500_000])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, split: str, where: int) -> None:
    channel = write(tmp_path, {**GOOD, split: b"a a\n" * (where // 4) + b"caf\xe9\n"})
    for tokenizer in ("auto", "tokenized"):
        with pytest.raises(UserError, match=f"^{split} is not UTF-8 text.$"):
            read(channel, tokenizer)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_file_of_nothing_but_a_byte_order_mark_is_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(UserError, match=f"^The {split} split, {split}, contains no text.$"):
        read(write(tmp_path, {**GOOD, split: b"\xef\xbb\xbf"}), "auto")


@pytest.mark.parametrize("train", [b"\n\n\n", b"a b\nc\n", b"<unk> <eos> <eos>\n"])
def test_a_corpus_with_nothing_to_learn_is_refused(tmp_path: Path, train: bytes) -> None:
    channel = write(tmp_path, {**GOOD, "train": train})
    with pytest.raises(UserError, match="no word that occurs twice: there is nothing"):
        read(channel, "tokenized")
    with pytest.raises(simple_corpus.NothingToLearn):
        simple_corpus.read(channel, "tokenized")


@pytest.mark.skipif(not WIKITEXT.exists(), reason="WikiText-2 is not on this machine")
def test_wikitext_2_counts_are_the_published_ones(tmp_path: Path) -> None:
    with tarfile.open(WIKITEXT) as archive:
        for split in split_files.SPLITS:
            file = archive.extractfile(f"wikitext-2/{split}.txt")
            assert file
            (tmp_path / split).write_bytes(file.read())
    found = read(tmp_path, "auto")
    assert found.tokenizer == "tokenized-2"
    assert found.lengths == {
        "train": 2_088_628,
        "valid": 217_646,
        "test": 245_569,
    }
    assert len(found.vocabulary) == 33_278
    assert_as_simple(tmp_path, "tokenized")
