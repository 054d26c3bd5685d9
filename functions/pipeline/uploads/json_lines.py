"""JSON Lines: an object on every line, with its text in the field `text`, as large corpora come."""

import json
from collections.abc import Callable, Iterable, Iterator

from core.errors import DatasetNotText
from core.text import cut

FIELD = "text"
# A line is kept in memory as a whole.
LONGEST_RECORD = 16 * 1024**2
_ADVICE = "Save it as JSON Lines, with one object a line and its text in the field text, or as plain text."


def texts(pieces: Iterable[bytes], note: Callable[[str], None], where: str = "") -> Iterator[bytes]:
    """Yield the texts of the records, each with a line end after it.

    Args:
        pieces: the file in UTF-8, in pieces that end between two characters.
        note: called with a sentence if records without text were left out.
        where: after the number of a line in errors, if the pieces are only a part of the file.

    Raises:
        DatasetNotText: A line is no JSON object, or no record has the field.
    """
    number = without = found = 0
    fields = ""
    for whole in _records(pieces):
        made = []
        for line in whole.split(b"\n"):
            number += 1
            if not line.strip():
                continue
            record = _object(line, f"Line {number:,}{where}")
            text = record.get(FIELD)
            if isinstance(text, str):
                found += 1
                made.append(text)
            else:
                without += 1
                fields = fields or ", ".join(map(str, record))
        number -= 1  # the last line of `whole` is empty, because it ends with LF
        if made:
            yield _encoded(made)
    if without and not found:
        raise DatasetNotText(
            f"It is JSON without the field text (it has: {cut(fields, 200)}). Give the text that name, with "
            "one object a line, or save it as plain text."
        )
    if without:
        note(f"{without:,} of its {without + found:,} records have no field text and were left out.")


def _records(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines, with LF at the end of each."""
    rest = b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LONGEST_RECORD:
            raise DatasetNotText(f"It is JSON with a line of more than {LONGEST_RECORD:,} bytes. {_ADVICE}")
    if rest:
        yield rest + b"\n"


def _object(line: bytes, name: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetNotText(f"{name} is not JSON ({cut(str(error), 100)}). {_ADVICE}") from error
    if not isinstance(record, dict):
        raise DatasetNotText(f"{name} is JSON, but no object. {_ADVICE}")
    return record


def _encoded(made: list[str]) -> bytes:
    # JSON can name NUL and halves of a surrogate pair, which are no characters of a text.
    joined = "".join(text if text.endswith("\n") else f"{text}\n" for text in made if text)
    return (
        joined.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    )
