"""Requests for text and the responses to them.

The words of a trained model are not promised, so the model here has random weights, or draws the words that a
test sets.
"""

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference import Run, ServedModel, load, parse
from request_body import InvalidRequest, Request
from sampler import Choice, Memory
from tokenizer import BY_NAME
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN_ID


@pytest.fixture(scope="session")
def served(untrained: Path) -> ServedModel:
    return load(untrained)


class Script:
    """A sampler that draws the given words whatever it has read, and notes what it reads."""

    def __init__(self, words: Iterable[int]) -> None:
        self._words = iter(words)
        self.was_read: list[int] = []

    def start(self) -> Memory:
        return np.zeros(1, np.float32)

    def read(self, words: Sequence[int], memory: Memory) -> Memory:
        self.was_read += words
        return memory

    def draw(self, memory: Memory, choices: Sequence[Choice]) -> list[int]:
        return [next(self._words) for _ in choices]


def text(served: ServedModel, **fields: Any) -> str:
    answer: str = served.generate(Request(**fields))["text"]
    return answer


def numbers(served: ServedModel, words: str) -> list[int]:
    """The numbers of words, which stand between spaces. Each must be in the vocabulary."""
    return [served.vocabulary.numbers[word] for word in words.split()]


def said(served: ServedModel, drawn: str, **fields: Any) -> str:
    """The text of an answer for which the model draws these words."""
    return text(replace(served, sampler=Script(numbers(served, drawn))), **fields)


def test_the_same_request_gives_the_same_text_and_another_seed_another(served: ServedModel) -> None:
    first = text(served, seed=1, words=40)
    text(served, seed=99, words=3)
    torch.rand(3)
    assert text(served, seed=1, words=40) == first
    assert text(served, seed=2, words=40) != first


@pytest.mark.parametrize("words", [1, 2, 17, 1000])
@pytest.mark.parametrize("temperature", [0.001, 0.5, 1.0, 100.0])
def test_text_has_the_words_asked_for(served: ServedModel, words: int, temperature: float) -> None:
    answer = served.generate(Request(seed=words, temperature=temperature, words=words))
    assert answer["words"] == words == len(answer["text"].split())


def test_text_reads_as_the_corpus_does(served: ServedModel) -> None:
    drawn = (
        '"￭ I don ￭\'t like a well ￭-￭ known song ￭, ￭" said the baker ￭. <eos> <eos> <eos> <eos> '
        "Our king bought bread ￭; it cost $￭ 1,000 ￭! The"
    )
    assert said(served, drawn, words=16) == (
        '"I don\'t like a well-known song," said the baker.\n\nOur king bought bread; it cost $1,000!'
    )


def test_unk_is_never_written(served: ServedModel) -> None:
    assert "<unk>" not in text(served, temperature=100, words=1000)


def test_the_model_reads_the_prompt_before_it_draws_a_word(served: ServedModel) -> None:
    script = Script(numbers(served, "rains ￭, Anna"))
    answer = text(replace(served, sampler=script), prompt="When it\nAnna, it", words=1)
    assert script.was_read == numbers(served, "<eos> When it <eos> Anna ￭, it rains ￭,")
    assert answer == "rains,"


def test_a_prompt_may_be_empty_or_have_unknown_words(served: ServedModel) -> None:
    assert text(served, prompt="Anna Zyxgrv 戦場 \ud800", words=5)
    assert text(served, prompt="", words=5) == text(served, prompt="  \n ", words=5) == text(served, words=5)


@pytest.mark.parametrize("prompt", ["Zyxgrv", "戦場 \ud800 zyxgrv\n\nZyxgrv"])
def test_a_prompt_without_one_known_word_is_refused(served: ServedModel, prompt: str) -> None:
    with pytest.raises(InvalidRequest, match="prompt has no word that is in the model's vocabulary") as error:
        served.begin(Request(prompt=prompt))
    assert "'Zyxgrv'" in str(error.value)
    assert "is missing from the text that the model was trained on, or occurs there once" in str(error.value)


def test_unknown_words_of_the_prompt_are_listed_once(served: ServedModel) -> None:
    found = served.generate(Request(prompt="Anna Zyxgrv, “zyxgrv” bread\nZyxgrv WANTS 戦 tea", words=1))
    assert [word for word in found["unknown_words"] if word.isalpha()] == ["Zyxgrv", "zyxgrv", "戦"]
    assert served.generate(Request(prompt="Anna", words=1))["unknown_words"] == []
    assert served.generate(Request(words=1))["unknown_words"] == []


@pytest.mark.parametrize("typed", ["don’t anna", "ANNA"])
def test_a_prompt_finds_its_words_only_with_conventions_that_search(served: ServedModel, typed: str) -> None:
    script = Script(numbers(served, "tea tea"))
    text(replace(served, sampler=script), prompt=typed, words=1)
    assert UNKNOWN_ID not in script.was_read
    first = replace(served, tokenizer=BY_NAME["prose"], sampler=Script(numbers(served, "tea tea")))
    assert first.tokenizer.split_prompt(typed, served.vocabulary.numbers) == first.tokenizer.split(typed)


def test_no_line_begins_with_a_mark_that_belongs_to_the_word_before(served: ServedModel) -> None:
    drawn = "￭, Anna ￭, <eos> ￭, ￭. tea ￭. <eos> ￭! bread it"
    script = Script(numbers(served, drawn))
    assert text(replace(served, sampler=script), words=3) == "Anna,\ntea.\nbread"
    # The model reads those marks as it reads any other word.
    assert [END_OF_LINE_ID, *numbers(served, drawn)[:-1]] == script.was_read


def test_a_text_may_begin_with_a_mark_that_belongs_to_the_prompts_last_word(served: ServedModel) -> None:
    assert said(served, "￭, tea it", prompt="Anna", words=2) == ", tea"
    assert said(served, "￭, tea it", prompt="Anna\n", words=1) == "tea"


def test_a_model_that_only_ends_lines_still_answers(served: ServedModel) -> None:
    stuck = replace(served, sampler=Script(itertools.repeat(served.vocabulary.numbers[END_OF_LINE])))
    assert stuck.generate(Request(words=50))["words"] == 0


def test_a_text_does_not_depend_on_other_requests(served: ServedModel) -> None:
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
                answers[number] = running.pop(number).response()
    assert [answers[number] for number in range(len(requests))] == alone


def test_the_single_most_probable_word_does_not_depend_on_the_seed(served: ServedModel) -> None:
    best = {text(served, seed=seed, temperature=3, words=20, top_k=1) for seed in range(3)}
    assert len(best) == 1
    assert {text(served, seed=seed, temperature=3, words=20, top_p=1e-9) for seed in range(3)} == best


@pytest.mark.parametrize("body", ['{"words": 3}', b'{"words": 3}'])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
def test_a_request_is_json_and_fields_left_out_have_defaults(
    body: str | bytes, content_type: str | None
) -> None:
    assert parse(body, content_type) == Request(seed=1111, temperature=1.0, words=3, prompt="")


@pytest.mark.parametrize("body", ['{"words": 0}', '{"prompt": "\ud800"}', b'{"prompt": "\xff"}'])
def test_an_invalid_request_is_refused(body: str | bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(body, "application/json")


def test_other_content_types_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be application/json, not text/csv"):
        parse("{}", "text/csv")
