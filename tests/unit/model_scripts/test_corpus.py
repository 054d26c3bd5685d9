import random
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import corpus
import split_files
from tests.unit.model_scripts import simple_corpus
from tests.unit.model_scripts.conftest import Patch
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


def write(folder: Path, texts: Mapping[str, bytes]) -> Path:
    for split, text in texts.items():
        (folder / split).write_bytes(text)
    return folder


def assert_as_simple(channel: Path, tokenizer: str, **how: int) -> None:
    found = corpus.read(channel, tokenizer, **how)
    wanted = simple_corpus.read(channel, tokenizer)
    assert found.tokenizer == CHOICES[tokenizer].name
    assert found.vocabulary.words == wanted.words
    assert {split: tokens.tolist() for split, tokens in found.splits.items()} == wanted.splits


@pytest.mark.parametrize("tokenizer", ["prose", "tokenized", "joined"])
@given(train=TEXTS, valid=TEXTS, test=TEXTS, block_bytes=st.integers(1, 40))
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
def test_a_text_may_have_several_parts(tmp_path: Path, tokenizer: str, monkeypatch: Patch) -> None:
    channel = write(tmp_path, {"train": TEXT * 20, "valid": TEXT, "test": TEXT})
    for size in (1, 7, 50, 400):
        monkeypatch.setattr(corpus, "CHUNKS_OF_A_PART", size)
        monkeypatch.setattr(corpus, "CHUNKS_AT_ONCE", size)
        assert_as_simple(channel, tokenizer, block_bytes=64)


@pytest.mark.parametrize("tokenizer", ["prose", "tokenized"])
def test_a_split_on_its_own_is_worded_as_among_the_others(tmp_path: Path, tokenizer: str) -> None:
    channel = write(tmp_path, {"train": TEXT * 2, "valid": b"\n", "test": b"\n" + TEXT + b"unheard of <unk>"})
    whole = corpus.read(channel, tokenizer)
    for split, tokens in whole.splits.items():
        wording = corpus.read_split(channel, split, whole.tokenizer)
        assert wording.words[:2] == ["<unk>", "<eos>"]
        assert len(set(wording.words)) == len(wording.words)
        assert set(wording.indices.tolist()) | {0, 1} == set(range(len(wording.words)))
        assert wording.in_numbers_of(whole.vocabulary).tolist() == tokens.tolist()


def test_splits_are_32_bit_numbers_in_one_run_of_memory(tmp_path: Path) -> None:
    splits = corpus.read(write(tmp_path, {"train": TEXT, "valid": TEXT, "test": TEXT}), "prose").splits
    assert list(splits) == ["train", "valid", "test"]
    assert all(tokens.dtype == np.int32 and tokens.flags["C_CONTIGUOUS"] for tokens in splits.values())


def test_the_tokenizer_is_chosen_by_what_train_looks_like(tmp_path: Path) -> None:
    texts = {"train": b"It was, was (it)?\n", "valid": b"a\n", "test": b"a\n"}
    assert corpus.read(write(tmp_path, texts), "auto").tokenizer == "prose-2"
    assert (
        corpus.read(write(tmp_path, {**texts, "train": b"well @-@ known\n" * 2}), "auto").tokenizer
        == "tokenized-2"
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
    read = corpus.read(write(tmp_path, texts), "auto")
    wording = corpus.read_split(tmp_path, "test", read.tokenizer)
    known, cut = read.vocabulary.numbers, CHOICES["prose"]
    assert read.tokenizer == cut.name
    lost = sum(len(wording.words[index]) for index in wording.indices if wording.words[index] not in known)
    assert lost < 0.01 * sum(wording.characters.values())
    lines = [line.strip() for line in normalize("NFC", texts["test"].decode()).splitlines()]
    assert [cut.join(cut.split(line)) for line in lines] == lines


GOOD = {"train": b"a a\n", "valid": b"a\n", "test": b"a\n"}


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("where", [0, 1_500_000])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, split: str, where: int) -> None:
    channel = write(tmp_path, {**GOOD, split: b"a a\n" * (where // 4) + b"caf\xe9\n"})
    for tokenizer in ("auto", "tokenized"):
        with pytest.raises(UserError, match=f"^{split} is not UTF-8 text.$"):
            corpus.read(channel, tokenizer)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_file_of_nothing_but_a_byte_order_mark_is_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(UserError, match=f"^The {split} split, {split}, contains no text.$"):
        corpus.read(write(tmp_path, {**GOOD, split: b"\xef\xbb\xbf"}), "auto")


@pytest.mark.parametrize("train", [b"\n\n\n", b"a b\nc\n", b"<unk> <eos> <eos>\n"])
def test_a_corpus_with_nothing_to_learn_is_refused(tmp_path: Path, train: bytes) -> None:
    channel = write(tmp_path, {**GOOD, "train": train})
    with pytest.raises(UserError, match="no word that occurs twice: there is nothing"):
        corpus.read(channel, "tokenized")
    with pytest.raises(simple_corpus.NothingToLearn):
        simple_corpus.read(channel, "tokenized")


@pytest.mark.skipif(not WIKITEXT.exists(), reason="WikiText-2 is not on this machine")
def test_wikitext_2_counts_are_the_published_ones(tmp_path: Path) -> None:
    with tarfile.open(WIKITEXT) as archive:
        for split in split_files.SPLITS:
            file = archive.extractfile(f"wikitext-2/{split}.txt")
            assert file
            (tmp_path / split).write_bytes(file.read())
    found = corpus.read(tmp_path, "auto")
    assert found.tokenizer == "tokenized-2"
    assert {split: len(tokens) for split, tokens in found.splits.items()} == {
        "train": 2_088_628,
        "valid": 217_646,
        "test": 245_569,
    }
    assert len(found.vocabulary) == 33_278
    assert_as_simple(tmp_path, "tokenized")
