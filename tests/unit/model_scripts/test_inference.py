"""Requests for text and the responses to them.

The words of a trained model are not promised, so the model here has random weights, or draws the words that a
test sets.
"""

import itertools
import math
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cache_perplexity
import inference
import language_model
import perplexity
from continuous_cache import Settings
from inference import Continuation, Run, ScoreRun, ServedModel, load, parse, read_text
from request_body import InvalidRequest, Request, ScoreRequest
from sampler import Choice, Memory
from tests.unit.model_scripts.conftest import Job, Patch
from tokenizer import BY_NAME
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN_ID, Vocabulary


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

    def log_probabilities(self, memory: Memory, words: Sequence[int]) -> list[float]:
        return [-1.0 for _ in words]


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
        Request(seed=11, words=60, cache=True),
        Request(seed=12, words=20, prompt="Our king wants bread", n=3, cache=True, temperature=0.7),
        ScoreRequest("When it rains, Anna wants tea. " * 30, cache=True),
        *(Request(seed=seed, words=10 + seed) for seed in range(20)),
    ]
    alone = [served.generate(request) for request in requests]
    shuffle = random.Random(1)
    waiting, running = list(enumerate(requests)), dict[int, Run | ScoreRun]()
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


# --- several texts, stop strings, tokens, echo -------------------------------------------------------------


def test_n_texts_are_those_of_n_seeds(served: ServedModel) -> None:
    request = Request(seed=2**32 - 2, words=20, prompt="Our king", temperature=2.0)
    answer = served.generate(replace(request, n=4))
    seeds = [2**32 - 2, 2**32 - 1, 0, 1]
    assert [each["seed"] for each in answer["texts"]] == seeds
    alone = [text(served, **{**vars(request), "seed": seed}) for seed in seeds]
    assert [each["text"] for each in answer["texts"]] == alone
    assert (answer["text"], answer["seed"]) == (alone[0], seeds[0])
    assert served.generate(replace(request, n=1))["texts"][0]["text"] == alone[0]


