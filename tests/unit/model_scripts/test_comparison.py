"""The comparison of champion and challenger: its figures, and the reasons if there are none."""

import functools
import io
import json
import math
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import comparison
import corpus
import language_model
from comparison import Challenger, Comparison, Incomparable, compare, unpack
from corpus import Corpus
from language_model import LanguageModel, Shape
from numbered_text import Tokens
from perplexity import mean_loss
from tests.unit.model_scripts.conftest import Capture, Job, Patch, packed, write_large_vocabulary
from vocabulary import END_OF_LINE, UNKNOWN, UNKNOWN_ID, Vocabulary

CPU = torch.device("cpu")
OWN = "the old king slept here in peace"
FOREIGN = "the king slept , so they say , in another house far away from old rome"


def write_texts(channel: Path, test: str) -> Corpus:
    """Write a tokenized corpus whose vocabulary is the words of OWN and @-@."""
    channel.mkdir()
    for split, text in (("train", f"{OWN} @-@\n" * 2), ("valid", OWN), ("test", test)):
        (channel / split).write_text(text + "\n", encoding="utf-8")
    return corpus.read(channel, "tokenized", channel.with_name("scratch"))


def some_model(words: int, seed: int, **shape: Any) -> LanguageModel:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"emsize": 6, "nhid": 8, "nlayers": 2, "tied": True, **shape}
    model = LanguageModel(Shape(words, **sizes))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return model.eval()


def write_artifact(
    folder: Path, model: LanguageModel, words: list[str], tokenizer: str = "tokenized-2"
) -> Path:
    folder.mkdir()
    language_model.save_weights(model, folder / "model.pt")
    language_model.save_config(folder / "config.json", model.shape, tokenizer, {})
    Vocabulary(words).save(folder / "vocabulary")
    return folder


def foreign_words() -> list[str]:
    return [UNKNOWN, END_OF_LINE, *dict.fromkeys(FOREIGN.split())]


@pytest.fixture
def text(tmp_path: Path) -> Corpus:
    """A test text with words that both models know, one knows, none knows; and <unk> itself."""
    return write_texts(
        tmp_path / "training", "the king <unk> slept so far from caesar\nold rome <unk> is @-@\ncaesar sleeps"
    )


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """The folder of a champion that knows the words of FOREIGN and has an adaptive softmax."""
    words = foreign_words()
    model = some_model(len(words), seed=5, cutoffs=(4, 9), widths=(3, 2))
    return write_artifact(tmp_path / "artifact", model, words)


@functools.cache
def tokens_of_test(text: Corpus) -> Tokens:
    return text.encode({"test": range(text.lengths["test"])})["test"]


def outcome(
    tmp_path: Path, text: Corpus, champion: Path, test_loss: float = 2.5
) -> Comparison | Incomparable:
    challenger = Challenger(text.tokenizer, text.vocabulary, tokens_of_test(text), test_loss)
    return compare(champion, tmp_path / "training", tmp_path / "scratch", challenger, CPU)


def compared(tmp_path: Path, text: Corpus, champion: Path, challenger: LanguageModel) -> Comparison:
    found = outcome(tmp_path, text, champion, mean_loss(challenger, tokens_of_test(text)))
    assert isinstance(found, Comparison), found
    return found


def reason(tmp_path: Path, text: Corpus, champion: Path) -> str:
    found = outcome(tmp_path, text, champion)
    assert isinstance(found, Incomparable), found
    return found.reason


def common_probabilities(
    model: LanguageModel, known: list[str], all_words: list[str], test: list[str]
) -> list[dict[str, float]]:
    """Return the probability of every word of V* before each word of a short test text."""
    state, read = model.start(1), END_OF_LINE
    unknown = [word for word in all_words if word not in known or word == UNKNOWN]
    distributions = []
    for word in test:
        number = torch.tensor([[known.index(read) if read in known else UNKNOWN_ID]])
        with torch.no_grad():
            hidden, state = model.read(number, state)
            found = model.decoder.log_probabilities(hidden[0])[0].double().exp().tolist()
        shared = dict.fromkeys(unknown, found[UNKNOWN_ID] / len(unknown))
        distributions.append({**dict(zip(known, found, strict=True)), **shared})
        read = word
    return distributions


