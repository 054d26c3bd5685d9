"""Requests for text and for scores, and the responses to them, token by token.

    request for text     a JSON object; request_body.py has its fields
    response             {"text": ..., "words": 100, "tokens": 119, "seed": 111, "temperature": 0.8,
                          "finish_reason": "length", "model": $LEXLINE_MODEL, "unknown_words": ["hovercraft"],
                          "prompt_tokens": 2}
    request for scores   {"text": ...}
    response             {"perplexity": 112.5, "bits_per_character": 1.9, "log_probability": -23.6,
                          "tokens": 5, "log_probabilities": [...], "unknown_words": [],
                          "model": $LEXLINE_MODEL}
                         with "cache": true, also "cache_perplexity" and "cache_log_probability"

`text` continues the prompt and does not repeat it. `words` counts words between spaces, so punctuation does
not count. It is the requested number, unless the text meets one of the strings `stop` (finish_reason
"stop"), or the model generates almost nothing but line ends (MOST_TOKENS_PER_WORD). With `n`, `texts` has all
texts, and the response's own fields are those of the first. With `tokens` in place of `words`, the prompt and
the text are one text with all its spaces and line ends.

Each token is drawn from the model's distribution at the temperature, given that it is not <unk>. top_k, top_p
and min_p restrict the draw to probable words (sampler.Choice). A word of the prompt that the model does
not know is looked up with the other apostrophe and in the other case (tokenizer.py). If it is still unknown,
it is read as <unk> and listed in `unknown_words`. Without a prompt, the text starts a new line. If a line
would start with a comma or an 're, the model reads that token but the text omits it, unless `tokens` is
given. The same request always gives the same text, whatever else is generated at the same time.

Each of `log_probabilities` is {"word", "start", "end", "log_probability", "known", "alternatives"}: where the
word stands in the text, and the logarithm of the probability that the model itself gives to it, at
temperature 1 and of all words. An unknown word has that of <unk>. The mean over a split of the corpus is the
negative of the loss that training measures. A text to score is split as the corpus is: its words are not
looked up in other forms. A line end counts where the text has one.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import language_model
import request_body
import tokenizer
from continuous_cache import CachedText, History, Settings, mixed
from request_body import InvalidRequest, Request, ScoreRequest
from sampler import Choice, Memory, Sampler
from tokenizer import JOINER, Tokenizer
from vocabulary import END_OF_LINE_ID, UNKNOWN_ID, Vocabulary

JSON = "application/json"
MOST_TOKENS_PER_WORD = 5
MOST_WORDS, LONGEST_WORD = 10, 40
"""How many unknown words an error names, and how many characters of each."""
MOST_AT_ONCE = 256
"""How many texts are advanced together. More would need more memory and gain no time."""
SCORED_AT_ONCE = 64
"""How many words of a text are scored together."""
LARGEST_LOSS = 700.0
"""The perplexity of a larger mean loss is not a float."""


def parse(body: str | bytes, content_type: str | None) -> Request | ScoreRequest:
    """Parse and check a JSON request.

    Raises:
        InvalidRequest: The body is not JSON, or a field is unknown or out of range.
    """
    if content_type and content_type.split(";")[0].strip().lower() != JSON:
        raise InvalidRequest(f"The content type must be {JSON}, not {content_type}.")
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogatepass")
    return request_body.parse(body)


@dataclass(frozen=True)
class ServedModel:
    """A loaded artifact. Not thread-safe. Requests may be advanced in any grouping.

    `cache` has the settings of its continuous cache, or None if its training chose none.
    """

    sampler: Sampler
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    name: str
    cache: Settings | None = None

    def cache_settings(self, request: Request | ScoreRequest) -> Settings | None:
        """Return the settings of the cache that a request wants. Raises InvalidRequest if there are none."""
        if not request.cache:
            return None
        if self.cache is None:
            problem = "needs a model whose training chose its settings: train it again, or leave cache out"
            raise InvalidRequest.of_fields({"cache": problem})
        return self.cache

    def begin(self, request: Request | ScoreRequest) -> "Run | ScoreRun":
        """Start a request. Raises InvalidRequest if the model knows no word of the prompt."""
        return ScoreRun(request, self) if isinstance(request, ScoreRequest) else Run(request, self)

    def step(self, runs: Sequence["Run | ScoreRun"]) -> None:
        """Advance each text of the runs by a token: the next to read, or one drawn. No run may be done."""
        readers = [reader for run in runs for reader in run.readers]
        for start in range(0, len(readers), MOST_AT_ONCE):
            self._step(readers[start : start + MOST_AT_ONCE])
        for run in runs:
            run.advance()

    def _step(self, readers: Sequence["Reader"]) -> None:
        memory = self.sampler.read([reader.unread for reader in readers], _side_by_side(readers))
        drawing = [(row, text) for row, reader in enumerate(readers) for text in reader.remember(memory, row)]
        if not drawing:
            return
        rows = [row for row, _ in drawing]
        choices = [text.choice for _, text in drawing]
        words = self.sampler.draw(memory if rows == [*range(len(memory))] else memory[rows], choices)
        for (_, text), word in zip(drawing, words, strict=True):
            text.take(word)

    def generate(self, request: Request | ScoreRequest) -> dict[str, Any]:
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
        cache=Settings.of_artifact(directory),
    )


class Scores:
    """The log probabilities of the tokens of a text. Several are computed together.

    Attributes:
        log_probabilities: Those computed so far, in the order of the tokens.
        alternatives: For each of these tokens the most probable ones with their log probabilities.
        with_cache: With `cache`, the log probabilities of these tokens with a continuous cache.
    """

    def __init__(self, sampler: Sampler, alternatives: int, cache: Settings | None = None) -> None:
        self.log_probabilities: list[float] = []
        self.alternatives: list[list[tuple[int, float]]] = []
        self.with_cache: list[float] = []
        self._sampler, self._count, self._cache = sampler, alternatives, cache
        self._cached = CachedText(cache.size, [cache.theta]) if cache else None
        self._waiting: list[tuple[Memory, int]] = []

    def __len__(self) -> int:
        return len(self.log_probabilities) + len(self._waiting)

    def add(self, memory: Memory, word: int) -> None:
        """Add a token, given the state before it."""
        self._waiting.append((memory, word))
        if len(self._waiting) == SCORED_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Compute what is missing."""
        if not self._waiting:
            return
        memory = np.stack([memory for memory, _ in self._waiting])
        words = [word for _, word in self._waiting]
        logs = self._sampler.log_probabilities(memory, words)
        self.log_probabilities += logs
        if self._cache and self._cached:
            (cached,) = self._cached.probabilities(self._sampler.activations(memory), np.array(words))
            self.with_cache += mixed(np.array(logs), cached, self._cache.share).tolist()
        if self._count:
            self.alternatives += self._sampler.most_probable(memory, self._count)
        self._waiting = []

    def copy(self) -> "Scores":
        """Return scores of another text that begins with the same tokens."""
        self.finish()
        twin = Scores(self._sampler, self._count)
        twin.log_probabilities, twin.alternatives = [*self.log_probabilities], [*self.alternatives]
        return twin


