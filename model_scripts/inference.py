"""Requests for text and the responses to them, generated token by token.

    request    a JSON object; request_body.py has its fields
    response   {"text": ..., "words": 100, "seed": 111, "temperature": 0.8, "model": $LEXLINE_MODEL,
                "unknown_words": ["hovercraft"]}

`text` continues the prompt and does not repeat it. `words` counts words between spaces, so punctuation does
not count. It is the requested number, unless the model generates almost nothing but line ends
(MOST_TOKENS_PER_WORD).

Each token is drawn from the model's distribution at the temperature, given that it is not <unk>. top_k and
top_p restrict the draw to the most probable words (sampler.Choice). A word of the prompt that the model does
not know is looked up with the other apostrophe and in the other case (tokenizer.py). If it is still unknown,
it is read as <unk> and listed in `unknown_words`. Without a prompt, the text starts a new line. If a line
would start with a comma or an 're, the model reads that token but the text omits it. The same request always
gives the same text, whatever else is generated at the same time.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import language_model
import request_body
import tokenizer
from request_body import InvalidRequest, Request
from sampler import Choice, Memory, Sampler
from tokenizer import JOINER, Tokenizer
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN_ID, Vocabulary

JSON = "application/json"
MOST_TOKENS_PER_WORD = 5
MOST_WORDS, LONGEST_WORD = 10, 40
"""How many unknown words an error names, and how many characters of each."""


def parse(body: str | bytes, content_type: str | None) -> Request:
    """Parse and check a JSON request.

    Raises:
        InvalidRequest: The body is not JSON, or a field is unknown or out of range.
    """
    if content_type and content_type.split(";")[0].strip().lower() != JSON:
        raise InvalidRequest(f"The content type must be {JSON}, not {content_type}.")
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogatepass")
    return Request(**request_body.read(body))


@dataclass(frozen=True)
class ServedModel:
    """A loaded artifact. Not thread-safe. Requests may be advanced in any grouping."""

    sampler: Sampler
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    name: str

    def begin(self, request: Request) -> "Run":
        """Start to generate a text. Raises InvalidRequest if the model knows no word of the prompt."""
        return Run(request, self)

    def step(self, runs: Sequence["Run"]) -> None:
        """Advance each run, none of which is done, by one token: the next of its prompt, or one drawn."""
        memory = self.sampler.read([run.unread for run in runs], _side_by_side(runs))
        drawing = [row for row, run in enumerate(runs) if run.remember(memory, row)]
        if not drawing:
            return
        choices = [runs[row].choice for row in drawing]
        words = self.sampler.draw(memory if len(drawing) == len(runs) else memory[drawing], choices)
        for row, word in zip(drawing, words, strict=True):
            runs[row].take(word)

    def generate(self, request: Request) -> dict[str, Any]:
        """Return the response to a single request. Raises InvalidRequest."""
        run = self.begin(request)
        while not run.done:
            self.step([run])
        return run.response()


def load(directory: str | Path) -> ServedModel:
    """Load an artifact, on the CPU. Its name is $LEXLINE_MODEL. Raises UserError if its format is another."""
    directory = Path(directory)
    model, config = language_model.load(directory)
    return ServedModel(
        sampler=Sampler(model),
        vocabulary=Vocabulary.load(directory / language_model.VOCABULARY),
        tokenizer=tokenizer.BY_NAME[config["tokenizer"]],
        name=os.environ.get("LEXLINE_MODEL", ""),
    )


class Run:
    """A request whose text is being generated.

    Attributes:
        unread: The token that the model reads next.
        memory: An array that holds the model's state in row `row`. Runs that were advanced together share it.
        choice: How the run's tokens are drawn.
    """

    def __init__(self, request: Request, served: ServedModel) -> None:
        prompt, self._unknown_words = read_prompt(request.prompt, served)
        self._request, self._name = request, served.name
        self._text = Text(request.words, prompt[-1] == END_OF_LINE_ID, served)
        self._prompt = iter(prompt)
        self.unread = next(self._prompt)
        self.memory, self.row = served.sampler.start()[None], 0
        chance = np.random.Generator(np.random.Philox(request.seed)).random
        self.choice = Choice(request.temperature, request.top_k, request.top_p, chance)

    @property
    def done(self) -> bool:
        """Whether the text is complete."""
        return self._text.complete

    def remember(self, memory: Memory, row: int) -> bool:
        """Note the state after `unread`. Returns whether the prompt is read, so that a word must be drawn."""
        self.memory, self.row = memory, row
        following = next(self._prompt, None)
        if following is None:
            return True
        self.unread = following
        return False

    def take(self, word: int) -> None:
        """Add a word that was drawn."""
        self.unread = word
        self._text.add(word)

    def response(self) -> dict[str, Any]:
        """Return the response, as drawn at the head of this module."""
        text = self._text.written()
        return {
            "text": text,
            "words": len(text.split()),
            "seed": self._request.seed,
            "temperature": self._request.temperature,
            "model": self._name,
            "unknown_words": self._unknown_words,
        }


class Text:
    """A text that grows token by token until it has enough words."""

    def __init__(self, words: int, at_line_start: bool, served: ServedModel) -> None:
        self.complete = False
        self._wanted = words
        self._vocabulary, self._tokenizer = served.vocabulary.words, served.tokenizer
        self._tokens_left = MOST_TOKENS_PER_WORD * (words + 1)
        self._at_line_start = at_line_start
        self._finished: list[str] = []
        self._finished_words = 0
        self._line: list[str] = []
        # A token adds at most one word, so words need not be counted before there are enough tokens.
        self._most_words = 0

    def add(self, number: int) -> None:
        """Add a token."""
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
        """Return the text, without blank lines at its ends and without two in a row."""
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
        """End the text before the first word too many, so that closing punctuation still belongs to it."""
        self._most_words = self._finished_words + len(self._tokenizer.join(self._line).split())
        if self._most_words > self._wanted:
            self._line.pop()
            self.complete = True


def read_prompt(prompt: str, served: ServedModel) -> tuple[list[int], list[str]]:
    """Return the tokens to read first, and the words that the model does not know.

    The tokens are <eos>, then the prompt, with its line breaks as <eos>.

    Raises:
        InvalidRequest: The prompt has words, and the model knows none of them.
    """
    known = served.vocabulary.numbers
    text = prompt.split("\n") if prompt.strip() else []
    lines = [served.tokenizer.split_prompt(line, known) for line in text]
    words = [word for line in lines for word in line]
    unknown = {word.strip(JOINER): None for word in words if word not in known}
    unknown.pop("", None)
    if words and not any(known.get(word, UNKNOWN_ID) != UNKNOWN_ID for word in words):
        raise InvalidRequest(
            f"prompt has no word that is in the model's vocabulary. {_listed([*unknown])} is missing from "
            "the text that the model was trained on, or occurs there once. Use other words, or leave the "
            "prompt out."
        )
    ids = [END_OF_LINE_ID]
    for number, line in enumerate(lines):
        ids += served.vocabulary.encode([*([END_OF_LINE] if number else []), *line])
    return ids, [*unknown]


def _listed(words: list[str]) -> str:
    """Return some words for a message."""
    shown = ", ".join(repr(word[:LONGEST_WORD]) for word in words[:MOST_WORDS])
    return f"Each of {shown}{' and others' if len(words) > MOST_WORDS else ''}"


def _side_by_side(runs: Sequence[Run]) -> Memory:
    """Return the runs' states as rows. A batch that stays together already has that array."""
    memory = runs[0].memory
    if len(memory) == len(runs) and all(
        run.memory is memory and run.row == row for row, run in enumerate(runs)
    ):
        return memory
    return np.stack([run.memory[run.row] for run in runs])
