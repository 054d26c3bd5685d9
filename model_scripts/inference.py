"""Requests for text, and the text that answers them, a token at a time.

Request  {"seed": 111, "temperature": 0.8, "words": 100, "prompt": "My fellow citizens", "top_k": 40,
         "top_p": 0.9}, every field optional
Answer   {"text": ..., "words": 100, "seed": 111, "temperature": 0.8, "model": the value of LEXLINE_MODEL}

`text` continues the prompt and does not repeat it. `words` counts its space-separated words, so punctuation
comes on top; it is the number asked for, unless the model produces almost nothing but line breaks
(MOST_TOKENS_PER_WORD).

Each word is drawn from the model's own distribution over its whole vocabulary at the temperature, with <unk>
left out: that is the distribution given that the next word is a known one. top_k and top_p narrow it to the
most probable words (sampler.Choice). Words of the prompt the model does not know are read as <unk>. Without a
prompt the text begins as a new line does. A comma or an 're drawn at the beginning of a line has no word to
stand against: the model reads it as any other, the text leaves it out. The same request gives the same text,
whatever else is generated at the same time.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import language_model
import tokenizer
from sampler import Choice, Memory, Sampler
from tokenizer import Tokenizer
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN_ID, Vocabulary

JSON = "application/json"
MOST_TOKENS_PER_WORD = 5
MOST_PROMPT_CHARACTERS = 10_000
MOST_TOP_K = 1_000_000


@dataclass(frozen=True)
class Request:
    """seed: an unsigned 32-bit integer. temperature: 0.001 to 100. words: 1 to 1,000. top_k: 1 to 1,000,000,
    or all words. top_p: above 0, to 1, or all words."""

    seed: int = 1111
    temperature: float = 1.0
    words: int = 100
    prompt: str = ""
    top_k: int | None = None
    top_p: float | None = None


class InvalidRequest(ValueError):
    """The request is not one this model answers. The message is a sentence that names the field."""


def parse(body: str | bytes, content_type: str | None) -> Request:
    """A checked Request from JSON. Raises InvalidRequest."""
    if content_type and content_type.split(";")[0].strip().lower() != JSON:
        raise InvalidRequest(f"The content type must be {JSON}, not {content_type}.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.")
    known = tuple(Request.__dataclass_fields__)
    for name in document:
        if name not in known:
            raise InvalidRequest(f"Unknown field {name[:50]!r}; the known ones are {', '.join(known)}.")
    request = Request(**document)
    _check_number("seed", request.seed, 0, 2**32 - 1, whole=True)
    _check_number("temperature", request.temperature, 0.001, 100, whole=False)
    _check_number("words", request.words, 1, 1000, whole=True)
    if not isinstance(request.prompt, str):
        raise InvalidRequest("prompt must be text.")
    if len(request.prompt) > MOST_PROMPT_CHARACTERS:
        raise InvalidRequest(f"prompt must be at most {MOST_PROMPT_CHARACTERS:,} characters long.")
    if request.top_k is not None:
        _check_number("top_k", request.top_k, 1, MOST_TOP_K, whole=True)
    if request.top_p is not None:
        _check_number("top_p", request.top_p, 0, 1, whole=False)
        if request.top_p == 0:
            raise InvalidRequest("top_p must be above 0: no word has that little of the probability.")
    return request


def _check_number(name: str, value: Any, least: float, most: float, *, whole: bool) -> None:
    # In Python true is an int; in a request it is not.
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise InvalidRequest(f"{name} must be {'a whole number' if whole else 'a number'}.")
    if not least <= value <= most:
        raise InvalidRequest(f"{name} must be from {least:,} to {most:,}.")


@dataclass(frozen=True)
class ServedModel:
    """A loaded artifact. Runs are stepped together or apart, as comes; by one thread at a time."""

    sampler: Sampler
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    name: str

    def begin(self, request: Request) -> "Run":
        """A text to be drawn. Raises InvalidRequest for a prompt this model knows no word of."""
        return Run(request, self)

    def step(self, runs: Sequence["Run"]) -> None:
        """One token more for each of the runs, none of them done: the next of its prompt, or one drawn."""
        memory = self.sampler.read([run.unread for run in runs], _side_by_side(runs))
        drawing = [row for row, run in enumerate(runs) if run.remember(memory, row)]
        if not drawing:
            return
        choices = [runs[row].choice for row in drawing]
        words = self.sampler.draw(memory if len(drawing) == len(runs) else memory[drawing], choices)
        for row, word in zip(drawing, words, strict=True):
            runs[row].take(word)

    def generate(self, request: Request) -> dict[str, Any]:
        """The answer to a request on its own. Raises InvalidRequest."""
        run = self.begin(request)
        while not run.done:
            self.step([run])
        return run.answer()


def load(directory: str | Path) -> ServedModel:
    """An artifact, on the CPU whatever it was trained on. Its name is $LEXLINE_MODEL. Raises UserError."""
    directory = Path(directory)
    model, config = language_model.load(directory)
    return ServedModel(
        sampler=Sampler(model),
        vocabulary=Vocabulary.load(directory / language_model.VOCABULARY),
        tokenizer=tokenizer.BY_NAME[config["tokenizer"]],
        name=os.environ.get("LEXLINE_MODEL", ""),
    )


class Run:
    """A request that is being answered.

    unread: the token the model reads next. memory, row: where the model's memory of what it has read lies;
        runs that were stepped together share an array.
    """

    def __init__(self, request: Request, served: ServedModel) -> None:
        prompt = prompt_ids(request.prompt, served)
        self._request, self._name = request, served.name
        self._text = Text(request.words, prompt[-1] == END_OF_LINE_ID, served)
        self._prompt = iter(prompt)
        self.unread = next(self._prompt)
        self.memory, self.row = served.sampler.start()[None], 0
        chance = np.random.Generator(np.random.Philox(request.seed)).random
        self.choice = Choice(request.temperature, request.top_k, request.top_p, chance)

    @property
    def done(self) -> bool:
        return self._text.complete

    def remember(self, memory: Memory, row: int) -> bool:
        """The model has read `unread`. Whether a word must be drawn, because the prompt is over."""
        self.memory, self.row = memory, row
        following = next(self._prompt, None)
        if following is None:
            return True
        self.unread = following
        return False

    def take(self, word: int) -> None:
        """A word was drawn."""
        self.unread = word
        self._text.add(word)

    def answer(self) -> dict[str, Any]:
        text = self._text.written()
        return {
            "text": text,
            "words": len(text.split()),
            "seed": self._request.seed,
            "temperature": self._request.temperature,
            "model": self._name,
        }


class Text:
    """Tokens put together until they make as many words as wanted."""

    def __init__(self, words: int, at_line_start: bool, served: ServedModel) -> None:
        self.complete = False
        self._wanted = words
        self._vocabulary, self._tokenizer = served.vocabulary.words, served.tokenizer
        self._tokens_left = MOST_TOKENS_PER_WORD * (words + 1)
        self._at_line_start = at_line_start
        self._finished: list[str] = []
        self._finished_words = 0
        self._line: list[str] = []
        # A token adds at most one word, so joining to count can wait until there are enough tokens.
        self._most_words = 0

    def add(self, number: int) -> None:
        """One token more."""
        word = self._vocabulary[number]
        if number == END_OF_LINE_ID:
            self._end_line()
        elif not (self._at_line_start and self._tokenizer.clings(word)):
            self._at_line_start = False
            self._line.append(word)
            self._most_words += 1
            if self._most_words > self._wanted:
                self._count()
        self._tokens_left -= 1
        self.complete = self.complete or not self._tokens_left

    def written(self) -> str:
        """The lines as text: no blank ones at the ends, never two in a row."""
        kept: list[str] = []
        for line in [*self._finished, self._tokenizer.join(self._line)]:
            if line or (kept and kept[-1]):
                kept.append(line)
        return "\n".join(kept).strip()

    def _end_line(self) -> None:
        self._finished.append(self._tokenizer.join(self._line))
        self._finished_words += len(self._finished[-1].split())
        self._most_words = self._finished_words
        self._line = []
        self._at_line_start = True
        self.complete = self._finished_words == self._wanted

    def _count(self) -> None:
        """The text ends where one word too many begins: closing punctuation still belongs to the last."""
        self._most_words = self._finished_words + len(self._tokenizer.join(self._line).split())
        if self._most_words > self._wanted:
            self._line.pop()
            self.complete = True


def prompt_ids(prompt: str, served: ServedModel) -> list[int]:
    """What the model reads first: a line's beginning, then the prompt, its line breaks as <eos>.

    Raises InvalidRequest if the prompt has words and the model knows none of them.
    """
    lines = [served.tokenizer.split_prompt(line) for line in prompt.split("\n")] if prompt.strip() else []
    numbers = [number for words in lines for number in served.vocabulary.encode(words)]
    if numbers and not any(number != UNKNOWN_ID for number in numbers):
        raise InvalidRequest(
            "prompt has no word that is in the model's vocabulary: use words of the text it was trained on, "
            "or leave the prompt out."
        )
    ids = [END_OF_LINE_ID]
    for number, words in enumerate(lines):
        ids += served.vocabulary.encode([*([END_OF_LINE] if number else []), *words])
    return ids


def _side_by_side(runs: Sequence[Run]) -> Memory:
    """The memories of runs as rows. A batch that stays together has them so already."""
    memory = runs[0].memory
    if len(memory) == len(runs) and all(
        run.memory is memory and run.row == row for row, run in enumerate(runs)
    ):
        return memory
    return np.stack([run.memory[run.row] for run in runs])