class Reader:
    """A text that the model reads token by token.

    Attributes:
        unread: The token that the model reads next.
        memory: An array that holds the model's state in row `row`. Texts advanced together share it.
        scores: The log probabilities of the tokens, or None if nobody wants them.
        history: The tokens for a continuous cache, or None if nobody wants one.
    """

    def __init__(
        self,
        sampler: Sampler,
        unread: int,
        memory: Memory,
        row: int,
        scores: Scores | None,
        history: History | None,
    ) -> None:
        self.sampler, self.unread, self.memory, self.row = sampler, unread, memory, row
        self.scores, self.history = scores, history

    def remember(self, memory: Memory, row: int) -> "Sequence[Continuation]":
        """Note the state after `unread`. Return the texts in this state that must draw a word."""
        raise NotImplementedError

    def _follow(self, word: int) -> None:
        """Note the next token."""
        if self.scores is not None:
            self.scores.add(self.memory[self.row].copy(), word)
        if self.history is not None:
            self.history.add(self.sampler.activations(self.memory[self.row : self.row + 1])[0], word)
        self.unread = word


class Given(Reader):
    """A given text: one to score, or the prompt, which is read once for all texts that continue it."""

    def __init__(
        self,
        text: "Read",
        sampler: Sampler,
        scores: Scores | None,
        begin_texts: "Callable[[Given], Sequence[Continuation]]",
        history: History | None = None,
    ) -> None:
        self._left = iter(text.numbers)
        super().__init__(sampler, next(self._left), sampler.start()[None], 0, scores, history)
        self._begin_texts = begin_texts

    def remember(self, memory: Memory, row: int) -> "Sequence[Continuation]":
        """Note the state after `unread`. After the last token, begin the texts that continue this one."""
        self.memory, self.row = memory, row
        following = next(self._left, None)
        if following is None:
            return self._begin_texts(self)
        self._follow(following)
        return ()


