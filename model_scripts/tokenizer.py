"""Text to words and back, by three tokenizers.

`prose` is for ordinary text. It separates punctuation from words. A joiner marks each side on which a
punctuation mark touched its neighbour, so that joining restores the text exactly, up to runs of spaces:

    "Well-known," he said.   ->   "￭  Well  ￭-￭  known  ￭,  ￭"  he  said  ￭.

Only punctuation carries joiners, so each word has one form and the model learns where quotes open and close.
Numbers such as 1,000.5 stay whole. A clitic is separated before its apostrophe (nation ￭'s, don ￭'t), and an
elision after it (l'￭ homme), so that the noun has one form. The joiner is OpenNMT's, U+FFED
(github.com/OpenNMT/Tokenizer); if the text contains one, it becomes U+25A0.

Scripts that are written without spaces are cut as Unicode's UAX #29 does without a dictionary: ideographs one
by one, kana and the scripts of South-East Asia and Tibet by grapheme cluster. These words always touch the
word before them. A space before one is a word of its own, ￭￭, and a lone joiner joins a word of another
script to the one before it:

    他用Python。 好   ->   ￭￭  他  用  ￭  Python  ￭。  ￭￭  好

`tokenized` is for text with spaces between all words and marks, such as WikiText. It splits at white space
only, so that counts agree with published ones. Joining undoes WikiText's conventions (@-@ @,@ @.@ n't and
spaced punctuation) well enough to read.

`joined` is for text that a tokenizer such as OpenNMT's has cut and marked with joiners. It splits at white
space, and the joiners say how to join.

All work line by line and put text into Unicode's normal form NFC. The end of a line is the word <eos>
(vocabulary.py). An artifact names its tokenizer with the version of its conventions (prose-2). The first
versions, prose and tokenized, lack normal form, clusters, elisions and the search for a prompt's words. They
serve artifacts of that time.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Protocol

JOINER = "￭"
JOINER_IN_TEXT = "■"
SPACE = JOINER + JOINER
"""The word for a space before a word that otherwise touches the word before it."""


class Tokenizer(Protocol):
    """Splits lines of text into words, and joins words."""

    name: str

    def split(self, line: str) -> list[str]:
        """Return the words of one line of the corpus: those of its chunks."""
        return [*self.split_chunks(line.split())[0]]

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        """Return the words of all chunks (text without white space), and the number of words of each."""

    def split_prompt(self, line: str, known: Container[str]) -> list[str]:
        """Return the words of one line that a person typed, for a model that knows these words."""
        return [_find(word, known) for word in self.typed(line, known)]

    def typed(self, line: str, known: Container[str]) -> list[str]:
        """Return the words of one line that a person typed, as they were typed."""
        return self.split(line)

    def join(self, words: Iterable[str]) -> str:
        """Return the words of one line as text."""
        return "".join(self.pieces(words))

    def pieces(self, words: Iterable[str]) -> Iterator[str]:
        """Yield the text that each word of one line adds: the word, and the space before it if there is one.

        A piece depends on the words before it, not on those after it.
        """

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
_MARKS = _combining()

# Letters and signs, but not digits, of the scripts without spaces: Han, kana, Tibetan, and those whose line
# breaks need a dictionary (Line_Break=SA in UAX #14).
_UNSPACED = (
    "々-〇〡-〩〸-〻㐀-䶿一-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "ぁ-ゖ\u3099\u309aゝ-ゟァ-ヺー-ヿㇰ-ㇿｦ-ﾟ\U0001aff0-\U0001b16f"  # kana
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf"  # Lao
    "\u0f00\u0f40-\u0f6c\u0f71-\u0f84\u0f86-\u0fbc"  # Tibetan
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a-\uaa7f"  # Myanmar
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u1950-\u1974\u1980-\u19c9\u1a20-\u1a7c\uaa80-\uaac2"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
)
# Thai and Lao AM and the halfwidth voiced marks are letters that extend a cluster (UAX #29, table 2).
_EXTENDING = rf"{_MARKS}\u0e33\u0eb3\uff9e\uff9f\u200c\u200d\U000e0100-\U000e01ef"
_FIRST_UNSPACED = re.compile(f"[{_UNSPACED}]")


def _pattern(letter: str, cluster: str, elision: str = "(?!)") -> re.Pattern[str]:
    """Return the pattern of a piece of a chunk, given those of its parts."""
    return re.compile(
        rf"(\d+(?:[.,]\d+)+(?!{letter}))"  # number
        rf"|((?<={letter})['’](?:{letter})+)"  # clitic
        rf"|({cluster})"
        rf"|((?:{letter})+(?:{elision})?)"  # word
        r"|((.)\6*)",  # mark
        re.DOTALL,
    )


def _elision(letter: str) -> str:
    """Return the pattern of an elision's apostrophe: between letters, unless a clitic of English follows."""
    return rf"(?i:(?<!\d)['’](?![stdm](?!{letter})|(?:re|ve|ll)(?!{letter}))(?={letter}))"


