"""Example texts by a finished model, for people to read beside its perplexity.

They are drawn from the artifact as an endpoint draws texts. The seeds are always the same, so the texts of
two models differ only because the models do.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import inference
from inference import ServedModel
from job_log import log_values, quoted, summary
from request_body import Request
from vocabulary import END_OF_LINE, END_OF_LINE_ID, TokenIds, Vocabulary

SEEDS_AND_TEMPERATURES = ((1, 0.7), (2, 1.0))
WORDS = 40


def draw(artifact: Path, valid: str) -> list[dict[str, Any]]:
    """Return texts with their prompt, seed and temperature.

    Some have no prompt, some have two words with which lines of valid, or of a sample of it, often begin. If
    the model cannot generate, log it and return no texts.
    """
    try:
        return _draw(artifact, valid)
    except Exception as error:  # the model is trained and tested; missing examples must not fail the job
        log_values(samples="none", reason=quoted(summary(error)))
        return []


def _draw(artifact: Path, valid: str) -> list[dict[str, Any]]:
    served = inference.load(artifact)
    prompts = dict.fromkeys(["", usual_prompt(served, valid)])
    requests = [
        Request(seed=seed, temperature=temperature, words=WORDS, prompt=prompt)
        for prompt, (seed, temperature) in itertools.product(prompts, SEEDS_AND_TEMPERATURES)
    ]
    return generate(served, requests)


def usual_prompt(served: ServedModel, valid: str) -> str:
    """Return the two words with which most lines of a text begin, or no words."""
    words = (word for line in valid.split("\n") for word in [*served.tokenizer.split(line), END_OF_LINE])
    tokens = np.array(served.vocabulary.encode(words), dtype=np.int32)
    return served.tokenizer.join(beginning(tokens, served.vocabulary))


def generate(served: ServedModel, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Return a text for each request, with its prompt, seed and temperature."""
    runs = [served.begin(request) for request in requests]
    while unfinished := [run for run in runs if not run.done]:
        served.step(unfinished)
    return [
        {
            "prompt": request.prompt,
            "seed": request.seed,
            "temperature": request.temperature,
            "text": run.response()["text"],
        }
        for request, run in zip(requests, runs, strict=True)
    ]


def beginning(tokens: TokenIds, vocabulary: Vocabulary) -> list[str]:
    """Return the two words with which most lines of a text begin; none if no line begins with two words.

    Many lines share them, so they disclose no line of the text.
    """
    is_word = np.array([word.isalpha() for word in vocabulary.words])
    before = np.append(END_OF_LINE_ID, tokens[:-1])
    first = np.flatnonzero(before[:-1] == END_OF_LINE_ID)
    pairs = np.stack([tokens[first], tokens[first + 1]])
    found, counts = np.unique(pairs[:, is_word[pairs].all(0)], axis=1, return_counts=True)
    return [vocabulary.words[number] for number in found[:, counts.argmax()]] if len(counts) else []