class Continuation(Reader):
    """A text whose tokens are drawn.

    Attributes:
        text: What was drawn.
        choice: How to draw.
    """

    def __init__(self, text: "Text", choice: Choice, after: Given, scores: Scores | None) -> None:
        super().__init__(after.sampler, after.unread, after.memory, after.row, scores, choice.cache)
        self.text, self.choice = text, choice

    def remember(self, memory: Memory, row: int) -> "Sequence[Continuation]":
        """Note the state after `unread`. The text must draw the next word."""
        self.memory, self.row = memory, row
        return (self,)

    def take(self, word: int) -> None:
        """Add a word that was drawn."""
        self._follow(word)
        if word != END_OF_LINE_ID:
            self.choice.repeated.add(word)
        self.text.add(word)


class Run:
    """A request for text that is being generated.

    Attributes:
        readers: What to advance: first the prompt, then the texts that are not complete.
    """

    def __init__(self, request: Request, served: ServedModel) -> None:
        self._request, self._served = request, served
        self._prompt = read_prompt(request.prompt, served)
        scores = self._new_scores() if request.echo else None
        cache = served.cache_settings(request)
        history = History(cache) if cache else None
        self.readers: Sequence[Reader] = [
            Given(self._prompt, served.sampler, scores, self._begin_texts, history)
        ]
        self._texts: list[Continuation] = []
        self._seeds = [(request.seed + place) % 2**32 for place in range(request.n or 1)]

    @property
    def done(self) -> bool:
        """Whether the texts are complete."""
        return not self.readers

    def advance(self) -> None:
        """Drop the texts that are complete."""
        if self._texts:
            self.readers = [text for text in self._texts if not text.text.complete]

    def response(self) -> dict[str, Any]:
        """Return the response, as described at the head of this module."""
        request = self._request
        texts = [self._written(text, seed) for text, seed in zip(self._texts, self._seeds, strict=True)]
        return {
            **texts[0],
            "temperature": request.temperature,
            "model": self._served.name,
            "unknown_words": self._prompt.unknown_words,
            "prompt_tokens": len(self._prompt.tokens),
            **({} if request.n is None else {"texts": texts}),
        }

    def _begin_texts(self, prompt: Given) -> Sequence[Continuation]:
        request = self._request
        read = {number for number in self._prompt.numbers if number != END_OF_LINE_ID}
        for seed in self._seeds:
            choice = Choice(
                request.temperature,
                request.top_k,
                request.top_p,
                np.random.Generator(np.random.Philox(seed)).random,
                request.min_p,
                request.repetition_penalty or 1.0,
                {*read},
                prompt.history and prompt.history.copy(),
            )
            scores = self._new_scores() if prompt.scores is None else prompt.scores.copy()
            text = Text(request, self._prompt, self._served)
            self._texts.append(Continuation(text, choice, prompt, scores))
        return [text for text in self._texts if not text.text.complete]

    def _new_scores(self) -> Scores | None:
        request = self._request
        if not request.return_log_probabilities:
            return None
        return Scores(self._served.sampler, request.alternatives)

    def _written(self, reader: Continuation, seed: int) -> dict[str, Any]:
        text = reader.text.written()
        written = {
            "text": text,
            "words": len(text.split()),
            "tokens": reader.text.drawn,
            "seed": seed,
            "finish_reason": reader.text.finish_reason,
        }
        if reader.scores is not None:
            written["log_probabilities"] = listed(text, reader.text.tokens, reader.scores, self._served)
        return written


class ScoreRun:
    """A text that is being scored.

    Attributes:
        readers: What to advance: the text, until its last token is scored.
    """

    def __init__(self, request: ScoreRequest, served: ServedModel) -> None:
        self._text, self._served = request.text, served
        self._read = read_text(request.text, served)
        self._scores = Scores(served.sampler, request.alternatives, served.cache_settings(request))
        self.readers: Sequence[Reader] = [Given(self._read, served.sampler, self._scores, lambda _: ())]

    @property
    def done(self) -> bool:
        """Whether the text is read."""
        return not self.readers

    def advance(self) -> None:
        """End once the last token is scored: nobody needs the state after it."""
        if len(self._scores) == len(self._read.tokens):
            self.readers = []

    def response(self) -> dict[str, Any]:
        """Return the response, as described at the head of this module."""
        entries = listed(self._text, self._read.tokens, self._scores, self._served)
        loss = -math.fsum(self._scores.log_probabilities)
        with_cache = {}
        if self._scores.with_cache:
            loss_with_cache = -math.fsum(self._scores.with_cache)
            with_cache = {
                "cache_perplexity": _perplexity(loss_with_cache / len(entries)),
                "cache_log_probability": -loss_with_cache,
            }
        return {
            "perplexity": _perplexity(loss / len(entries)),
            **with_cache,
            "bits_per_character": loss / math.log(2) / len(self._text),
            "tokens": len(entries),
            "log_probability": -loss,
            "log_probabilities": entries,
            "unknown_words": self._read.unknown_words,
            "model": self._served.name,
        }


