import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import generate as serving
from generate import (
    InvalidRequest,
    Request,
    ServedModel,
    draw,
    input_fn,
    model_fn,
    output_fn,
    parse,
    predict_fn,
)
from tests.unit.model_scripts.conftest import Job
from vocabulary import END_OF_LINE_ID, UNKNOWN_ID


@pytest.fixture(scope="session")
def served(trained: Job) -> ServedModel:
    return model_fn(str(trained.model))


def text(served: ServedModel, **fields: Any) -> str:
    answer: str = predict_fn(Request(**fields), served)["text"]
    return answer


def test_an_answer_tells_its_text_and_what_made_it(trained: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXLINE_MODEL", "lexline-sotu-0123456789ab")
    served = model_fn(str(trained.model))
    request = input_fn('{"seed": 7, "temperature": 0.8, "words": 12, "prompt": "Anna"}', "application/json")
    body, content_type = output_fn(predict_fn(request, served), "application/json")
    answer = json.loads(body)
    assert content_type == "application/json"
    assert len(answer.pop("text").split()) == 12
    assert answer == {"words": 12, "seed": 7, "temperature": 0.8, "model": "lexline-sotu-0123456789ab"}


def test_the_same_request_gives_the_same_text_and_another_seed_another(served: ServedModel) -> None:
    first = text(served, seed=1, words=40)
    text(served, seed=99, words=3)
    torch.rand(3)
    assert text(served, seed=1, words=40) == first
    assert text(served, seed=2, words=40) != first


def test_the_number_of_threads_does_not_change_the_text(served: ServedModel) -> None:
    first = text(served, seed=1, words=100)
    try:
        torch.set_num_threads(3)
        assert text(served, seed=1, words=100) == first
    finally:
        torch.set_num_threads(1)


def test_generating_leaves_the_process_wide_randomness_alone(served: ServedModel) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    text(served, seed=1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("words", [1, 2, 17, 1000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 100.0])
def test_text_has_the_words_asked_for(served: ServedModel, words: int, temperature: float) -> None:
    answer = predict_fn(Request(seed=words, temperature=temperature, words=words), served)
    assert answer["words"] == words == len(answer["text"].split())


@pytest.mark.parametrize("temperature", [0.001, 0.01, 0.1, 10, 100])
def test_every_temperature_gives_text(served: ServedModel, temperature: float) -> None:
    assert text(served, temperature=temperature, words=20)


def test_text_reads_as_the_corpus_does(served: ServedModel) -> None:
    found = text(served, seed=4, temperature=0.3, words=200)
    assert "￭" not in found
    assert " ," not in found
    assert " ." not in found
    assert "a well-known song" in found or "don't like" in found
    assert "\n\n\n" not in found


def test_unk_is_never_written(served: ServedModel) -> None:
    assert "<unk>" not in text(served, temperature=100, words=1000)


def test_a_prompt_steers_the_text(served: ServedModel) -> None:
    assert {text(served, prompt="When it", words=1, temperature=0.01, seed=seed) for seed in range(5)} == {
        "rains,"
    }


def test_unknown_words_and_an_empty_prompt_are_no_trouble(served: ServedModel) -> None:
    assert text(served, prompt="Zyxgrv 戦場 \ud800!", words=5)
    assert text(served, prompt="", words=5) == text(served, prompt="  \n ", words=5) == text(served, words=5)


def test_a_line_break_in_a_prompt_ends_its_line(served: ServedModel) -> None:
    ids = serving.prompt_ids("Anna\ntea", served)
    assert ids.count(END_OF_LINE_ID) == 2
    assert ids[0] == ids[2] == END_OF_LINE_ID


def test_no_line_begins_with_what_belongs_to_a_word_before_but_a_prompt_may_go_on_with_it(
    trained: Job,
) -> None:
    fond_of_commas = model_fn(str(trained.model))
    with torch.no_grad():
        fond_of_commas.model.decoder.bias[fond_of_commas.vocabulary.numbers["￭,"]] += 12
    found = [text(fond_of_commas, seed=seed, temperature=3.0, words=60) for seed in range(5)]
    assert all("," in one and "\n" in one for one in found)
    assert not [line for one in found for line in one.split("\n") if line.startswith(",")]
    assert text(fond_of_commas, prompt="Anna", temperature=0.1, words=5).startswith(",")
    assert not text(fond_of_commas, prompt="Anna\n", temperature=3.0, words=5).startswith(",")


def test_a_model_that_only_ends_lines_still_answers(served: ServedModel, trained: Job) -> None:
    stuck = model_fn(str(trained.model))
    with torch.no_grad():
        stuck.model.decoder.bias[END_OF_LINE_ID] = 1e6
    assert predict_fn(Request(words=50), stuck)["words"] == 0


def test_words_are_drawn_from_the_softmax_at_the_temperature_without_unk() -> None:
    scores = torch.tensor([5.0, 1.0, 0.0, -1.0, 2.0])
    draws = torch.Generator().manual_seed(0)
    counts = torch.zeros(5)
    for _ in range(20_000):
        counts[draw(scores, 2.0, draws)] += 1
    expected = torch.softmax(torch.tensor([-torch.inf, 1.0, 0.0, -1.0, 2.0]) / 2.0, 0)
    assert counts[UNKNOWN_ID] == 0
    assert torch.allclose(counts / 20_000, expected, atol=0.012)


def test_a_low_temperature_takes_the_best_word_and_a_high_one_any() -> None:
    scores = torch.tensor([9e4, -3e4, 8e4, 7.99e4])
    draws = torch.Generator().manual_seed(0)
    assert {draw(scores, 0.001, draws) for _ in range(100)} == {2}
    mild = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert {draw(mild, 100, draws) for _ in range(100)} == {1, 2, 3}


def test_fields_left_out_have_defaults() -> None:
    assert parse("{}", "application/json") == Request(seed=1111, temperature=1.0, words=100, prompt="")


def test_bytes_and_a_charset_are_fine() -> None:
    assert parse(b'{"words": 3}', "application/json; charset=utf-8").words == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0, "temperature": 0.001, "words": 1},
        {"seed": 2**32 - 1, "temperature": 100, "words": 1000, "prompt": "x" * 10_000},
    ],
)
def test_limits_are_inside(fields: dict[str, Any]) -> None:
    assert parse(json.dumps(fields), "application/json") == replace(Request(), **fields)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"wrods": 3}', "Unknown field 'wrods'"),
        ('{"' + 100_000 * "x" + '": 3}', f"Unknown field '{50 * 'x'}'"),
        ('{"words": 0}', "words must be from 1 to 1,000"),
        ('{"words": 1001}', "words must be from 1 to 1,000"),
        ('{"words": 3.0}', "words must be a whole number"),
        ('{"words": true}', "words must be a whole number"),
        ('{"words": "3"}', "words must be a whole number"),
        ('{"temperature": 0}', "temperature must be from 0.001 to 100"),
        ('{"temperature": 100.1}', "temperature must be from 0.001 to 100"),
        ('{"temperature": NaN}', "temperature must be from 0.001 to 100"),
        ('{"temperature": true}', "temperature must be a number"),
        ('{"temperature": null}', "temperature must be a number"),
        ('{"seed": -1}', "seed must be from 0 to 4,294,967,295"),
        ('{"seed": 4294967296}', "seed must be from 0 to 4,294,967,295"),
        ('{"seed": false}', "seed must be a whole number"),
        ('{"prompt": 3}', "prompt must be text"),
        (json.dumps({"prompt": "x" * 10_001}), "prompt must be at most 10,000 characters"),
        ("[]", "must be a JSON object"),
        ("seed=3", "not JSON"),
        ("[" * 200_000, "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(body: str | bytes, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(body, "application/json")
    assert sentence in str(refusal.value)


def test_other_content_types_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be application/json, not text/csv"):
        parse("{}", "text/csv")


def test_loading_runs_no_code_from_the_artifact(trained: Job, tmp_path: Path) -> None:
    for name in ("config.json", "vocabulary"):
        (tmp_path / name).write_bytes((trained.model / name).read_bytes())
    torch.save({"encoder.weight": Path("a pickled object")}, tmp_path / "model.pt")
    with pytest.raises(Exception, match=r"Weights only load failed"):
        model_fn(str(tmp_path))
