import copy
import io
from dataclasses import replace

import pytest
import torch
from torch import nn

import recipes
from hyperparameters import Hyperparameters
from language_model import Batch, LanguageModel, Shape
from optimisation import PATIENCE, Optimisation

SHAPE = Shape(50, emsize=8, nhid=8, nlayers=1, tied=True, cutoffs=(10,), widths=(4,))
WORDS = torch.arange(40).reshape(8, 5)


def a_model(shape: Shape = SHAPE) -> LanguageModel:
    torch.manual_seed(5)
    return LanguageModel(shape)


def train(model: LanguageModel, optimisation: Optimisation, steps: int) -> list[float]:
    """The learning rates of some steps over the same words."""
    rates = []
    for _ in range(steps):
        batch = Batch.of(torch.cat([WORDS, WORDS[:1]]), model.shape, WORDS.device)
        loss, outputs, _ = model(batch, model.start(5))
        (loss / WORDS.numel() + optimisation.penalty(outputs)).backward()
        rates.append(optimisation.step(len(WORDS)))
    return rates


def test_classic_divides_the_rate_by_four_when_valid_does_not_improve() -> None:
    model = a_model()
    optimisation = Optimisation(model, Hyperparameters(recipe="classic", lr=20), 10)
    rates = []
    for valid in (3.0, 2.0, 2.0, 2.5, 1.5):
        rates += train(model, optimisation, 1)
        optimisation.epoch_ended(valid)
    assert rates == [20, 20, 20, 5, 1.25]


def test_the_fast_rate_rises_and_falls_to_nothing_over_exactly_the_epochs_asked_for() -> None:
    model = a_model()
    rates = train(model, Optimisation(model, Hyperparameters(lr=0.01, epochs=4), 25), 100)
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert 0 < top < 10
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_a_long_training_moves_the_vectors_of_rare_words_less(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = {}
    for rare_steps in (1000.0, 100.0, 100 / 16):  # of 100 steps
        monkeypatch.setitem(recipes.BY_NAME, "fast", replace(recipes.BY_NAME["fast"], rare_steps=rare_steps))
        model = a_model()
        before = copy.deepcopy(list(model.parameters()))
        train(model, Optimisation(model, Hyperparameters(lr=0.01, epochs=4), 25), 1)
        rare = {id(parameter) for parameter in model.of_rare_words()}
        moved[rare_steps] = [
            (id(own) in rare, float((own - old).detach().norm()))
            for own, old in zip(model.parameters(), before, strict=True)
        ]
    assert moved[1000.0] == moved[100.0]
    assert len([rare for rare, _ in moved[100.0] if rare]) == 2
    for (is_rare, whole), (_, slower) in zip(moved[100.0], moved[100 / 16], strict=True):
        assert slower == pytest.approx(whole * (0.25 if is_rare else 1.0), rel=1e-4)


def test_awd_averages_once_valid_stops_improving_and_evaluates_the_average() -> None:
    model = a_model()
    optimisation = Optimisation(model, Hyperparameters(recipe="awd", lr=1.0), 10)
    for valid in [5.0, *[6.0] * (PATIENCE + 1)]:
        train(model, optimisation, 1)
        assert not optimisation.averages
        optimisation.epoch_ended(valid)
    seen = [copy.deepcopy(list(model.parameters()))]
    for _ in range(3):
        train(model, optimisation, 1)
        seen.append(copy.deepcopy(list(model.parameters())))
    own = copy.deepcopy(list(model.parameters()))
    with optimisation.averaged():
        for index, parameter in enumerate(model.parameters()):
            torch.testing.assert_close(parameter, sum(step[index] for step in seen) / len(seen))
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), own, strict=True))


def test_awd_penalises_large_and_restless_activations() -> None:
    optimisation = Optimisation(a_model(), Hyperparameters(recipe="awd"), 10)
    still = torch.full((4, 2, 3), 0.5)
    assert float(optimisation.penalty([still, still])) == pytest.approx(2 * 0.25)
    restless = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1)
    assert float(optimisation.penalty([restless, restless])) == pytest.approx(2 * 0.5 + 1)
    assert Optimisation(a_model(), Hyperparameters(recipe="classic"), 10).penalty([still, still]) == 0.0


def test_the_penalties_of_fast_rise_over_two_epochs_as_its_dropout_does() -> None:
    model, settings = a_model(), Hyperparameters(epochs=4, dropout=0.2)
    optimisation = Optimisation(model, settings, 10)
    still = torch.full((4, 2, 3), 0.5)
    restless = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1)
    found = []
    for _ in range(4):
        large = float(optimisation.penalty([still, still]))
        changing = float(optimisation.penalty([restless, restless]))
        found.append((large, changing, recipes.dropout(settings, optimisation.steps / 10).outputs))
        train(model, optimisation, 10)
    whole = (2 * 0.25, 2 * 0.5 + 1, 0.2)
    assert found == [pytest.approx([share * one for one in whole]) for share in (0, 0.5, 1, 1)]


def test_a_short_window_has_a_smaller_rate_in_awd() -> None:
    optimisation = Optimisation(a_model(), Hyperparameters(recipe="awd", lr=30, bptt=70), 10)
    assert optimisation.learning_rate(70) == 30
    assert optimisation.learning_rate(35) == 15


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
def test_sparse_gradients_leave_words_that_were_not_read_alone(recipe: str) -> None:
    model = a_model(Shape(50, emsize=8, nhid=8, nlayers=1, tied=False, cutoffs=(10,), widths=(4,)))
    before = copy.deepcopy(model.encoder.tails[0])
    train(model, Optimisation(model, Hyperparameters(recipe=recipe, tied=False, lr=0.1), 10), 2)
    changed = (model.encoder.tails[0] != before).any(1).nonzero().flatten() + 10
    assert changed.tolist() == list(range(10, 40))


def test_clipping_bounds_the_norm_of_sparse_and_dense_gradients_together() -> None:
    model = a_model(Shape(50, emsize=8, nhid=8, nlayers=1, tied=False))
    before = copy.deepcopy(list(model.parameters()))
    train(model, Optimisation(model, Hyperparameters(recipe="classic", tied=False, lr=1.0, clip=1e-3), 10), 1)
    moved = [one - other for one, other in zip(model.parameters(), before, strict=True)]
    assert float(nn.utils.get_total_norm(moved)) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
def test_training_goes_on_from_a_saved_state_to_the_bit(recipe: str) -> None:
    settings = Hyperparameters(recipe=recipe, lr=0.05, epochs=3)
    model = a_model()
    optimisation = Optimisation(model, settings, 10)
    train(model, optimisation, 4)
    for valid in [5.0, *[6.0] * (PATIENCE + 1)]:
        optimisation.epoch_ended(valid)
    train(model, optimisation, 2)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimisation": optimisation.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    resumed = a_model()
    resumed.load_state_dict(saved["model"])
    again = Optimisation(resumed, settings, 10)
    again.load_state_dict(saved["optimisation"])
    assert train(resumed, again, 3) == train(model, optimisation, 3)
    with optimisation.averaged(), again.averaged():
        pairs = zip(model.parameters(), resumed.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
