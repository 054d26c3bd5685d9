"""What a request may say, and what the text that answers it is made of."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

import generation
import language_model
from generation import InvalidRequest, Request, Run, ServedModel, load, parse
from sampler import Sampler
from tests.unit.model_scripts.conftest import Job
from vocabulary import END_OF_LINE_ID


@pytest.fixture(scope="session")
def served(trained: Job) -> ServedModel:
    return load(trained.model)


def text(served: ServedModel, **fields: Any) -> str:
    answer: str = served.generate(Request(**fields))["text"]
    return answer


def fond_of(served: ServedModel, trained: Job, number: int, much: float) -> ServedModel:
    """The trained model with a liking for a word."""
    model, _ = language_model.load(trained.model)
    with torch.no_grad():
        model.decoder.bias[number] += much
    return replace(served, sampler=Sampler(model))


def test_the_same_request_gives_the_same_text_and_another_seed_another(served: ServedModel) -> None:
    first = text(served, seed=1, words=40)
    text(served, seed=99, words=3)
    torch.rand(3)
    assert text(served, seed=1, words=40) == first
    assert text(served, seed=2, words=40) != first


def test_generating_leaves_the_process_wide_randomness_alone(served: ServedModel) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    text(served, seed=1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("words", [1, 2, 17, 1000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 100.0])
def test_text_has_the_words_asked_for(served: ServedModel, words: int, temperature: float) -> None:
    answer = served.generate(Request(seed=words, temperature=temperature, words=words))
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


def test_some_unknown_words_and_an_empty_prompt_are_no_trouble(served: ServedModel) -> None:
    assert text(served, prompt="Anna Zyxgrv 戦場 \ud800", words=5)
    assert text(served, prompt="", words=5) == text(served, prompt="  \n ", words=5) == text(served, words=5)


@pytest.mark.parametrize("prompt", ["Zyxgrv", "戦場 \ud800 zyxgrv\n\nZyxgrv"])
def test_a_prompt_without_one_known_word_is_refused(served: ServedModel, prompt: str) -> None:
    with pytest.raises(InvalidRequest, match="prompt has no word that is in the model's vocabulary"):
        served.begin(Request(prompt=prompt))


def test_a_line_break_in_a_prompt_ends_its_line(served: ServedModel) -> None:
    ids = generation.prompt_ids("Anna\ntea", served)
    assert ids.count(END_OF_LINE_ID) == 2
    assert ids[0] == ids[2] == END_OF_LINE_ID


def test_no_line_begins_with_what_belongs_to_a_word_before_but_a_prompt_may_go_on_with_it(
    served: ServedModel, trained: Job
) -> None:
    comma = served.vocabulary.numbers["￭,"]
    fond_of_commas = fond_of(served, trained, comma, 12)
    found = [text(fond_of_commas, seed=seed, temperature=3.0, words=60) for seed in range(5)]
    assert all("," in one and "\n" in one for one in found)
    assert not [line for one in found for line in one.split("\n") if line.startswith(",")]
    assert text(fond_of(served, trained, comma, 100), prompt="Anna", words=5).startswith(",")
    assert not text(fond_of_commas, prompt="Anna\n", temperature=3.0, words=5).startswith(",")


def test_a_model_that_only_ends_lines_still_answers(served: ServedModel, trained: Job) -> None:
    stuck = fond_of(served, trained, END_OF_LINE_ID, 1e6)
    assert stuck.generate(Request(words=50))["words"] == 0


def test_the_text_of_a_request_is_the_same_alone_and_among_others_that_come_and_go(
    served: ServedModel,
) -> None:
    requests = [
        Request(seed=7, words=40, temperature=0.8),
        Request(seed=7, words=25, temperature=1.0, prompt="When it rains, Anna wants bread.\n\n" * 5),
        Request(seed=8, words=30, temperature=3.0),
        Request(seed=9, words=30, temperature=1.2, top_k=20, top_p=0.9),
        Request(seed=10, words=3, prompt="Our king"),
        *(Request(seed=seed, words=10 + seed) for seed in range(20)),
    ]
    alone = [served.generate(request) for request in requests]
    shuffle = random.Random(1)
    waiting, running = list(enumerate(requests)), dict[int, Run]()
    shuffle.shuffle(waiting)
    answers: dict[int, dict[str, Any]] = {}
    while waiting or running:
        while waiting and (not running or shuffle.random() < 0.2):
            number, request = waiting.pop()
            running[number] = served.begin(request)
        batch = shuffle.sample(list(running), shuffle.randint(1, len(running)))
        served.step([running[number] for number in batch])
        for number in batch:
            if running[number].done:
                answers[number] = running.pop(number).answer()
    assert [answers[number] for number in range(len(requests))] == alone


def test_a_request_that_nobody_waits_for_any_more_can_be_dropped(served: ServedModel) -> None:
    wanted, dropped = served.begin(Request(seed=1, words=20)), served.begin(Request(seed=2, words=20))
    for _ in range(5):
        served.step([wanted, dropped])
    while not wanted.done:
        served.step([wanted])
    assert wanted.answer() == served.generate(Request(seed=1, words=20))


def test_top_k_of_one_always_takes_the_best_word(served: ServedModel) -> None:
    best = {text(served, seed=seed, temperature=100, words=20, top_k=1) for seed in range(3)}
    assert best == {text(served, temperature=0.001, words=20)}
    assert {text(served, seed=seed, words=20, top_p=1e-9) for seed in range(3)} == best


def test_fields_left_out_have_defaults() -> None:
    assert parse("{}", "application/json") == Request(
        seed=1111, temperature=1.0, words=100, prompt="", top_k=None, top_p=None
    )


def test_bytes_and_a_charset_are_fine() -> None:
    assert parse(b'{"words": 3}', "application/json; charset=utf-8").words == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0, "temperature": 0.001, "words": 1},
        {"seed": 2**32 - 1, "temperature": 100, "words": 1000, "prompt": "x" * 10_000},
        {"top_k": 1, "top_p": 1},
        {"top_k": 1_000_000, "top_p": 1e-9},
        {"top_k": None, "top_p": None},
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
        ('{"top_k": 0}', "top_k must be from 1 to 1,000,000"),
        ('{"top_k": 1000001}', "top_k must be from 1 to 1,000,000"),
        ('{"top_k": 2.0}', "top_k must be a whole number"),
        ('{"top_p": 0}', "top_p must be above 0"),
        ('{"top_p": 1.1}', "top_p must be from 0 to 1"),
        ('{"top_p": NaN}', "top_p must be from 0 to 1"),
        ('{"top_p": "0.9"}', "top_p must be a number"),
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
