from pathlib import Path

import pytest

from vocabulary import UNKNOWN_ID, MostFrequent, Vocabulary, fewest_to_learn


def most_frequent(most: int, fewest: int, *counts: dict[str, int]) -> list[tuple[str, int]]:
    found = MostFrequent(most, fewest)
    for some in counts:
        found.add(some)
    assert found.candidates == sum(
        count >= fewest and word not in ("<unk>", "<eos>") for some in counts for word, count in some.items()
    )
    return [*found.words().items()]


def test_words_go_by_frequency_then_spelling() -> None:
    assert most_frequent(9, 2, {"b": 2, "c": 3, "<unk>": 9}, {"<eos>": 9, "a": 2, "d": 1}) == [
        ("c", 3),
        ("a", 2),
        ("b", 2),
    ]


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_the_rarest_words_beyond_the_limit_are_left_out(at_once: int) -> None:
    words = {f"word{number:02}": 1 + number % 10 for number in range(60)}
    names = sorted(words)
    parts = [
        {name: words[name] for name in names[start : start + at_once]} for start in range(0, 60, at_once)
    ]
    expected = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:7]
    assert most_frequent(7, 1, *parts) == expected


def test_words_met_once_teach_the_model_what_unknown_is() -> None:
    assert fewest_to_learn(unknown=0, total=30) == 2


def test_text_with_its_own_unk_keeps_every_word() -> None:
    assert fewest_to_learn(unknown=2, total=5) == 1


@pytest.mark.parametrize(("unknown", "total"), [(1, 20), (2, 2001)])
def test_a_stray_unk_changes_nothing(unknown: int, total: int) -> None:
    assert fewest_to_learn(unknown, total) == 2


def test_words_outside_the_vocabulary_are_read_as_unk() -> None:
    assert Vocabulary(["<unk>", "<eos>", "a"]).encode(["a", "new", "<eos>"]) == [2, UNKNOWN_ID, 1]


def test_a_saved_vocabulary_comes_back_whole(tmp_path: Path) -> None:
    words = ["<unk>", "<eos>", "naïve", "戦場", "odd\x85word", "￭-￭"]
    Vocabulary(words).save(tmp_path / "vocabulary")
    assert Vocabulary.load(tmp_path / "vocabulary").words == words
