"""A few texts by a finished model, for people to read beside its perplexity.

They are drawn from the artifact as an endpoint would draw them, always from the same seeds: two models'
samples differ by the models alone.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

import inference
from inference import Request
from job_log import log_values, quoted, summary
from vocabulary import END_OF_LINE_ID, TokenIds, Vocabulary

SEEDS_AND_TEMPERATURES = ((1, 0.7), (2, 1.0))
WORDS = 40


def draw(artifact: Path, valid: TokenIds) -> list[dict[str, Any]]:
    """Texts, each with the prompt, seed and temperature it came of: some without a prompt, some after two
    words that valid's lines often begin with.

    None, and a line in the log, if the model cannot generate.
    """
    try:
        return _draw(artifact, valid)
    except Exception as error:  # the model is there and tested: what it reads like is no reason to lose it
        log_values(samples="none", reason=quoted(summary(error)))
        return []


def _draw(artifact: Path, valid: TokenIds) -> list[dict[str, Any]]:
    served = inference.load(artifact)
    prompts = dict.fromkeys(["", served.tokenizer.join(beginning(valid, served.vocabulary))])
    requests = [
        Request(seed=seed, temperature=temperature, words=WORDS, prompt=prompt)
        for prompt, (seed, temperature) in itertools.product(prompts, SEEDS_AND_TEMPERATURES)
    ]
    runs = [served.begin(request) for request in requests]
    while unfinished := [run for run in runs if not run.done]:
        served.step(unfinished)
    return [
        {
            "prompt": request.prompt,
            "seed": request.seed,
            "temperature": request.temperature,
            "text": run.answer()["text"],
        }
        for request, run in zip(requests, runs, strict=True)
    ]


def beginning(tokens: TokenIds, vocabulary: Vocabulary) -> list[str]:
    """The two words that most lines of a text begin with; none if every line has a mark there, or ends.

    What many lines share tells of none.
    """
    is_word = np.array([word.isalpha() for word in vocabulary.words])
    before = np.append(END_OF_LINE_ID, tokens[:-1])
    first = np.flatnonzero(before[:-1] == END_OF_LINE_ID)
    pairs = np.stack([tokens[first], tokens[first + 1]])
    found, counts = np.unique(pairs[:, is_word[pairs].all(0)], axis=1, return_counts=True)
    return [vocabulary.words[number] for number in found[:, counts.argmax()]] if len(counts) else []