def test_more_texts_than_are_advanced_at_once_are_the_same(served: ServedModel, monkeypatch: Patch) -> None:
    request = Request(words=5, n=9, prompt="Anna", echo=True, tokens=7, return_log_probabilities=True)
    expected = served.generate(request)
    monkeypatch.setattr(inference, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(inference, "SCORED_AT_ONCE", 3)
    assert served.generate(request) == expected


@pytest.mark.parametrize(
    ("stop", "expected", "reason"),
    [
        (("tea",), "Anna wants", "stop"),
        (("ants t", "zzz"), "Anna w", "stop"),
        ((".\n",), "Anna wants tea", "stop"),
        (("\n",), "Anna wants tea.", "stop"),
        (("tea", "wants"), "Anna", "stop"),
        (("Anna",), "", "stop"),
        (("gold",), "Anna wants tea.\nThe baker", "length"),
    ],
)
def test_a_text_ends_before_the_first_stop_string(
    served: ServedModel, stop: tuple[str, ...], expected: str, reason: str
) -> None:
    script = Script(numbers(served, "<eos> Anna wants tea ￭. <eos> The baker bought"))
    answer = replace(served, sampler=script).generate(Request(words=5, stop=stop))
    assert (answer["text"], answer["finish_reason"]) == (expected, reason)
    assert answer["words"] == len(expected.split())


def test_a_stop_string_is_not_looked_for_in_the_prompt(served: ServedModel) -> None:
    script = Script(numbers(served, "tea Anna"))
    fields = {"prompt": "Anna wants", "stop": ("Anna",), "echo": True, "tokens": 9}
    assert text(replace(served, sampler=script), **fields) == "Anna wants tea "


@pytest.mark.parametrize(
    ("prompt", "continued"),
    [
        ("Anna wants", " tea, bread.\n\nOur"),
        ("Anna wants ", "tea, bread.\n\nOur"),
        ("Anna wants\n", "tea, bread.\n\nOur"),
        ("", "tea, bread.\n\nOur"),
    ],
)
def test_with_tokens_the_prompt_and_the_text_are_one(
    served: ServedModel, prompt: str, continued: str
) -> None:
    drawn = "tea ￭, bread ￭. <eos> <eos> Our"
    for echo in (False, True):
        script = replace(served, sampler=Script(numbers(served, drawn)))
        answer = script.generate(Request(prompt=prompt, tokens=7, echo=echo))
        assert answer["text"] == (prompt if echo else "") + continued
        assert (answer["tokens"], answer["finish_reason"]) == (7, "length")
        assert answer["prompt_tokens"] == len(prompt.split()) + prompt.count("\n")


def test_the_penalty_counts_the_words_of_the_prompt_and_of_the_text_but_no_line_ends(
    served: ServedModel,
) -> None:
    script = Script(numbers(served, "bread ￭, <eos> The baker"))
    scripted = replace(served, sampler=script)
    run = scripted.begin(Request(prompt="Anna wants\ntea", words=2, repetition_penalty=1.5))
    while not run.done:
        (reader,) = run.readers
        scripted.step([run])
    assert isinstance(reader, Continuation)
    assert reader.choice.repeated == {*numbers(served, "Anna wants tea bread ￭, The baker")}


def test_a_high_penalty_avoids_repetitions(served: ServedModel) -> None:
    plain, penalised = (
        text(served, words=20, temperature=0.2, seed=1, repetition_penalty=penalty)
        for penalty in (None, 10.0)
    )
    assert len(set(penalised.split())) > len(set(plain.split()))


# --- log probabilities and scores --------------------------------------------------------------------------

TEXT = 'When it rains, Anna wants tea.\n\n"I don\'t like Zyxgrv," said our king.\n'


def test_a_score_is_the_models_loss_over_the_text(served: ServedModel, untrained: Path) -> None:
    """The loss is that of training's own function, over the same tokens."""
    model, _ = language_model.load(untrained)
    scores = served.generate(ScoreRequest(TEXT))
    words = [word for line in TEXT.splitlines() for word in [*served.tokenizer.split(line), END_OF_LINE]]
    tokens = np.array(served.vocabulary.encode(words), np.int32)
    loss = perplexity.mean_loss(model, tokens)
    assert scores["tokens"] == len(tokens)
    assert scores["perplexity"] == pytest.approx(perplexity.perplexity(loss), rel=1e-5)
    assert scores["log_probability"] == pytest.approx(-loss * len(tokens), rel=1e-5)
    assert scores["bits_per_character"] == pytest.approx(loss * len(tokens) / np.log(2) / len(TEXT), rel=1e-5)
    assert scores["unknown_words"] == ["Zyxgrv"]


def test_the_perplexity_of_a_split_is_the_one_that_training_printed(trained: Job) -> None:
    served = load(trained.model)
    scores = served.generate(ScoreRequest((trained.channel / "test").read_text(encoding="utf-8")))
    assert scores["perplexity"] == pytest.approx(trained.metrics()["test_perplexity"], rel=1e-4)


def test_each_word_of_a_score_has_its_place(served: ServedModel) -> None:
    entries = served.generate(ScoreRequest(TEXT))["log_probabilities"]
    assert [TEXT[entry["start"] : entry["end"]] for entry in entries] == [entry["word"] for entry in entries]
    words = [word.strip("￭") for line in TEXT.splitlines() for word in [*served.tokenizer.split(line), "\n"]]
    assert [entry["word"] for entry in entries] == words
    assert [entry["word"] for entry in entries if not entry["known"]] == ["Zyxgrv"]


def test_log_probabilities_of_a_text_are_those_of_its_score(served: ServedModel) -> None:
    request = Request(
        prompt="When it rains, Anna",
        tokens=40,
        echo=True,
        temperature=1.7,
        top_k=20,
        return_log_probabilities=True,
        alternatives=2,
    )
    answer = served.generate(request)
    scores = served.generate(ScoreRequest(answer["text"], alternatives=2))
    assert answer["log_probabilities"] == scores["log_probabilities"]
    without = served.generate(replace(request, echo=False))
    shift = len(request.prompt)
    assert [(e["start"] + shift, e["log_probability"]) for e in without["log_probabilities"]] == [
        (e["start"], e["log_probability"]) for e in answer["log_probabilities"][answer["prompt_tokens"] :]
    ]
    for entry in answer["log_probabilities"]:
        first, second = (each["log_probability"] for each in entry["alternatives"])
        assert first >= second
        assert first >= entry["log_probability"]


def test_words_of_a_text_have_their_places_where_lines_are_tidied(served: ServedModel) -> None:
    drawn = "<eos> ￭, Anna ￭, <eos> <eos> <eos> tea ￭. <eos> bread"
    script = Script(numbers(served, drawn))
    answer = replace(served, sampler=script).generate(Request(words=2, return_log_probabilities=True))
    assert answer["text"] == "Anna,\n\ntea."
    entries = [(e["word"], e["start"]) for e in answer["log_probabilities"] if e["word"]]
    assert entries == [("Anna", 0), (",", 4), ("\n", 5), ("\n", 6), ("tea", 7), (".", 10)]


def test_scores_and_texts_do_not_depend_on_other_requests(served: ServedModel) -> None:
    requests: list[Request | ScoreRequest] = [
        ScoreRequest(TEXT * 3),
        ScoreRequest("Anna"),
        Request(words=20, n=3, return_log_probabilities=True, min_p=0.01, seed=4),
        Request(words=9, repetition_penalty=1.4, stop=("tea",), prompt="Our king"),
    ]
    alone = [served.generate(request) for request in requests]
    runs = [served.begin(request) for request in requests]
    while unfinished := [run for run in runs if not run.done]:
        served.step(unfinished)
    assert [run.response() for run in runs] == alone


@pytest.mark.parametrize("blank", [" ", "\u2003 "])
def test_a_text_without_words_cannot_be_scored(served: ServedModel, blank: str) -> None:
    with pytest.raises(InvalidRequest, match="text has no words"):
        served.begin(ScoreRequest(blank))


def test_ordinary_text_is_scored_by_a_model_of_tokenized_text_as_a_prompt_is_read(
    served: ServedModel,
) -> None:
    words = ["<unk>", "<eos>", "Anna", "do", "n't", "like", "well", "@-@", "known", "tea", ".", ","]
    wiki = replace(served, tokenizer=BY_NAME["tokenized-2"], vocabulary=Vocabulary(words))
    typed = read_text("Anna don't like well-known tea.", wiki)
    split = read_text("Anna do n't like well @-@ known tea . , , ,", wiki)
    assert [words[number] for number in typed.numbers[1:]] == words[2:11]
    assert typed.numbers == split.numbers[:-3]
    assert not typed.unknown_words


# --- the continuous cache ----------------------------------------------------------------------------------


def test_a_score_with_a_cache_has_both_figures(
    served: ServedModel, untrained: Path, monkeypatch: Patch
) -> None:
    assert served.cache is not None
    long = TEXT * 12
    plain, both = served.generate(ScoreRequest(long)), served.generate(ScoreRequest(long, cache=True))
    assert both == {
        **plain,
        "cache_perplexity": both["cache_perplexity"],
        "cache_log_probability": both["cache_log_probability"],
    }
    model, _ = language_model.load(untrained)
    words = np.array(read_text(long, served).numbers[1:], np.int32)
    _, expected = cache_perplexity.losses(model, words, served.cache)
    assert both["cache_perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert both["cache_log_probability"] == pytest.approx(-expected * len(words), rel=1e-5)
    assert both["cache_perplexity"] < plain["perplexity"]
    monkeypatch.setattr(inference, "SCORED_AT_ONCE", 3)
    assert served.generate(ScoreRequest(long, cache=True)) == both


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_cache_has_the_words_of_the_prompt_and_of_the_text(
    served: ServedModel, temperature: float
) -> None:
    """A cache with nearly all of the probability repeats what is in it."""
    only = replace(served, cache=Settings(theta=0.1, share=1 - 1e-9, size=1000))
    request = Request(prompt="Our king wants tea", words=30, n=3, cache=True, temperature=temperature)
    for each in only.generate(request)["texts"]:
        assert {*each["text"].split()} <= {"Our", "king", "wants", "tea"}
    last = replace(served, cache=Settings(theta=0.1, share=1 - 1e-9, size=1))
    assert text(last, **vars(request)) == " ".join(["tea"] * 30)


def test_log_probabilities_of_a_text_are_the_models_own_without_the_cache(served: ServedModel) -> None:
    fields = {"prompt": "Our king", "tokens": 30, "echo": True, "return_log_probabilities": True}
    answer = served.generate(Request(**fields, cache=True))
    scores = served.generate(ScoreRequest(answer["text"]))
    assert [each["log_probability"] for each in answer["log_probabilities"]] == [
        each["log_probability"] for each in scores["log_probabilities"]
    ]


@pytest.mark.parametrize("request_", [Request(cache=True), ScoreRequest("Anna", cache=True)])
def test_a_model_without_settings_for_a_cache_refuses_it_by_name(
    served: ServedModel, request_: Request | ScoreRequest
) -> None:
    with pytest.raises(InvalidRequest, match="train it again, or leave cache out") as refused:
        replace(served, cache=None).begin(request_)
    assert refused.value.fields.keys() == {"cache"}


def test_a_model_serves_with_the_settings_that_its_training_chose(trained: Job, tmp_path: Path) -> None:
    chosen = trained.metrics()["cache"]
    assert load(trained.model).cache == Settings(chosen["theta"], chosen["share"], chosen["size"])
    earlier = shutil.copytree(trained.model, tmp_path / "earlier")
    for metrics in ("{}", '{"cache": null}', None):
        (earlier / "metrics.json").unlink()
        if metrics is not None:
            (earlier / "metrics.json").write_text(metrics)
        assert load(earlier).cache is None