class Text:
    """A text that grows token by token, until it has enough words or tokens, or meets a stop string.

    Attributes:
        tokens: Its tokens; with echo, first those of the prompt.
        drawn: The number of tokens that were drawn for it.
        complete: Whether it has ended.
        finish_reason: Why: "stop" or "length".
    """

    def __init__(self, request: Request, prompt: "Read", served: ServedModel) -> None:
        self.tokens: list[Token] = []
        self.drawn = 0
        self.finish_reason = "length"
        self._vocabulary, self._tokenizer = served.vocabulary.words, served.tokenizer
        self._stop, self._longest_stop = request.stop, max(map(len, request.stop), default=0)
        self._text, self._begin = "", 0
        self._at_line_start = prompt.numbers[-1] == END_OF_LINE_ID
        self._begin_line()
        self._exactly = request.tokens is not None
        self._words, self._wanted = 0, request.words
        if request.tokens is None:
            self._tokens_left = MOST_TOKENS_PER_WORD * (request.words + 1)
        else:
            self._tokens_left = request.tokens
            self._after_space = request.prompt[-1:].isspace()
            for word in prompt.last_line:
                self._piece(word)
            if request.echo:
                self._text, self.tokens = request.prompt, [*prompt.tokens]
                self._begin = len(self._text)
        self.complete = not self._tokens_left

    def add(self, number: int) -> None:
        """Add a token."""
        if self._exactly:
            self._add_exactly(number)
        else:
            self._add(number)
        self._tokens_left -= 1
        self.complete = self.complete or not self._tokens_left

    def written(self) -> str:
        """Return the text."""
        return self._text if self._exactly else self._text.strip()

    def _add_exactly(self, number: int) -> None:
        """Add a token to a text that continues the prompt as if it were one text with it."""
        if number == END_OF_LINE_ID:
            self._begin_line()
            self._append("\n")
            return
        piece = self._piece(self._vocabulary[number])
        if self._after_space and len(self._text) == self._begin:
            piece = piece.lstrip()
        self._append(piece)

    def _add(self, number: int) -> None:
        """Add a token to a text of words: without blank lines at its ends and without two in a row."""
        if number == END_OF_LINE_ID:
            self._begin_line()
            self._at_line_start = True
            self._append("" if not self._text or self._text.endswith("\n\n") else "\n")
            self.complete = self.complete or self._words == self._wanted
            return
        word = self._vocabulary[number]
        if self._at_line_start and self._tokenizer.clings(word):
            self._append("")
            return
        self._at_line_start = False
        piece = self._piece(word)
        if piece.strip() and (piece[0].isspace() or not self._text[-1:].strip()):
            if self._words == self._wanted:
                # End before the first word too many, so that closing punctuation still belongs to the text.
                self.complete = True
                return
            self._words += 1
        self._append(piece)

    def _append(self, piece: str) -> None:
        before = len(self._text)
        self._text += piece
        self.drawn += 1
        self.tokens.append(Token(before + piece.startswith(" "), len(self._text), True))
        searched = max(self._begin, before - self._longest_stop + 1)
        found = [place for stop in self._stop if (place := self._text.find(stop, searched)) >= 0]
        if found:
            end = min(found)
            self._text = self._text[:end]
            self.tokens = [
                token._replace(end=min(token.end, end)) for token in self.tokens if token.start < end
            ]
            self.complete, self.finish_reason = True, "stop"

    def _begin_line(self) -> None:
        self._line: deque[str] = deque()
        self._pieces = self._tokenizer.pieces(iter(self._line.popleft, None))

    def _piece(self, word: str) -> str:
        """Return the text that a word adds to its line."""
        self._line.append(word)
        return next(self._pieces)


class Token(NamedTuple):
    """A token of a text: where it begins and ends, and whether the model knows it."""

    start: int
    end: int
    known: bool


