import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tokenizer import BY_NAME
from user_error import UserError
from vocabulary import END_OF_LINE_ID, UNKNOWN_ID, Vocabulary, learn

WIKITEXT = Path(__file__).parents[4] / "shared" / "data" / "wikitext-2.tar.xz"


def test_numbers_go_by_frequency_then_spelling_after_unk_and_eos() -> None:
    vocabulary, _ = learn([["b", "c", "a", "c"], ["c", "a", "b"]])
    assert vocabulary.words == ["<unk>", "<eos>", "c", "a", "b"]


def test_every_line_ends_in_eos_and_blank_lines_too() -> None:
    vocabulary, tokens = learn([["a", "a"], [], ["a"]])
    assert [vocabulary.words[token] for token in tokens] == ["a", "a", "<eos>", "<eos>", "a", "<eos>"]


def test_words_met_once_teach_the_model_what_unknown_is() -> None:
    vocabulary, tokens = learn([["a", "rare", "a"]])
    assert "rare" not in vocabulary.words
    assert tokens.tolist() == [2, UNKNOWN_ID, 2, END_OF_LINE_ID]


def test_text_with_its_own_unk_keeps_every_word() -> None:
    vocabulary, tokens = learn([["a", "<unk>", "rare"]])
    assert set(vocabulary.words) == {"<unk>", "<eos>", "a", "rare"}
    assert tokens[1] == UNKNOWN_ID


def test_words_outside_the_vocabulary_are_read_as_unk() -> None:
    vocabulary, _ = learn([["a", "a"]])
    assert vocabulary.encode_lines([["a", "new"]]).tolist() == [2, UNKNOWN_ID, END_OF_LINE_ID]


def test_a_corpus_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(UserError, match="no word that occurs twice"):
        learn([["a", "b"], ["c"]])


def test_a_saved_vocabulary_comes_back_whole(tmp_path: Path) -> None:
    words = ["<unk>", "<eos>", "naïve", "戦場", "odd\x85word", "￭-￭"]
    Vocabulary(words).save(tmp_path / "vocabulary")
    assert Vocabulary.load(tmp_path / "vocabulary").words == words


@pytest.mark.skipif(not WIKITEXT.exists(), reason="WikiText-2 is not on this machine")
def test_wikitext_2_counts_are_the_published_ones() -> None:
    def lines(archive: tarfile.TarFile, split: str) -> Iterator[list[str]]:
        file = archive.extractfile(f"wikitext-2/{split}.txt")
        assert file
        return (BY_NAME["tokenized"].split(line.decode("utf-8")) for line in file)

    with tarfile.open(WIKITEXT) as archive:
        vocabulary, train = learn(lines(archive, "train"))
        valid = vocabulary.encode_lines(lines(archive, "valid"))
        test = vocabulary.encode_lines(lines(archive, "test"))
    assert (len(train), len(valid), len(test)) == (2_088_628, 217_646, 245_569)
    assert len(vocabulary) == 33_278
    assert train.dtype == np.int32