_LETTER = rf"[\w{_MARKS}]"
_SPACED_LETTER = rf"(?![{_UNSPACED}]){_LETTER}"
_FIRST_PIECES = _pattern(_LETTER, "(?!)")
_PIECES = _pattern(_LETTER, "(?!)", _elision(_LETTER))
_PIECES_AND_CLUSTERS = _pattern(
    _SPACED_LETTER, f"[{_UNSPACED}][{_EXTENDING}]*", _elision(f"(?:{_SPACED_LETTER})")
)
_ENDINGS = frozenset(".,;:!?-)\"'”’")


class Prose(Tokenizer):
    """The tokenizer for ordinary text, which can be restored exactly."""

    name = "prose-2"
    _normal = True
    _clusters = True

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
        """Return the pieces of a chunk."""
        if self._normal and not chunk.isascii():
            chunk = unicodedata.normalize("NFC", chunk)
            if _FIRST_UNSPACED.search(chunk):
                return self._cut(chunk, _PIECES_AND_CLUSTERS)
        # Fast paths for most of English: a single word, or a word with a mark after it.
        if chunk.isalnum():
            return (chunk,)
        if chunk[-1] in _ENDINGS:
            word = chunk.rstrip(chunk[-1])
            if word.isalnum():
                return (word, JOINER + chunk[len(word) :])
        return self._cut(chunk, _PIECES if self._normal else _FIRST_PIECES)

    def _cut(self, chunk: str, pattern: re.Pattern[str]) -> list[str]:
        """Return the pieces of any chunk. They touch, so each border between two needs one joiner.

        Marks before the first word join to the right, as an opening quote does. Later marks join to the left,
        and to both sides if a word follows. Clusters join to the left by themselves.
        """
        found = pattern.findall(chunk.replace(JOINER, JOINER_IN_TEXT))
        pieces: list[str] = []
        seen_word, after_cluster = False, False
        for position, (number, clitic, cluster, word, mark, _) in enumerate(found, start=1):
            following = found[position] if position < len(found) else None
            if cluster:
                pieces += [cluster] if pieces else [SPACE, cluster]
                seen_word = True
            elif number or word:
                elided = JOINER if word.endswith(("'", "’")) else ""
                pieces += [JOINER] if after_cluster else []
                pieces.append((number or word) + elided)
                seen_word = True
            elif clitic:
                pieces.append(JOINER + clitic)
            elif not seen_word:
                pieces.append(mark + JOINER if following and not following[2] else mark)
            else:
                before_word = following and (following[0] or following[3])
                pieces.append(JOINER + mark + (JOINER if before_word else ""))
            after_cluster = bool(cluster)
        return pieces

    def pieces(self, words: Iterable[str]) -> Iterator[str]:
        """Yield the text that each word of one line adds."""
        begun, touching, spaced = False, True, False
        for word in words:
            if word == SPACE and self._clusters:
                spaced = begun
                yield ""
                continue
            joins_left = word.startswith(JOINER) or (self._clusters and _FIRST_UNSPACED.match(word))
            yield (" " if spaced or not (touching or joins_left) else "") + word.strip(JOINER)
            begun, touching, spaced = True, word.endswith(JOINER), False

    def clings(self, word: str) -> bool:
        """Return whether a word touches the word before it."""
        return word.startswith(JOINER)


