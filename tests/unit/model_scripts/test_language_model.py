import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from language_model import Batch, Dropout, LanguageModel, Shape, load, mask, save_config, save_weights
from user_error import UserError

PLAIN = Shape(vocabulary_size=50, emsize=6, nhid=8, nlayers=2, tied=False)
PLAIN_TIED = Shape(vocabulary_size=50, emsize=8, nhid=8, nlayers=2, tied=True)
ADAPTIVE = Shape(50, emsize=8, nhid=12, nlayers=3, tied=True, cutoffs=(10, 30), widths=(4, 2))
ADAPTIVE_UNTIED = Shape(50, emsize=6, nhid=8, nlayers=1, tied=False, cutoffs=(10,), widths=(3,))
SHAPES = [PLAIN, PLAIN_TIED, ADAPTIVE, ADAPTIVE_UNTIED]


def some_words(rows: int = 5, columns: int = 3) -> Tensor:
    return torch.randint(0, 50, (rows, columns), generator=torch.Generator().manual_seed(7))


def a_batch(model: LanguageModel, words: Tensor, last: Tensor) -> Batch:
    """Return the batch that reads words (rows, columns), and then the words `last` (columns)."""
    return Batch.of(torch.cat([words, last[None]]), model.shape, torch.device("cpu"))


