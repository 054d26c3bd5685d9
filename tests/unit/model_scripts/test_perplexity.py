import math

import numpy as np
import pytest
import torch

from language_model import Dropout, LanguageModel, Shape
from perplexity import (
    FEWEST_ROWS,
    MOST_COLUMNS,
    NOT_COUNTED,
    layout,
    mean_loss,
    perplexity,
    size,
    token_losses,
)
from vocabulary import END_OF_LINE_ID, TokenIds


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    shape = Shape(30, emsize=8, nhid=8, nlayers=2, tied=False, cutoffs=(8,), widths=(4,))
    model = LanguageModel(shape, Dropout(inputs=0.5, between=0.5, outputs=0.5))
    torch.nn.init.uniform_(model.decoder.vectors.head, -3, 3)
    return model


def some_tokens(count: int) -> TokenIds:
    return np.random.default_rng(7).integers(0, 30, count).astype(np.int32)


def losses_one_by_one(model: LanguageModel, tokens: TokenIds, before: int) -> list[float]:
    """Each token's loss, reading one word at a time from an empty memory after the word `before`."""
    model.eval()
    losses, state = [], model.start(1)
    with torch.no_grad():
        for token in tokens.tolist():
            hidden, state = model.read(torch.tensor([[before]]), state)
            losses.append(-model.decoder.log_probabilities(hidden[0])[0, token].item())
            before = token
    return losses


@pytest.mark.parametrize("count", [1, 34, 35, 36, 1999, 2000, 2003, 19 * 1000 + 7, 45_001])
def test_every_token_is_counted_once_to_the_last(count: int) -> None:
    tokens = some_tokens(count)
    rows, columns = size(count)
    inputs, targets = layout(tokens, range(rows), slice(0, columns))
    counted = targets.T.flatten()
    assert counted[counted != NOT_COUNTED].tolist() == tokens.tolist()
    assert inputs.T.flatten()[:count].tolist() == [END_OF_LINE_ID, *tokens[:-1].tolist()]
    assert targets.shape[1] <= MOST_COLUMNS
    middle = range(rows // 3, rows // 2)
    for some, whole in zip(layout(tokens, middle, slice(0, columns)), (inputs, targets), strict=True):
        assert torch.equal(some, whole[middle.start : middle.stop])


def test_columns_start_from_the_true_word_before_them(model: LanguageModel) -> None:
    tokens = some_tokens(2 * FEWEST_ROWS + 1)
    middle = FEWEST_ROWS + 1
    expected = losses_one_by_one(model, tokens[:middle], END_OF_LINE_ID) + losses_one_by_one(
        model, tokens[middle:], int(tokens[middle - 1])
    )
    assert mean_loss(model, tokens) == pytest.approx(np.mean(expected), rel=1e-5)
    assert token_losses(model.eval(), tokens) == pytest.approx(expected, rel=1e-4)


def test_dropout_is_off_while_measuring_and_back_on_after(model: LanguageModel) -> None:
    tokens = some_tokens(100)
    model.train()
    assert mean_loss(model, tokens) == mean_loss(model, tokens)
    assert model.training


def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large(model: LanguageModel) -> None:
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    model.decoder.set_frequencies(torch.ones(30))
    assert perplexity(mean_loss(model, some_tokens(500))) == pytest.approx(30)


def test_a_loss_beyond_floats_is_an_infinite_perplexity() -> None:
    assert perplexity(1e6) == math.inf
    assert math.isnan(perplexity(math.nan))
