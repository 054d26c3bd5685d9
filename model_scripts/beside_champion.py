"""Show the challenger beside the champion: a text by each, and the words on which they differ most.

Perplexity is a mean over all words. These are for people who want to see what is behind it. Only the first
rank works here, on one processor or GPU, and reads no more than MOST_TOKENS of the test split.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

import comparison
import inference
import language_model
import split_files
import tokenizer
from comparison import ARTIFACT, Comparison
from example_texts import WORDS, generate, usual_prompt
from job_log import log_values, quoted, summary
from perplexity import token_losses
from request_body import Request
from tokenizer import JOINER, Tokenizer
from vocabulary import END_OF_LINE, UNKNOWN, UNKNOWN_ID, Vocabulary

SEED, TEMPERATURE = 1, 0.7

MOST_TOKENS = 50_000

SHOWN = 5
"""How many words are shown in each direction."""

FEWEST = 3
"""Words that occur less often are left out: they would disclose a line, and their figures are chance."""


@dataclass(frozen=True)
class WordDifference:
    """How both models predict a word of the test split.

    Attributes:
        word: The word without joiners, or END_OF_LINE in words.
        count: How often the text that was read has it.
        champion: The geometric mean of its probabilities where it occurs, by the champion.
        challenger: The same by the challenger.
    """

    word: str
    count: int
    champion: float
    challenger: float


def show(
    folder: Path, artifact: Path, channel: Path, valid: str, outcome: Comparison, device: torch.device
) -> dict[str, Any]:
    """Return the entries `side_by_side` and `word_differences` of metrics.json.

    If that fails, log it and return no entries: the model is trained, tested and compared.

    Args:
        folder: Contains the champion's model.tar.gz.
        artifact: The challenger's folder.
        channel: The training channel.
        valid: The beginning of the validation split.
        outcome: The comparison of the two.
        device: Where to score the test split.
    """
    try:
        with tempfile.TemporaryDirectory() as name:
            champion = Path(name)
            comparison.unpack(folder / ARTIFACT, champion)
            differences = []
            if outcome.words is not None:
                words = words_of_test(channel, outcome.challenger.tokenizer)
                differences = word_differences(champion, artifact, words, outcome.words, device)
            return {
                "side_by_side": _side_by_side(champion, artifact, valid),
                "word_differences": [asdict(each) for each in differences],
            }
    except Exception as error:
        log_values(side_by_side="none", reason=quoted(summary(error)))
        return {}


def _side_by_side(champion: Path, challenger: Path, valid: str) -> dict[str, Any]:
    """Return a text by each model, from the same prompt, seed and temperature."""
    old, new = inference.load(champion), inference.load(challenger)
    prompt = usual_prompt(new, valid)
    known = old.vocabulary.numbers
    if any(word not in known for word in old.tokenizer.split_prompt(prompt, known)):
        prompt = ""
    request = Request(seed=SEED, temperature=TEMPERATURE, words=WORDS, prompt=prompt)
    texts = {
        name: generate(served, [request])[0]["text"]
        for name, served in (("champion", old), ("challenger", new))
    }
    return {"prompt": prompt, "seed": SEED, "temperature": TEMPERATURE, **texts}


def words_of_test(channel: Path, tokenizer_name: str) -> list[str]:
    """Return the first MOST_TOKENS words of the test split, with an END_OF_LINE after each line."""
    return list(islice(_words(channel, tokenizer.BY_NAME[tokenizer_name]), MOST_TOKENS))


def _words(channel: Path, cut: Tokenizer) -> Iterator[str]:
    for _, block in split_files.blocks(split_files.find(channel)["test"]):
        # A block may end in the middle of a line.
        *lines, rest = block.decode().split("\n")
        for line in lines:
            yield from (*cut.split(line), END_OF_LINE)
        yield from cut.split(rest)


def word_differences(
    champion: Path, challenger: Path, words: Sequence[str], common: int, device: torch.device
) -> list[WordDifference]:
    """Return the words on which two models differ most, those first that the challenger predicts better.

    Both predict the exact words, as in comparison.py. A word's rank is the sum of its differences, in nats,
    divided by the square root of its count. So neither the frequent words win, whose small differences add
    up, nor the rare ones, whose few differences are chance.

    Args:
        champion: The champion's folder.
        challenger: The challenger's folder.
        words: The text.
        common: The size of the set of words that both choose from, V* of comparison.py.
        device: Where to score the text.
    """
    distinct, indices = np.unique(np.array(words, dtype=object), return_inverse=True)
    counts = np.bincount(indices)
    losses = [
        np.bincount(indices, weights=_exact_losses(folder, words, common, device))
        for folder in (champion, challenger)
    ]
    rank = (losses[0] - losses[1]) / np.sqrt(counts)
    shown = [
        word
        for word in np.argsort(-rank, kind="stable").tolist()
        if counts[word] >= FEWEST and distinct[word] != UNKNOWN and _readable(distinct[word])
    ]
    better = [word for word in shown[:SHOWN] if rank[word] > 0]
    worse = [word for word in shown[: -SHOWN - 1 : -1] if rank[word] < 0]
    return [
        WordDifference(
            _readable(distinct[word]),
            int(counts[word]),
            *(math.exp(-loss[word] / counts[word]) for loss in losses),
        )
        for word in (*better, *worse)
    ]


def _exact_losses(folder: Path, words: Sequence[str], common: int, device: torch.device) -> Any:
    """Return what each word costs a model, in nats. An unknown word costs its share of <unk>."""
    model, _ = language_model.load(folder)
    known = Vocabulary.load(folder / language_model.VOCABULARY)
    tokens = np.array(known.encode(words), dtype=np.int32)
    charge = math.log(common - len(known) + 1)
    return token_losses(model.to(device), tokens) + charge * (tokens == UNKNOWN_ID)


def _readable(word: str) -> str:
    return "end of line" if word == END_OF_LINE else word.replace(JOINER, "")
