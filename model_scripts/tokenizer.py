"""Text to words and back, in the two ways a corpus can come.

`prose` is for ordinary text. Punctuation is cut from words, and each mark remembers with a joiner on which
side it touched its neighbour, so that joining gives the text back exactly, up to runs of spaces:

    "Well-known," he said.   ->   "￭  Well  ￭-￭  known  ￭,  ￭"  he  said  ￭.

Because marks carry the spacing, words have one form each and the model itself learns where quotes open and
close. Numbers such as 1,000.5 stay whole; a clitic is cut at its apostrophe (nation ￭'s, don ￭'t). The
joiner is OpenNMT's, U+FFED (github.com/OpenNMT/Tokenizer); where a text itself holds one it becomes U+25A0.

`tokenized` is for text in which a space already stands between all words and marks, as in WikiText: it is
cut at white space and nothing else, so that counts agree with published ones. Joining undoes WikiText's
conventions (@-@ @,@ @.@ n't and spaced punctuation) well enough to read.

Both work line by line; the line break itself is the vocabulary's <eos>.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

JOINER = "￭"
JOINER_IN_TEXT = "■"


class Tokenizer(Protocol):
    """A reversible way from a line of text to words."""

    name: str

    def split(self, line: str) -> list[str]:
        """The words of one line of the corpus."""

    def split_prompt(self, line: str) -> list[str]:
        """The words of one line a person typed."""

    def join(self, words: Sequence[str]) -> str:
        """Words of one line as readable text. Each word adds at most one space-separated piece."""

    def clings(self, word: str) -> bool:
        """Whether a word only ever stands against the word before it, and so never begins a line."""


# A combining accent or vowel sign belongs to its word, but Python's \w leaves it out.
_COMBINING = "".join(
    re.escape(chr(code))
    for code in range(0x300, sys.maxunicode if sys.maxunicode < 0x20000 else 0x20000)
    if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
_PIECE = re.compile(
    rf"(?P<number>\d+(?:[.,]\d+)+(?![\w{_COMBINING}]))"
    rf"|(?P<clitic>(?<=[\w{_COMBINING}])['’][\w{_COMBINING}]+)"
    rf"|(?P<word>[\w{_COMBINING}]+)"
    r"|(?P<mark>(.)\5*)",
    re.DOTALL,
)


@lru_cache(maxsize=2**18)
def _split_chunk(chunk: str) -> tuple[str, ...]:
    """The pieces of a run of text without spaces. All touch, so each border needs one joiner.

    Marks before the first word join to the right, as an opening quote does; later ones to the left, and to
    both sides when a word follows.
    """
    matches = list(_PIECE.finditer(chunk.replace(JOINER, JOINER_IN_TEXT)))
    pieces: list[str] = []
    seen_word = False
    for position, match in enumerate(matches):
        text = match.group()
        last = position == len(matches) - 1
        if match.lastgroup in ("number", "word"):
            pieces.append(text)
            seen_word = True
        elif match.lastgroup == "clitic":
            pieces.append(JOINER + text)
        elif not seen_word:
            pieces.append(text if last else text + JOINER)
        else:
            before_word = not last and matches[position + 1].lastgroup in ("number", "word")
            pieces.append(JOINER + text + (JOINER if before_word else ""))
    return tuple(pieces)


class Prose:
    """Ordinary text: words and punctuation apart, exactly reversible."""

    name = "prose"

    def split(self, line: str) -> list[str]:
        return [piece for chunk in line.split() for piece in _split_chunk(chunk)]

    def split_prompt(self, line: str) -> list[str]:
        """As `split`, but nothing is kept: what is typed into a server has no end, and may be long."""
        return [piece for chunk in line.split() for piece in _split_chunk.__wrapped__(chunk)]

    def join(self, words: Sequence[str]) -> str:
        text: list[str] = []
        touching = True
        for word in words:
            joins_left = word.startswith(JOINER)
            if not touching and not joins_left:
                text.append(" ")
            text.append(word.strip(JOINER))
            touching = word.endswith(JOINER)
        return "".join(text)

    def clings(self, word: str) -> bool:
        return word.startswith(JOINER)


_TOUCH_LEFT = frozenset([",", ".", ";", ":", "!", "?", "%", ")", "]", "}", "'", "''", "”", "’", "..."])
_TOUCH_RIGHT = frozenset(["(", "[", "{", "$", "£", "€", "``", "“", "‘"])
_INFIX = re.compile(r"@(.+)@")
_TYPED = re.compile(r"<unk>|\d+(?:[.,]\d+)*|n't\b|['’]\w+|[^\W\d]+?(?=n't\b)|\w+|(.)\1*", re.DOTALL)


class Tokenized:
    """Text already cut into words by spaces, after WikiText's conventions."""

    name = "tokenized"

    def split(self, line: str) -> list[str]:
        return line.split()

    def split_prompt(self, line: str) -> list[str]:
        """Typed text in WikiText's form: "don't cut 1,000 well-known, words" -> do n't cut 1 @,@ 000 well
        @-@ known , words."""
        words: list[str] = []
        for chunk in line.split():
            if _INFIX.fullmatch(chunk):
                words.append(chunk)
                continue
            chunk = re.sub(r"(?<=\d)([.,])(?=\d)|(?<=\w)(-)(?=\w)", r" @\1\2@ ", chunk)
            for piece in chunk.split():
                words += [piece] if _INFIX.fullmatch(piece) else [m.group() for m in _TYPED.finditer(piece)]
        return words

    def join(self, words: Sequence[str]) -> str:
        text: list[str] = []
        touching = True
        quote_open = False
        before = ""
        for word in words:
            infix = _INFIX.fullmatch(word)
            closing_quote = word == '"' and quote_open
            if word == '"':
                quote_open = not quote_open
            touches_left = (
                closing_quote
                or word in _TOUCH_LEFT
                or self.clings(word)
                or word == before == "="  # headings: = = Title = =
            )
            if not touching and not touches_left:
                text.append(" ")
            text.append(infix.group(1) if infix else '"' if word in ("``", "''") else word)
            touching = bool(infix) or word in _TOUCH_RIGHT or (word == '"' and quote_open)
            before = word
        return "".join(text)

    def clings(self, word: str) -> bool:
        return word == "n't" or bool(_INFIX.fullmatch(word) or (word.startswith("'") and word[1:].isalpha()))


BY_NAME: dict[str, Tokenizer] = {tokenizer.name: tokenizer for tokenizer in (Prose(), Tokenized())}

# Not the full stop, which also ends abbreviations, nor marks that some languages space out in print.
_NEVER_ALONE = frozenset(",()")


def choose(sample: str) -> Tokenizer:
    """The tokenizer that fits a sample of the training text.

    Marks that only a tokenizer leaves (<unk>, @-@ and its like) settle it. Otherwise text counts as tokenized
    when at least nine in ten of its commas and brackets stand alone between spaces.
    """
    chunks = sample.split()
    if any(chunk in ("<unk>", "@-@", "@,@", "@.@") for chunk in chunks):
        return BY_NAME["tokenized"]
    return BY_NAME["tokenized" if _share_alone(chunks) >= 0.9 else "prose"]


def _share_alone(chunks: Iterable[str]) -> float:
    """Of the chunks that begin or end with a comma or a bracket, the share that hold nothing else."""
    marked = [chunk for chunk in chunks if {chunk[0], chunk[-1]} & _NEVER_ALONE]
    alone = sum(_NEVER_ALONE.issuperset(chunk) for chunk in marked)
    return alone / len(marked) if marked else 0.0