def test_both_models_predict_the_same_words(tmp_path: Path, text: Corpus, artifact: Path) -> None:
    challenger = some_model(len(text.vocabulary), seed=6)
    found = compared(tmp_path, text, packed(artifact, tmp_path / "champion"), challenger)

    lines = (tmp_path / "training" / "test").read_text().splitlines()
    test = [word for line in lines for word in (*line.split(), END_OF_LINE)]
    all_words = sorted({*test, *foreign_words(), *text.vocabulary.words})
    assert (found.words, found.tokens) == (len(all_words), len(test))
    champion, _ = language_model.load(artifact)
    for model, known, judged in (
        (champion, foreign_words(), found.champion),
        (challenger, text.vocabulary.words, found.challenger),
    ):
        distributions = common_probabilities(model, known, all_words, test)
        assert all(set(distribution) == set(all_words) for distribution in distributions)
        for distribution in distributions:
            assert sum(distribution.values()) == pytest.approx(1, rel=1e-5)
        losses = [
            -math.log(distribution[word]) for distribution, word in zip(distributions, test, strict=True)
        ]
        assert judged.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
        assert judged.vocabulary_size == len(known)
        unknown = [word for word in test if word not in known or word == UNKNOWN]
        assert judged.unknown_share == pytest.approx(len(unknown) / len(test))
        assert judged.tokenizer == "tokenized-2"


def test_without_unknown_words_the_figure_is_test_perplexity(tmp_path: Path) -> None:
    text = write_texts(tmp_path / "training", OWN)
    model = some_model(len(text.vocabulary), seed=7)
    champion = packed(
        write_artifact(tmp_path / "artifact", model, text.vocabulary.words), tmp_path / "champion"
    )
    found = compared(tmp_path, text, champion, model)
    loss = mean_loss(model, tokens_of_test(text))
    assert found.champion.perplexity == found.challenger.perplexity == math.exp(loss)
    assert found.words == len(text.vocabulary)


# --- models with different tokenizers


def test_equal_models_whose_tokenizers_cut_alike_are_equal(tmp_path: Path) -> None:
    text = write_texts(tmp_path / "training", f"{OWN} unheard of")
    model, words = some_model(len(text.vocabulary), seed=7), text.vocabulary.words
    artifact = write_artifact(tmp_path / "artifact", model, words, "prose")
    found = compared(tmp_path, text, packed(artifact, tmp_path / "champion"), model)
    assert found.champion.perplexity == found.challenger.perplexity
    assert found.champion.bits_per_character == found.challenger.bits_per_character
    assert found.words is None
    assert found.notes[0].startswith("The champion's tokenizer is prose and the challenger's is tokenized-2.")


def test_each_model_pays_for_its_own_tokens_and_for_spelling(tmp_path: Path) -> None:
    text = write_texts(tmp_path / "training", "the old king, the peace")
    words = [UNKNOWN, END_OF_LINE, "the", "king", "￭,"]
    champion = some_model(len(words), seed=5)
    artifact = write_artifact(tmp_path / "artifact", champion, words, "prose")
    challenger = some_model(len(text.vocabulary), seed=6)
    found = compared(tmp_path, text, packed(artifact, tmp_path / "champion"), challenger)

    content = "the old king, the peace \n"
    spell = lambda word: sum(-math.log(content.count(c) / len(content)) for c in f"{word} ")  # noqa: E731
    own = np.array([2, 0, 3, 4, 2, 0, 1])
    losses = mean_loss(champion, own) * 7 + spell("old") + spell("peace")
    assert found.champion.bits_per_character == pytest.approx(losses / len(content) / math.log(2))
    assert found.champion.perplexity == pytest.approx(math.exp(losses / 6))
    losses = mean_loss(challenger, tokens_of_test(text)) * 6 + spell("king,")
    assert found.challenger.bits_per_character == pytest.approx(losses / len(content) / math.log(2))
    assert found.challenger.perplexity == pytest.approx(math.exp(losses / 6))


SENTENCES = ["在春天农民学习一本书", "昨天他决定建设新的道路", "昨天农民建设一本书"]


def test_a_model_gains_nothing_by_words_that_it_does_not_know(tmp_path: Path) -> None:
    """Reading each sentence as one unknown word costs more than knowing only how frequent characters are."""
    write_texts(tmp_path / "training", "\n".join(SENTENCES))
    text = comparison.number_test(tmp_path / "training", "prose", tmp_path / "numbers")

    def charge(*known: str) -> float:
        return comparison.charge_by_spelling(text, Vocabulary([UNKNOWN, END_OF_LINE, *known]))

    characters = "".join(SENTENCES)
    frequencies = sum(-math.log(characters.count(each) / len(characters)) for each in characters)
    assert charge() > frequencies
    assert charge(*SENTENCES) == 0
    assert charge(SENTENCES[0]) + charge(*SENTENCES[1:]) == pytest.approx(charge())