def evaluated(shape: Shape) -> LanguageModel:
    torch.manual_seed(3)
    model = LanguageModel(shape)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return model.eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_probabilities_of_all_words_sum_to_one(shape: Shape) -> None:
    model = evaluated(shape)
    hidden, _ = model.read(some_words(), model.start(3))
    probabilities = model.decoder.log_probabilities(hidden.flatten(0, 1)).exp()
    assert probabilities.shape == (15, 50)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(15))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_that_of_the_probabilities(shape: Shape) -> None:
    model, words = evaluated(shape), some_words()
    batch = a_batch(model, words, last=torch.tensor([40, 12, 3]))
    targets = batch.targets
    hidden, _ = model.read(words, model.start(3))
    each = -model.decoder.log_probabilities(hidden.flatten(0, 1)).gather(1, targets.reshape(-1, 1))[:, 0]
    loss, _, _ = model(batch, model.start(3))
    torch.testing.assert_close(loss, each.sum(), rtol=1e-5, atol=0)
    torch.testing.assert_close(model.decoder.losses(hidden.flatten(0, 1), targets.flatten()), each)


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_in_parts_carries_the_memory(shape: Shape) -> None:
    model, words = evaluated(shape), some_words(7)
    whole, end = model.read(words, model.start(3))
    first, state = model.read(words[:4], model.start(3))
    second, state = model.read(words[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert [h.shape for h, _ in end] == [(1, 3, width) for width in shape.layer_widths]
    for (h, c), (h_whole, c_whole) in zip(state, end, strict=True):
        torch.testing.assert_close((h, c), (h_whole, c_whole))


def test_without_cutoffs_it_is_the_plain_model() -> None:
    """Embedding, a two-layer nn.LSTM and a linear layer, as in PyTorch's word_language_model example."""
    model, words = evaluated(PLAIN), some_words()
    lstm = nn.LSTM(6, 8, 2)
    with torch.no_grad():
        for layer, ours in enumerate(model.layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(lstm, f"{name}_l{layer}").copy_(ours.get_parameter(f"{name}_l0"))
    output, _ = lstm(functional.embedding(words, model.encoder.head))
    scores = functional.linear(output.flatten(0, 1), model.decoder.vectors.head, model.decoder.bias)
    hidden, _ = model.read(words, model.start(3))
    torch.testing.assert_close(
        model.decoder.log_probabilities(hidden.flatten(0, 1)), functional.log_softmax(scores, 1)
    )


def test_a_new_model_predicts_each_word_as_often_as_it_was_counted() -> None:
    counts = torch.arange(50, 0, -1, dtype=torch.float64)
    for shape in SHAPES:
        model = LanguageModel(shape)
        model.decoder.set_frequencies(counts)
        with torch.no_grad():
            found = model.decoder.log_probabilities(torch.zeros(1, shape.layer_widths[-1])).exp()[0]
        torch.testing.assert_close(found, (counts / counts.sum()).float())


def test_gradients_reach_every_parameter() -> None:
    words = torch.arange(50).reshape(10, 5)
    for shape in SHAPES:
        model = LanguageModel(shape, Dropout(words=0.1, inputs=0.1, between=0.1, outputs=0.1, weights=0.1))
        loss, _, _ = model(a_batch(model, words, words[0]), model.start(5))
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_untied_models_word_vectors_get_sparse_gradients() -> None:
    model = LanguageModel(ADAPTIVE_UNTIED)
    loss, _, _ = model(a_batch(model, torch.tensor([[3], [12]]), torch.tensor([4])), model.start(1))
    loss.backward()
    vectors = [model.encoder.head, *model.encoder.tails]
    rows = [parameter.grad.coalesce().indices()[0].tolist() for parameter in vectors]
    # The clamped place of a tail's word in the head has a gradient, of zero.
    assert rows == [[3, 9], [2]]


@pytest.mark.parametrize("part", ["words", "inputs", "between", "outputs", "weights"])
@pytest.mark.parametrize("locked", [False, True])
def test_dropout_acts_in_training_alone(part: str, locked: bool) -> None:
    torch.manual_seed(1)
    model, words = LanguageModel(PLAIN_TIED, Dropout(**{part: 0.5}, locked=locked)), some_words(20)
    batch = a_batch(model, words, words[0])
    losses = {float(model(batch, model.start(3))[0].detach()) for _ in range(3)}
    assert len(losses) == 3
    model.eval()
    assert len({float(model(batch, model.start(3))[0].detach()) for _ in range(3)}) == 1


def test_a_locked_mask_is_the_same_in_every_row() -> None:
    torch.manual_seed(1)
    model = LanguageModel(PLAIN_TIED, Dropout(outputs=0.5, locked=True))
    _, (dropped, whole), _ = model(a_batch(model, some_words(20), torch.zeros(3).long()), model.start(3))
    assert len({tuple(row) for row in (dropped == 0).flatten(1).tolist()}) == 1
    torch.testing.assert_close(dropped[dropped != 0], 2 * whole[dropped != 0])


def test_a_dropped_word_is_dropped_wherever_it_stands() -> None:
    torch.manual_seed(1)
    model = LanguageModel(PLAIN_TIED, Dropout(words=0.5))
    words = some_words(40)
    zero = (model._drop_words(words, places=[]) == 0).all(2)
    assert 0.2 < zero.float().mean() < 0.8
    for word in words.unique():
        assert len(zero[words == word].unique()) == 1


def test_tied_weights_are_one_matrix_in_memory_and_on_disk(tmp_path: Path) -> None:
    model = LanguageModel(PLAIN_TIED)
    assert model.decoder.vectors is model.encoder
    save_weights(model, tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state["decoder.vectors.head"].data_ptr() == state["encoder.head"].data_ptr()
    assert (tmp_path / "model.pt").stat().st_size < 4 * model.count_parameters() + 20_000


@pytest.mark.parametrize("shape", SHAPES)
def test_an_artifact_comes_back_as_the_model_it_was(shape: Shape, tmp_path: Path) -> None:
    first = evaluated(shape)
    save_weights(first, tmp_path / "model.pt")
    save_config(tmp_path / "config.json", shape, "prose", {"epochs": 3})
    second, config = load(tmp_path)
    assert second.shape == shape
    assert (config["tokenizer"], config["epochs"]) == ("prose", 3)
    words = some_words()
    assert torch.equal(first.read(words, first.start(3))[0], second.read(words, second.start(3))[0])


@pytest.mark.parametrize(("version", "age"), [(None, "format 1, of an older"), (3, "format 3, of a newer")])
def test_an_artifact_of_another_version_is_refused(tmp_path: Path, version: int | None, age: str) -> None:
    save_config(tmp_path / "config.json", PLAIN, "prose", {})
    document = json.loads((tmp_path / "config.json").read_text())
    del document["format"]
    if version:
        document["format"] = version
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=f"{age} version of Lexline; this version reads format 2"):
        load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.65, 0.99999])
def test_a_mask_drops_the_share_asked_for_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(1)
    kept = mask(torch.empty(999, 1001), share)
    assert kept.unique().numel() <= 2
    deviation = (share * (1 - share) / kept.numel()) ** 0.5
    assert abs(float((kept == 0).double().mean()) - share) <= 5 * deviation + 2**-16
    assert float(kept.max()) * (1 - share) == pytest.approx(1, rel=0.5 if share > 0.9 else 1e-4)


def test_neighbours_in_a_mask_are_dropped_independently() -> None:
    """One random number serves four neighbours."""
    torch.manual_seed(1)
    dropped = (mask(torch.empty(100_000, 4), 0.3) == 0).double()
    together = (dropped.T @ dropped) / len(dropped)
    torch.testing.assert_close(
        together, torch.full((4, 4), 0.09).double().fill_diagonal_(0.3), atol=0.01, rtol=0
    )
