"""The text the benchmark runs on, and the slice of it for a quick run."""

import tarfile
from pathlib import Path

import pytest

from benchmarks import artifact, data
from benchmarks.data import SPLITS, Data

TEXTS = {
    "train": "the cat sat\nthe dog sat\na bird flew\n",
    "valid": "the cat flew\n",
    "test": "the owl sat\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for split, text in TEXTS.items():
        (folder / f"wiki.{split}.tokens").write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_a_folder_and_a_tar_of_it_give_the_same_three_files(source: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "text.tar.xz", "w:xz") as archive:
        archive.add(source, arcname="text")
    from_folder = data.prepare(source, tmp_path / "a")
    from_tar = data.prepare(tmp_path / "text.tar.xz", tmp_path / "b")
    assert contents(from_folder.folder) == contents(from_tar.folder) == TEXTS


def test_data_that_is_not_there_is_told_in_a_sentence(source: Path, tmp_path: Path) -> None:
    with pytest.raises(data.NoData, match="does not exist: name a folder or a tar"):
        data.prepare(tmp_path / "nowhere", tmp_path / "a")
    (source / "wiki.valid.tokens").unlink()
    with pytest.raises(data.NoData, match=r"has no valid file \(looked for valid, valid.txt"):
        data.prepare(source, tmp_path / "b")


def test_a_slice_is_the_beginning_of_the_corpus(tmp_path: Path, source: Path) -> None:
    whole = data.prepare(source, tmp_path / "whole")
    cut = data.cut(whole, tmp_path / "cut", train_words=4, held_out_words=1)
    assert (cut.folder / "train").read_text() == "the cat sat\n"


def test_words_that_train_lacks_are_unknown_in_the_slices_files(tmp_path: Path, source: Path) -> None:
    whole = data.prepare(source, tmp_path / "whole")
    cut = data.cut(whole, tmp_path / "cut", train_words=4, held_out_words=4)
    assert (cut.folder / "test").read_text() == "the <unk> sat\n"
    assert (cut.folder / "valid").read_text() == "the cat <unk>\n"


def test_lines_are_taken_until_they_hold_the_words_with_line_ends_counted() -> None:
    lines = [["a", "b"], [], ["c"], ["d"]]
    assert list(data.first_lines(lines, 4)) == [["a", "b"], []]
    assert list(data.first_lines(lines, 5)) == [["a", "b"], [], ["c"]]


def test_a_corpus_in_an_artifact_is_found_and_a_vocabulary_is_not_one(tmp_path: Path) -> None:
    corpus, model = tmp_path / "corpus", tmp_path / "model"
    corpus.mkdir()
    model.mkdir()
    words = [f"word{number}" for number in range(50)]
    for split in SPLITS:
        (corpus / split).write_text(" ".join(words) + "\n")
    (model / "vocabulary").write_text("\n".join(words))
    assert not artifact.holds_corpus(model, Data(corpus, "a test").folder)
    (model / "code").mkdir()
    (model / "code" / "train.bin").write_bytes(b"\0\1" + " ".join(words).encode() + b"\2")
    assert artifact.holds_corpus(model, corpus)


def test_an_artifacts_size_is_that_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "model.pt").write_bytes(b"0" * 1_500_000)
    (tmp_path / "code" / "serve.py").write_bytes(b"0" * 500_000)
    assert artifact.megabytes(tmp_path) == 2
    assert 0 < artifact.packed_megabytes(tmp_path) < 0.1
