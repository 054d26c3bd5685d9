"""Synthetic text and the cases whose cost is measured on it."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import scaling, synthetic


def test_synthetic_text_has_the_words_and_the_vocabulary_asked_for(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "text", words=30_000, vocabulary=2_000)
    words = (folder / "train").read_text().split()
    counts = Counter(words)
    assert len(words) == 30_000
    assert len(counts) == 2_000
    assert set((folder / "valid").read_text().split()) <= set(counts)


def test_synthetic_words_are_as_uneven_as_a_languages_and_the_same_each_time(tmp_path: Path) -> None:
    first = synthetic.write(tmp_path / "a", words=30_000, vocabulary=1_000)
    again = synthetic.write(tmp_path / "b", words=30_000, vocabulary=1_000)
    assert (first / "train").read_text() == (again / "train").read_text()
    counts = Counter((first / "train").read_text().split())
    assert counts["w1"] / counts["w9"] == pytest.approx(5, rel=0.15)  # second and tenth by frequency


def test_a_vocabulary_larger_than_its_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot have a vocabulary"):
        synthetic.write(tmp_path / "text", words=10, vocabulary=11)


def test_each_table_varies_one_size_in_four_steps_and_nothing_else() -> None:
    for cases in (scaling.CORPUS, scaling.VOCABULARY, scaling.WIDTH, scaling.HOSTS):
        assert len({scaling.size(case) for case in cases}) == 4
        fields = [vars(case) for case in cases]
        assert len([name for name in fields[0] if len({str(field[name]) for field in fields}) > 1]) == 1


def test_a_batch_can_be_shared_by_every_number_of_ranks() -> None:
    assert all(case.batch_size % case.ranks == 0 for case in scaling.HOSTS)


def test_cases_with_the_same_text_share_it_and_no_text_stays(tmp_path: Path) -> None:
    cases = [scaling.Case(words=100, vocabulary=10, width=width) for width in (1, 2)]
    texts = [text for _, text in scaling.with_texts(cases, tmp_path) if text.exists()]
    assert len(texts) == 2
    assert texts[0] == texts[1]
    assert list(tmp_path.iterdir()) == []