class FirstProse(Prose):
    """The first version of `prose`."""

    name = "prose"
    _normal = False
    _clusters = False

    def split_prompt(self, line: str, known: Container[str]) -> list[str]:
        """Return the words of one line that a person typed."""
        return self.split(line)


_TOUCH_LEFT = frozenset([",", ".", ";", ":", "!", "?", "%", ")", "]", "}", "'", "''", "”", "’", "..."])
_TOUCH_RIGHT = frozenset(["(", "[", "{", "$", "£", "€", "``", "“", "‘"])
_INFIX = re.compile(r"@(.+)@")
_ABBREVIATION = re.compile(r"(?:[^\W\d_]+\.)+")
_TYPED = re.compile(r"<unk>|\d+(?:[.,]\d+)*|n't\b|['’]\w+|[^\W\d]+?(?=n't\b)|\w+|(.)\1*", re.DOTALL)


class Tokenized(Tokenizer):
    """The tokenizer for text that has spaces between all words and marks, in WikiText's conventions."""

    name = "tokenized-2"

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        """Return the chunks as words, and the number of words of each, which is 1."""
        return _in_normal_form(chunks), [1] * len(chunks)

    def typed(self, line: str, known: Container[str]) -> list[str]:
        """Return typed text in WikiText's form. Abbreviations that the model knows stay whole.

        "Mr. Cut don't cut 1,000 well-known, words"   ->   Mr. Cut do n't cut 1 @,@ 000 well @-@ known , words
        """
        line = unicodedata.normalize("NFC", line).translate(_PLAIN)
        words: list[str] = []
        end = 0
        for found in _ABBREVIATION.finditer(line):
            if found.group() in known:
                words += [*self._split_typed(line[end : found.start()]), found.group()]
                end = found.end()
        words += self._split_typed(line[end:])
        return words

    def _split_typed(self, line: str) -> list[str]:
        words: list[str] = []
        for chunk in line.split():
            if _INFIX.fullmatch(chunk):
                words.append(chunk)
                continue
            chunk = re.sub(r"(?<=\d)([.,])(?=\d)|(?<=\w)(-)(?=\w)", r" @\1\2@ ", chunk)
            for piece in chunk.split():
                words += [piece] if _INFIX.fullmatch(piece) else [m.group() for m in _TYPED.finditer(piece)]
        return words

    def pieces(self, words: Iterable[str]) -> Iterator[str]:
        """Yield the readable text that each word of one line adds."""
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
            readable = infix.group(1) if infix else '"' if word in ("``", "''") else word
            yield readable if touching or touches_left else f" {readable}"
            touching = bool(infix) or word in _TOUCH_RIGHT or (word == '"' and quote_open)
            before = word

    def clings(self, word: str) -> bool:
        """Return whether a word touches the word before it."""
        return word == "n't" or bool(_INFIX.fullmatch(word) or (word.startswith("'") and word[1:].isalpha()))


