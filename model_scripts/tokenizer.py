"""Text to words and back, by three tokenizers.

`prose` is for ordinary text. It separates punctuation from words. A joiner marks each side on which a
punctuation mark touched its neighbour, so that joining restores the text exactly, up to runs of spaces:

    "Well-known," he said.   ->   "￭  Well  ￭-￭  known  ￭,  ￭"  he  said  ￭.

Only punctuation carries joiners, so each word has one form and the model learns where quotes open and close.
Numbers such as 1,000.5 stay whole. A clitic is separated at its apostrophe (nation ￭'s, don ￭'t). The joiner
is OpenNMT's, U+FFED (github.com/OpenNMT/Tokenizer); if the text contains one, it becomes U+25A0.

`tokenized` is for text with spaces between all words and marks, such as WikiText. It splits at white space
only, so that counts agree with published ones. Joining undoes WikiText's conventions (@-@ @,@ @.@ n't and
spaced punctuation) well enough to read.

`joined` is for text that a tokenizer such as OpenNMT's has cut and marked with joiners. It splits at white
space, and the joiners say how to join.

All work line by line. The end of a line is the word <eos> (vocabulary.py).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

JOINER = "￭"
JOINER_IN_TEXT = "■"


class Tokenizer(Protocol):
    """Splits lines of text into words, and joins words."""

    name: str

    def split(self, line: str) -> list[str]:
        """Return the words of one line of the corpus: those of its chunks."""
        return [*self.split_chunks(line.split())[0]]

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        """Return the words of all chunks (text without white space), and the number of words of each."""

    def split_prompt(self, line: str) -> list[str]:
        """Return the words of one line that a person typed."""
        return self.split(line)

    def join(self, words: Sequence[str]) -> str:
        """Return the words of one line as text. Each word adds at most one word between spaces."""

    def clings(self, word: str) -> bool:
        """Return whether a word always touches the word before it, so that it cannot begin a line."""


def _combining() -> str:
    """Return combining accents and vowel signs, as ranges of a regular expression's character class."""
    first, last = 0x300, 0x1FFFF
    kinds = map(unicodedata.category, map(chr, range(first, last + 1)))
    codes = [code for code, kind in enumerate(kinds, first) if kind in ("Mn", "Mc")]
    begins = [code for before, code in zip([-1, *codes], codes, strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -1], strict=True) if after != code + 1]
    return "".join(f"{chr(begin)}-{chr(end)}" for begin, end in zip(begins, ends, strict=True))


# Combining accents and vowel signs belong to their word, but Python's \w does not match them.
_LETTER = rf"[\w{_combining()}]"
_PIECES = re.compile(
    rf"(\d+(?:[.,]\d+)+(?!{_LETTER}))"  # number
    rf"|((?<={_LETTER})['’]{_LETTER}+)"  # clitic
    rf"|({_LETTER}+)"  # word
    r"|((.)\5*)",  # mark
    re.DOTALL,
)
_ENDINGS = frozenset(".,;:!?-)\"'”’")


class Prose(Tokenizer):
    """The tokenizer for ordinary text, which can be restored exactly."""

    name = "prose"

    def split_chunks(self, chunks: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return the words of all chunks, and the number of words of each."""
        pieces: list[str] = []
        lengths: list[int] = []
        for chunk in chunks:
            of_chunk = self._split_chunk(chunk)
            pieces += of_chunk
            lengths.append(len(of_chunk))
        return pieces, lengths

    def _split_chunk(self, chunk: str) -> Sequence[str]:
        """Return the pieces of a chunk. They touch, so each border between two needs one joiner.

        Marks before the first word join to the right, as an opening quote does. Later marks join to the left,
        and to both sides if a word follows.
        """
        # Fast paths for most of English: a single word, or a word with a mark after it.
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

    def join(self, words: Sequence[str]) -> str:
        """Return the text of one line's words."""
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
        """Return whether a word touches the word before it."""
        return word.startswith(JOINER)


_TOUCH_LEFT = frozenset([",", ".", ";", ":", "!", "?", "%", ")", "]", "}", "'", "''", "”", "’", "..."])
_TOUCH_RIGHT = frozenset(["(", "[", "{", "$", "£", "€", "``", "“", "‘"])
_INFIX = re.compile(r"@(.+)@")
_TYPED = re.compile(r"<unk>|\d+(?:[.,]\d+)*|n't\b|['’]\w+|[^\W\d]+?(?=n't\b)|\w+|(.)\1*", re.DOTALL)


class Tokenized(Tokenizer):
    """The tokenizer for text that has spaces between all words and marks, in WikiText's conventions."""

    name = "tokenized"

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        """Return the chunks, each of which is one word."""
        return chunks, [1] * len(chunks)

    def split_prompt(self, line: str) -> list[str]:
        """Return typed text in WikiText's form.

        "don't cut 1,000 well-known, words"   ->   do n't cut 1 @,@ 000 well @-@ known , words
        """
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
        """Return the words of one line as readable text."""
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
        """Return whether a word touches the word before it."""
        return word == "n't" or bool(_INFIX.fullmatch(word) or (word.startswith("'") and word[1:].isalpha()))


class Joined(Prose):
    """The tokenizer for text that has spaces between all words and marks, and joiners where they touched."""

    name = "joined"

    def split_chunks(self, chunks: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return the chunks, each of which is one word."""
        return list(chunks), [1] * len(chunks)

    def split_prompt(self, line: str) -> list[str]:
        """Return typed text with joiners, as `prose` sets them."""
        return BY_NAME["prose"].split(line)


BY_NAME: dict[str, Tokenizer] = {tokenizer.name: tokenizer for tokenizer in (Prose(), Tokenized(), Joined())}

FEWEST_MARKED = 0.01
"""The share of a text's chunks from which marks of a tokenizer are no accident.

In WikiText one chunk in ten is a comma, a full stop, a bracket or <unk>; in ordinary text a few in a million.
"""

# Not the marks that some languages print after a space, such as the French question mark.
_STOPS_AND_BRACKETS = frozenset(",.()،。，、（）।")
_MADE_BY_TOKENIZERS = frozenset(["<unk>", "@-@", "@,@", "@.@"])


def choose(sample: Iterable[str]) -> Tokenizer:
    """Return the tokenizer that fits the training text, given lines of it.

    Shares decide, so that a stray mark changes nothing. Text is joined if FEWEST_MARKED of its chunks begin
    or end with a joiner. It is tokenized if as many chunks are a comma, stop or bracket between spaces or a
    mark that only tokenizers make (<unk>, @-@, @,@, @.@), and if no more commas, stops and brackets touch a
    word. Some always do: tokenizers leave abbreviations whole.
    """
    chunks: Counter[str] = Counter()
    for line in sample:
        chunks.update(line.split())
    joined, alone, touching = 0, 0, 0
    for chunk, count in chunks.items():
        if chunk[0] == JOINER or chunk[-1] == JOINER:
            joined += count
        elif chunk in _MADE_BY_TOKENIZERS or _STOPS_AND_BRACKETS.issuperset(chunk):
            alone += count
        elif chunk[0] in _STOPS_AND_BRACKETS or chunk[-1] in _STOPS_AND_BRACKETS:
            touching += count
    fewest = max(1, FEWEST_MARKED * chunks.total())
    if joined >= fewest:
        return BY_NAME["joined"]
    return BY_NAME["tokenized" if alone >= max(fewest, touching) else "prose"]
