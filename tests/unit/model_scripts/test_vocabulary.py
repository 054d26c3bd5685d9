from pathlib import Path

import numpy as np
import pytest

from user_error import UserError
from vocabulary import UNKNOWN_ID, Vocabulary, learn


def learn_from(most: int = 1000, /, **counts: int) -> tuple[list[str], list[int]]:
    """Return the vocabulary for words with these counts in train, and the number of each word."""
    met = {"<unk>": counts.pop("unk", 0), "<eos>": 1, **counts}
    words = {word: place for place, word in enumerate(met)}
    vocabulary, numbers = learn(words, np.array(list(met.values())), most)
    return vocabulary.words, numbers[2:].tolist()


def test_numbers_go_by_frequency_then_spelling_after_unk_and_eos() -> None:
    assert learn_from(b=2, c=3, a=2) == (["<unk>", "<eos>", "c", "a", "b"], [4, 2, 3])


def test_words_met_once_teach_the_model_what_unknown_is() -> None:
    assert learn_from(a=2, rare=1) == (["<unk>", "<eos>", "a"], [2, UNKNOWN_ID])


def test_text_with_its_own_unk_keeps_every_word() -> None:
    assert learn_from(unk=2, a=2, rare=1) == (["<unk>", "<eos>", "a", "rare"], [2, 3])


@pytest.mark.parametrize(("unk", "others"), [(1, 20), (2, 2000)])
def test_a_stray_unk_changes_nothing(unk: int, others: int) -> None:
    assert learn_from(unk=unk, a=others, rare=1) == (["<unk>", "<eos>", "a"], [2, UNKNOWN_ID])


def test_words_that_only_other_splits_hold_are_not_learnt() -> None:
    assert learn_from(unk=2, a=1, elsewhere=0) == (["<unk>", "<eos>", "a"], [2, UNKNOWN_ID])


def test_the_rarest_words_beyond_the_limit_are_unknown() -> None:
    assert learn_from(4, b=2, c=3, a=2) == (["<unk>", "<eos>", "c", "a"], [UNKNOWN_ID, 2, 3])


def test_a_corpus_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(UserError, match="no word that occurs twice"):
        learn_from(a=1, b=1)


def test_words_outside_the_vocabulary_are_read_as_unk() -> None:
    assert Vocabulary(["<unk>", "<eos>", "a"]).encode(["a", "new", "<eos>"]) == [2, UNKNOWN_ID, 1]


def test_a_saved_vocabulary_comes_back_whole(tmp_path: Path) -> None:
    words = ["<unk>", "<eos>", "naïve", "戦場", "odd\x85word", "￭-￭"]
    Vocabulary(words).save(tmp_path / "vocabulary")
    assert Vocabulary.load(tmp_path / "vocabulary").words == words
