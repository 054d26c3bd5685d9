"""The new model beside the champion: a text by each, and the words on which they differ most."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import beside_champion
import corpus
import inference
import language_model
import split_files
from beside_champion import word_differences, words_of_test
from language_model import LanguageModel, Shape
from request_body import Request
from tests.unit.model_scripts.conftest import CANARY, Capture, Job, Patch, packed
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN, UNKNOWN_ID, Vocabulary

CPU = torch.device("cpu")
TEST = "the king sleeps\nthe king eats\nno king sleeps\n"


def artifact(folder: Path, words: str, seed: int) -> Path:
    """Write a model with random weights that knows these words."""
    folder.mkdir()
    known = [UNKNOWN, END_OF_LINE, *words.split()]
    torch.manual_seed(seed)
    model = LanguageModel(Shape(len(known), emsize=6, nhid=6, nlayers=1, tied=True))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1, 1)
    language_model.save_weights(model, folder / "model.pt")
    language_model.save_config(folder / "config.json", model.shape, "tokenized-2", {})
    Vocabulary(known).save(folder / "vocabulary")
    return folder


@pytest.fixture
def champion(tmp_path: Path) -> Path:
    return artifact(tmp_path / "champion", "king the sleeps", 1)


@pytest.fixture
def challenger(tmp_path: Path) -> Path:
    return artifact(tmp_path / "challenger", "king eats rome the", 2)


def log_probabilities(folder: Path, words: list[str], common: int) -> list[float]:
    """Read a text word by word. An unknown word has an equal part of the probability of <unk>."""
    model, _ = language_model.load(folder)
    known = Vocabulary.load(folder / "vocabulary").numbers
    share = math.log(common - len(known) + 1)
    state, before, found = model.start(1), END_OF_LINE_ID, []
    for word in words:
        number = known.get(word, UNKNOWN_ID)
        with torch.no_grad():
            hidden, state = model.read(torch.tensor([[before]]), state)
            logs = model.decoder.log_probabilities(hidden[0])[0]
        found.append(logs[number].item() - (share if number == UNKNOWN_ID else 0))
        before = number
    return found


def test_the_words_have_their_exact_probabilities_and_the_better_ones_come_first(
    champion: Path, challenger: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(beside_champion, "FEWEST", 2)
    words = [word for line in TEST.splitlines() for word in (*line.split(), END_OF_LINE)]
    # Both models' vocabularies and the test text: <unk>, <eos>, king, the, sleeps, eats, rome, no.
    old, new = (np.array(log_probabilities(folder, words, 8)) for folder in (champion, challenger))
    found = word_differences(champion, challenger, words, 8, CPU)
    names = {"the": 2, "king": 3, "sleeps": 2, "end of line": 3}
    assert {each.word: each.count for each in found} == names
    for each in found:
        where = [word == each.word.replace("end of line", END_OF_LINE) for word in words]
        assert each.champion == pytest.approx(math.exp(old[where].mean()), rel=1e-4)
        assert each.challenger == pytest.approx(math.exp(new[where].mean()), rel=1e-4)
    improved = [each.challenger > each.champion for each in found]
    assert improved == sorted(improved, reverse=True)


def test_words_that_the_text_has_once_are_not_shown(champion: Path, challenger: Path) -> None:
    words = ["king", "the", "king", "king", "secret", END_OF_LINE]
    assert [each.word for each in word_differences(champion, challenger, words, 8, CPU)] == ["king"]


def test_a_model_does_not_differ_from_itself(champion: Path) -> None:
    assert word_differences(champion, champion, ["king", "the"] * 9, 8, CPU) == []


def test_at_most_some_words_of_each_kind_are_shown(tmp_path: Path) -> None:
    many = [f"word{number}" for number in range(40)]
    folders = [artifact(tmp_path / str(seed), " ".join(many), seed) for seed in (1, 2)]
    found = word_differences(folders[0], folders[1], many * 3, 42, CPU)
    improved = [each.challenger > each.champion for each in found]
    assert (improved.count(True), improved.count(False)) == (beside_champion.SHOWN, beside_champion.SHOWN)


@pytest.mark.parametrize("block_bytes", [7, 50, split_files.BLOCK_BYTES])
def test_the_test_split_is_read_as_training_reads_it(
    corpus_folder: Path, tmp_path: Path, monkeypatch: Patch, block_bytes: int
) -> None:
    monkeypatch.setattr(split_files, "blocks", partial(split_files.blocks, size=block_bytes))
    words = words_of_test(corpus_folder, "prose-2")
    monkeypatch.undo()
    text = corpus.read(corpus_folder, "prose", tmp_path / "scratch")
    places = {split: range(length) for split, length in text.lengths.items()}
    assert text.vocabulary.encode(words) == text.encode(places)["test"][:].tolist()
    monkeypatch.setattr(beside_champion, "MOST_TOKENS", 7)
    assert words_of_test(corpus_folder, "prose-2") == words[:7]


@pytest.fixture(scope="module")
def again(trained: Job, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job whose champion is the model of `trained`."""
    folder = tmp_path_factory.mktemp("again")
    job = Job(folder / "job", trained.channel, packed(trained.model, folder / "champion"))
    assert job.run(epochs=1) == 0
    return job


def test_both_texts_are_what_the_artifacts_answer_to_one_request(again: Job, trained: Job) -> None:
    pair = again.metrics()["side_by_side"]
    assert len(pair["prompt"].split()) == 2
    request = Request(
        prompt=pair["prompt"], seed=pair["seed"], temperature=pair["temperature"], words=beside_champion.WORDS
    )
    for name, folder in (("champion", trained.model), ("challenger", again.model)):
        assert pair[name] == inference.load(folder).generate(request)["text"]


def test_the_artifact_holds_no_text_and_no_words(again: Job) -> None:
    assert again.metrics()["word_differences"]
    content = (again.model / "metrics.json").read_text()
    assert not {"samples", "side_by_side", "word_differences"} & json.loads(content).keys()
    assert CANARY not in (again.data / "metrics.json").read_text()


def test_a_prompt_that_the_champion_does_not_know_is_left_out(
    trained: Job, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(beside_champion, "usual_prompt", lambda served, valid: "unheard words")
    pair = beside_champion._side_by_side(trained.model, trained.model, "")
    assert (pair["prompt"], pair["champion"] == pair["challenger"] != "") == ("", True)


def test_a_job_that_cannot_show_them_succeeds(again: Job, monkeypatch: Patch, capfd: Capture) -> None:
    def load(directory: object) -> None:
        raise ArithmeticError("the weights\nare no numbers")

    monkeypatch.setattr(beside_champion.inference, "load", load)
    job = Job(again.folder.parent / "broken", again.channel, again.champion)
    assert job.run(epochs=1) == 0
    found = job.metrics()
    assert (found["side_by_side"], found["word_differences"]) == (None, [])
    assert 'side_by_side=none reason="ArithmeticError: the weights are no numbers"' in capfd.readouterr().out