@pytest.mark.parametrize(
    ("test", "few", "notes"),
    [
        ("the old king slept in", 3, []),
        (
            OWN,
            8,
            [
                "The champion does not know 25.0% of the test split's tokens, the challenger 0.0%: the "
                "figures mostly compare which words the models know."
            ],
        ),
        (
            "the king <unk> slept",
            6,
            [
                "In the text of the test split, 20.0% of the tokens are <unk>. They count as words that "
                "neither model knows, which favours the model with the larger vocabulary.",
                "The test split has only 5 tokens: a difference of a few per cent may be chance.",
            ],
        ),
    ],
)
def test_limits_of_the_figures_are_noted(
    tmp_path: Path, artifact: Path, monkeypatch: Patch, test: str, few: int, notes: list[str]
) -> None:
    monkeypatch.setattr(comparison, "FEW_TOKENS", few)
    text = write_texts(tmp_path / "training", test)
    champion = packed(artifact, tmp_path / "champion")
    found = compared(tmp_path, text, champion, some_model(len(text.vocabulary), seed=6))
    assert found.document()["notes"] == notes


def test_members_may_begin_with_a_dot(tmp_path: Path, text: Corpus, artifact: Path) -> None:
    champion = packed(artifact, tmp_path / "champion", prefix="./")
    assert isinstance(outcome(tmp_path, text, champion), Comparison)


def test_only_the_models_files_are_unpacked(tmp_path: Path, artifact: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("../outside", "code/serve.py", "nested/model.pt", "../inner/model.pt"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        for path in artifact.iterdir():
            tar.add(path, path.name)
    unpack(archive, inner)
    assert sorted(path.name for path in inner.iterdir()) == ["config.json", "model.pt", "vocabulary"]
    assert (inner / "model.pt").read_bytes() == (artifact / "model.pt").read_bytes()
    assert not (tmp_path / "outside").exists()


def link(name: str) -> Callable[[Path], None]:
    """Replace a file by a link to it."""

    def edit(artifact: Path) -> None:
        (artifact / name).rename(artifact / "elsewhere")
        (artifact / name).symlink_to("elsewhere")

    return edit


def configure(**values: Any) -> Callable[[Path], None]:
    def edit(artifact: Path) -> None:
        path = artifact / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


def write(name: str, content: str) -> Callable[[Path], None]:
    def edit(artifact: Path) -> None:
        (artifact / name).write_text(content)

    return edit


def spoil_weights(artifact: Path) -> None:
    weights = torch.load(artifact / "model.pt", weights_only=True)
    weights["decoder.bias"][2] = math.nan
    torch.save(weights, artifact / "model.pt")


def pickle_an_object(artifact: Path) -> None:
    torch.save({"encoder.head": Path("a pickled object")}, artifact / "model.pt")


FIGURES = {"perplexity", "bits_per_character", "vocabulary_size", "tokenizer", "unknown_share"}
LISTED = "\n".join(foreign_words())


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda artifact: (artifact / "model.pt").unlink(), "contains no model.pt: it is not a model of Lex"),
        (link("model.pt"), "contains no model.pt"),
        (
            configure(tokenizer="letters"),
            "tokenizer is letters, and this version of Lexline has prose-2, tokenized-2, joined, prose, tok",
        ),
        (configure(format=1), "has format 1, and this version of Lexline reads format 2"),
        (configure(nhid=9), r"cannot be read and scored \(RuntimeError: .*size mismatch"),
        (write("config.json", "weights: 3"), r"cannot be read and scored \(JSONDecodeError: "),
        (write("model.pt", "weights"), r"cannot be read and scored \("),
        (pickle_an_object, r"cannot be read and scored \(UnpicklingError: "),
        (spoil_weights, "The champion's perplexity on the test split is nan"),
        (
            write("vocabulary", LISTED.replace("rome", "king")),
            "has 16 different words in 17 lines, and the weights are for 17",
        ),
        (
            write("vocabulary", LISTED.removeprefix("<unk>\n") + "\nx"),
            "vocabulary begins with <eos>, the, not with <unk> and <eos>",
        ),
    ],
)
def test_an_incomparable_champion_has_a_reason(
    tmp_path: Path, text: Corpus, artifact: Path, edit: Callable[[Path], None], expected: str
) -> None:
    edit(artifact)
    sentence = reason(tmp_path, text, packed(artifact, tmp_path / "champion"))
    assert re.search(expected, sentence)
    assert "\n" not in sentence
    assert sentence.startswith("The champion")
    assert sentence.endswith(".")
    assert len(sentence) < 400


def cut_short(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-2000])