class FirstTokenized(Tokenized):
    """The first version of `tokenized`."""

    name = "tokenized"

    def split_chunks(self, chunks: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
        """Return the chunks as words, and the number of words of each, which is 1."""
        return chunks, [1] * len(chunks)

    def typed(self, line: str, known: Container[str]) -> list[str]:
        """Return typed text in WikiText's form."""
        return self._split_typed(line)

    def split_prompt(self, line: str, known: Container[str]) -> list[str]:
        """Return the words of one line that a person typed."""
        return self.typed(line, known)


class Joined(Prose):
    """The tokenizer for text that has spaces between all words and marks, and joiners where they touched."""

    name = "joined"
    _clusters = False

    def split_chunks(self, chunks: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return the chunks as words, and the number of words of each, which is 1."""
        return [*_in_normal_form(chunks)], [1] * len(chunks)

    def typed(self, line: str, known: Container[str]) -> list[str]:
        """Return typed text with joiners, as the first `prose` set them."""
        return BY_NAME["prose"].split(unicodedata.normalize("NFC", line))


def places(line: str, words: Iterable[str]) -> list[tuple[int, int]]:
    """Return where each word of a line begins and ends in it, given the words that a tokenizer made of it.

    A word that a tokenizer added, for example for a space, has no characters.
    """
    text, origins = _with_origins(line)
    text = text.translate(_PLAIN)
    found, at = [], 0
    for word in words:
        while at < len(text) and text[at].isspace():
            at += 1
        plain = unicodedata.normalize("NFC", word).translate(_PLAIN)
        infix = _INFIX.fullmatch(plain)
        forms = [plain, plain.strip(JOINER), infix.group(1) if infix else plain]
        form = next((form for form in forms if text.startswith(form, at)), None)
        if form is None:  # the tokenizer replaced a joiner of the text
            form = plain.strip(JOINER).replace(JOINER_IN_TEXT, JOINER)
        end = min(at + len(form), len(text))
        found.append((origins[at], origins[end]))
        at = end
    return found


def _with_origins(line: str) -> tuple[str, list[int]]:
    """Return a line in normal form, and for each of its characters, and its end, the place in the line."""
    if unicodedata.is_normalized("NFC", line):
        return line, [*range(len(line) + 1)]
    text, origins, start = "", [0], 0
    for end in range(1, len(line) + 1):
        # A part ends where the next character does not combine with it.
        if end < len(line) and not _is_border(line[start:end], line[end]):
            continue
        part = unicodedata.normalize("NFC", line[start:end])
        text += part
        origins[-1:] = [start] * len(part) + [end]
        start = end
    return text, origins


def _is_border(before: str, after: str) -> bool:
    if unicodedata.combining(after):
        return False
    apart = unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", after)
    return unicodedata.normalize("NFC", before + after) == apart


_PLAIN = str.maketrans("‘’“”", "''\"\"")


def _find(word: str, known: Container[str]) -> str:
    """Return the form of a typed word that the model knows; the word itself if it knows none."""
    return next((form for form in _forms(word) if form in known), word)


def _forms(word: str) -> Iterator[str]:
    """Yield a word as it was typed, with the other apostrophe, and in the other case."""
    for form in (word, word.lower(), word.capitalize(), word.upper()):
        yield form
        yield form.translate(_PLAIN)
        yield form.replace("'", "’")


def _in_normal_form(chunks: Sequence[str]) -> Sequence[str]:
    text = "\n".join(chunks)
    # No chunk has a line end, and the normal form neither makes nor removes one.
    return (
        chunks if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text).split("\n")
    )


CHOICES: dict[str, Tokenizer] = {"prose": Prose(), "tokenized": Tokenized(), "joined": Joined()}
"""The tokenizers to train with, by the names of the hyperparameter."""

BY_NAME: dict[str, Tokenizer] = {
    tokenizer.name: tokenizer for tokenizer in (*CHOICES.values(), FirstProse(), FirstTokenized())
}
"""All tokenizers, by their names in artifacts."""


def choice_of(name: str) -> str:
    """Return the hyperparameter's value that chooses the tokenizer of this name."""
    return next(choice for choice, tokenizer in CHOICES.items() if tokenizer.name == name)


FEWEST_MARKED = 0.01
"""The share of a text's chunks from which marks of a tokenizer are no accident.

In WikiText one chunk in ten is a comma, a full stop, a bracket or <unk>; in ordinary text a few in a million.
"""

# Without the marks that some languages print after a space, for example the French question mark.
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
        return CHOICES["joined"]
    return CHOICES["tokenized" if alone >= max(fewest, touching) else "prose"]
