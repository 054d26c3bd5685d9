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
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

JOINER = "￭"
JOINER_IN_TEXT = "■"


class Tokenizer(Protocol):
    """A reversible way from a line of text to words."""

    name: str

    def split(self, line: str) -> list[str]:
        """The words of one line of the corpus: those of its chunks, one after another."""

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        """The words of runs of text without white space, one after another, and how many each run has."""

    def split_prompt(self, line: str) -> list[str]:
        """The words of one line a person typed."""

    def join(self, words: Sequence[str]) -> str:
        """Words of one line as readable text. Each word adds at most one space-separated piece."""

    def clings(self, word: str) -> bool:
        """Whether a word only ever stands against the word before it, and so never begins a line."""


def _combining() -> str:
    """Combining accents and vowel signs, as ranges of a regular expression's character class."""
    first, last = 0x300, 0x1FFFF
    kinds = map(unicodedata.category, map(chr, range(first, last + 1)))
    codes = [code for code, kind in enumerate(kinds, first) if kind in ("Mn", "Mc")]
    begins = [code for before, code in zip([-1, *codes], codes, strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -1], strict=True) if after != code + 1]
    return "".join(f"{chr(begin)}-{chr(end)}" for begin, end in zip(begins, ends, strict=True))


# A combining accent or vowel sign belongs to its word, but Python's \w leaves it out.
_LETTER = rf"[\w{_combining()}]"
_PIECES = re.compile(
    rf"(\d+(?:[.,]\d+)+(?!{_LETTER}))"  # number
    rf"|((?<={_LETTER})['’]{_LETTER}+)"  # clitic
    rf"|({_LETTER}+)"  # word
    r"|((.)\5*)",  # mark
    re.DOTALL,
)
_ENDINGS = frozenset(".,;:!?-)\"'”’")


class Prose:
    """Ordinary text: words and punctuation apart, exactly reversible."""

    name = "prose"

    def split(self, line: str) -> list[str]:
        return self.split_chunks(line.split())[0]

    def split_chunks(self, chunks: Sequence[str]) -> tuple[list[str], list[int]]:
        pieces: list[str] = []
        lengths: list[int] = []
        for chunk in chunks:
            of_chunk = self._split_chunk(chunk)
            pieces += of_chunk
            lengths.append(len(of_chunk))
        return pieces, lengths

    def _split_chunk(self, chunk: str) -> Sequence[str]:
        """All pieces of a chunk touch, so each border needs one joiner.

        Marks before the first word join to the right, as an opening quote does; later ones to the left, and
        to both sides when a word follows.
        """
        # Short ways for most of English: a word alone, or with a mark after it.
        if chunk.isalnum():
            return (chunk,)
        if chunk[-1] in _ENDINGS:
            word = chunk.rstrip(chunk[-1])
            if word.isalnum():
                return (word, JOINER + chunk[len(word) :])

        found = _PIECES.findall(chunk.replace(JOINER, JOINER_IN_TEXT))
        pieces: list[str] = []
        seen_word = False
        for position, (number, clitic, word, mark, _) in enumerate(found, start=1):
            last = position == len(found)
            if number or word:
                pieces.append(number or word)
                seen_word = True
            elif clitic:
                pieces.append(JOINER + clitic)
            elif not seen_word:
                pieces.append(mark if last else mark + JOINER)
            else:
                before_word = not last and bool(found[position][0] or found[position][2])
                pieces.append(JOINER + mark + (JOINER if before_word else ""))
        return pieces

    split_prompt = split

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

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        return chunks, [1] * len(chunks)

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
_LEFT_BY_A_TOKENIZER = frozenset(["<unk>", "@-@", "@,@", "@.@"])


def choose(sample: Iterable[str]) -> Tokenizer:
    """The tokenizer that fits a sample of the training text, given as lines; not all need be read.

    Marks that only a tokenizer leaves (<unk>, @-@ and its like) settle it. Otherwise text counts as tokenized
    when at least nine in ten of its commas and brackets stand alone between spaces.
    """
    chunks: Counter[str] = Counter()
    for line in sample:
        of_line = line.split()
        if not _LEFT_BY_A_TOKENIZER.isdisjoint(of_line):
            return BY_NAME["tokenized"]
        chunks.update(of_line)
    return BY_NAME["tokenized" if _share_alone(chunks) >= 0.9 else "prose"]


def _share_alone(chunks: Counter[str]) -> float:
    """Of the chunks that begin or end with a comma or a bracket, the share that hold nothing else."""
    marked = {
        chunk: count
        for chunk, count in chunks.items()
        if chunk[0] in _NEVER_ALONE or chunk[-1] in _NEVER_ALONE
    }
    alone = sum(count for chunk, count in marked.items() if _NEVER_ALONE.issuperset(chunk))
    return alone / sum(marked.values()) if marked else 0.0