def flip_a_bit_of_the_weights(archive: Path) -> None:
    """Flip a bit of a weight. Weights are stored uncompressed, so only the checksum shows it."""
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (Path.unlink, r"^The champion channel contains no model\.tar\.gz\.$"),
        (lambda archive: archive.write_bytes(b""), r"cannot be read and scored \("),
        (lambda archive: archive.write_bytes(b"<html>"), r"cannot be read and scored \(BadGzipFile: "),
        (cut_short, r"cannot be read and scored \(EOFError: "),
        (flip_a_bit_of_the_weights, r"cannot be read and scored \("),
    ],
)
def test_a_damaged_archive_is_incomparable(
    tmp_path: Path, text: Corpus, damage: Callable[[Path], object], expected: str
) -> None:
    words = foreign_words()
    model = some_model(len(words), seed=5, nhid=120, emsize=120)
    artifact = write_artifact(tmp_path / "artifact", model, words)
    champion = packed(artifact, tmp_path / "champion")
    assert isinstance(outcome(tmp_path, text, champion), Comparison)
    damage(champion / "model.tar.gz")
    assert re.search(expected, reason(tmp_path, text, champion))


def test_a_champion_is_read_by_releases_without_tarfiles_filter(
    tmp_path: Path, text: Corpus, artifact: Path, monkeypatch: Patch
) -> None:
    """Python 3.11.0 to 3.11.3, for example Debian 12's, have no `filter` in tarfile."""
    extract = tarfile.TarFile.extract

    def without_filter(
        tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, set_attrs: bool = True
    ) -> None:
        extract(tar, member, path, set_attrs)

    monkeypatch.setattr(tarfile.TarFile, "extract", without_filter)
    assert isinstance(outcome(tmp_path, text, packed(artifact, tmp_path / "champion")), Comparison)


def test_too_large_an_artifact_is_refused(
    tmp_path: Path, text: Corpus, artifact: Path, monkeypatch: Patch
) -> None:
    champion = packed(artifact, tmp_path / "champion")
    monkeypatch.setattr(comparison, "MOST_BYTES", 4000)
    assert reason(tmp_path, text, champion) == "The champion's artifact has more than 0 GiB, unpacked."


def test_an_infinite_perplexity_is_incomparable(tmp_path: Path, text: Corpus, artifact: Path) -> None:
    found = outcome(tmp_path, text, packed(artifact, tmp_path / "champion"), test_loss=1e6)
    assert found == Incomparable(
        "The challenger's perplexity on the test split is inf, which cannot be compared."
    )


@pytest.mark.parametrize(("recipe", "other"), [("classic", "fast"), ("fast", "awd"), ("awd", "classic")])
def test_models_of_all_recipes_can_be_compared(
    recipe: str, other: str, tmp_path: Path, capfd: Capture
) -> None:
    channel = write_large_vocabulary(tmp_path / "training")
    first = Job(tmp_path / "first", channel)
    assert first.run(recipe=recipe, epochs=1) == 0
    assert first.metrics()["comparison"] is None
    champion = packed(first.model, tmp_path / "champion")

    again = Job(tmp_path / "again", channel, champion)
    assert again.run(recipe=recipe, epochs=1) == 0
    found = again.metrics()["comparison"]
    assert found["comparable"] is True
    assert found["champion"] == found["challenger"]
    assert found["tokens"] == again.metrics()["test_tokens"]

    capfd.readouterr()
    job = Job(tmp_path / "other", channel, champion)
    assert job.run(recipe=other, epochs=1) == 0
    found = job.metrics()["comparison"]
    assert set(found) == {"comparable", "champion", "challenger", "words", "tokens", "notes"}
    assert set(found["champion"]) == FIGURES
    assert found["champion"] == again.metrics()["comparison"]["champion"]
    assert found["challenger"] != found["champion"]
    assert found["words"] == job.metrics()["vocabulary_size"]
    assert (
        f"\nchampion_perplexity={found['champion']['perplexity']:.4f} "
        f"challenger_perplexity={found['challenger']['perplexity']:.4f}\n"
    ) in capfd.readouterr().out
    assert json.loads((job.model / "metrics.json").read_text())["comparison"] == found


def test_a_missing_champion_does_not_fail_the_job(job: Job, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "champion").mkdir()
    assert Job(job.folder, job.channel, tmp_path / "champion").run(epochs=1) == 0
    sentence = "The champion channel contains no model.tar.gz."
    assert job.metrics()["comparison"] == {"comparable": False, "reason": sentence}
    said = capfd.readouterr()
    assert f'\nchampion=incomparable reason="{sentence}"\n' in said.out
    assert "champion_perplexity" not in said.out
    assert not job.failure.exists()
    assert job.metrics()["test_perplexity"] > 1