class Read(NamedTuple):
    """A given text as the model reads it.

    Attributes:
        numbers: <eos>, then the tokens' numbers. The text's line breaks are <eos>, too.
        tokens: The tokens after the first <eos>.
        unknown_words: The words that the model does not know.
        last_line: The words of the last line.
    """

    numbers: list[int]
    tokens: list[Token]
    unknown_words: list[str]
    last_line: list[str]


def read_prompt(prompt: str, served: ServedModel) -> Read:
    """Read a prompt. Words are looked up in other forms, too.

    Raises:
        InvalidRequest: The prompt has words, and the model knows none of them.
    """
    known, words = served.vocabulary.numbers, served.tokenizer
    lines = prompt.split("\n") if prompt.strip() else []
    read = _read(
        [(line, words.typed(line, known), words.split_prompt(line, known)) for line in lines], served
    )
    numbers = {*read.numbers} - {END_OF_LINE_ID}
    if numbers == {UNKNOWN_ID}:
        raise InvalidRequest(
            f"prompt has no word that is in the model's vocabulary. {_listed(read.unknown_words)} is "
            "missing from the text that the model was trained on, or occurs there once. Use other words, or "
            "leave the prompt out."
        )
    return read


def read_text(text: str, served: ServedModel) -> Read:
    """Read a text to score: as a part of a corpus if it looks like one, else as a typed text.

    Raises:
        InvalidRequest: The text has no words and no line ends.
    """
    own, lines = served.tokenizer, text.split("\n")
    is_corpus = tokenizer.choose(lines).name.partition("-")[0] == own.name.partition("-")[0]
    known = served.vocabulary.numbers
    words = [own.split(line) if is_corpus else own.typed(line, known) for line in lines]
    read = _read([(line, found, found) for line, found in zip(lines, words, strict=True)], served)
    if not read.tokens:
        raise InvalidRequest("text has no words.", {"text": "has no words"})
    return read


def _read(lines: Sequence[tuple[str, list[str], list[str]]], served: ServedModel) -> Read:
    """Return what the model reads, given each line, its words as they stand there, and as they are read."""
    known = served.vocabulary.numbers
    numbers, tokens, unknown = [END_OF_LINE_ID], list[Token](), dict[str, None]()
    begin = 0
    for place, (line, typed, words) in enumerate(lines):
        if place:
            numbers.append(END_OF_LINE_ID)
            tokens.append(Token(begin - 1, begin, True))
        numbers += served.vocabulary.encode(words)
        for word, (start, end) in zip(words, tokenizer.places(line, typed), strict=True):
            tokens.append(Token(begin + start, begin + end, word in known))
            if word not in known:
                unknown[word.strip(JOINER)] = None
        begin += len(line) + 1
    unknown.pop("", None)
    return Read(numbers, tokens, [*unknown], lines[-1][2] if lines else [])


def listed(text: str, tokens: Sequence[Token], scores: Scores, served: ServedModel) -> list[dict[str, Any]]:
    """Return the tokens of a text with their log probabilities, as described at the head of this module."""
    scores.finish()
    entries = []
    for place, token in enumerate(tokens):
        if token.end > len(text):  # a line end that was cut off
            continue
        entry: dict[str, Any] = {
            "word": text[token.start : token.end],
            "start": token.start,
            "end": token.end,
            "log_probability": scores.log_probabilities[place],
            "known": token.known,
        }
        if scores.alternatives:
            entry["alternatives"] = [
                {"word": _shown(number, served), "log_probability": log}
                for number, log in scores.alternatives[place]
            ]
        entries.append(entry)
    return entries


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, LARGEST_LOSS))


def _shown(number: int, served: ServedModel) -> str:
    """Return a word of the vocabulary as it stands in a text."""
    if number == END_OF_LINE_ID:
        return "\n"
    return "".join(served.tokenizer.pieces([served.vocabulary.words[number]])) or " "


def _listed(words: list[str]) -> str:
    """Return some words for a message."""
    shown = ", ".join(repr(word[:LONGEST_WORD]) for word in words[:MOST_WORDS])
    return f"Each of {shown}{' and others' if len(words) > MOST_WORDS else ''}"


def _side_by_side(readers: Sequence[Reader]) -> Memory:
    """Return the texts' states as rows. A batch that stays together already has that array."""
    memory = readers[0].memory
    if len(memory) == len(readers) and all(
        reader.memory is memory and reader.row == row for row, reader in enumerate(readers)
    ):
        return memory
    return np.stack([reader.memory[reader.row] for reader in readers])
