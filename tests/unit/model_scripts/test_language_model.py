from pathlib import Path

import pytest
import torch

from language_model import LanguageModel, Shape, load_weights, save_weights

TIED = Shape(vocabulary_size=50, emsize=8, nhid=8, nlayers=2, tied=True)
UNTIED = Shape(vocabulary_size=50, emsize=6, nhid=8, nlayers=1, tied=False)


@pytest.mark.parametrize("shape", [TIED, UNTIED])
def test_scores_cover_the_vocabulary_for_each_word_read(shape: Shape) -> None:
    model = LanguageModel(shape)
    scores, state = model(torch.zeros(5, 3, dtype=torch.int32), model.start(3))
    assert scores.shape == (15, 50)
    assert state[0].shape == (shape.nlayers, 3, shape.nhid)


def test_tied_weights_are_one_matrix_in_memory_and_on_disk(tmp_path: Path) -> None:
    model = LanguageModel(TIED)
    assert model.decoder.weight is model.encoder.weight
    untied = LanguageModel(Shape(**{**TIED.__dict__, "tied": False}))
    assert untied.count_parameters() - model.count_parameters() == 50 * 8

    save_weights(model, tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state["decoder.weight"].data_ptr() == state["encoder.weight"].data_ptr()


def test_tied_weights_need_equal_widths() -> None:
    with pytest.raises(ValueError, match="emsize == nhid, not 6 and 8"):
        LanguageModel(Shape(vocabulary_size=50, emsize=6, nhid=8, nlayers=1, tied=True))


def test_weights_are_saved_as_plain_cpu_tensors(tmp_path: Path) -> None:
    save_weights(LanguageModel(UNTIED), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert type(state) is dict
    assert all(type(tensor) is torch.Tensor and tensor.device.type == "cpu" for tensor in state.values())
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_saved_weights_come_back(tmp_path: Path) -> None:
    first, second = LanguageModel(TIED), LanguageModel(TIED)
    save_weights(first, tmp_path / "model.pt")
    load_weights(second, tmp_path / "model.pt")
    words = torch.arange(12).reshape(4, 3)
    assert torch.equal(first(words, first.start(3))[0], second(words, second.start(3))[0])
