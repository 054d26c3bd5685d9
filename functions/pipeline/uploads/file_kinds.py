"""The kind of a file, from its first bytes. Its name matters only where the bytes say nothing."""

import re
import tarfile

from core.errors import DatasetNotText, InvalidDataset
from uploads.compression import COMPRESSIONS
from uploads.file_names import COMPRESSED

# This many bytes are looked at.
HEAD = 4096

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_SAVE_AS_TEXT = "Save its text as plain text in UTF-8, and upload that."
_PACK_AGAIN = (
    "Unpack it, and upload the texts themselves or a .zip, .tar.gz, "
    f"{', '.join(f'.{ending}' for ending in COMPRESSED[:-1])} or .{COMPRESSED[-1]} of them."
)
_DOCUMENTS: dict[str, bytes | tuple[bytes, ...]] = {
    "a PDF": b"%PDF-",
    "a PostScript document": b"%!PS",
    "an old Office document": b"\xd0\xcf\x11\xe0",
    "an RTF document": b"{\\rtf",
    "a DjVu document": b"AT&TFORM",
}
_PACKED_OTHERWISE: dict[str, bytes | tuple[bytes, ...]] = {
    "packed as 7z": b"7z\xbc\xaf\x27\x1c",
    "packed as RAR": b"Rar!\x1a\x07",
    "compressed with lz4": (b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"),
    "compressed with compress (.Z)": b"\x1f\x9d",
    "compressed with lzip": b"LZIP\x01",
}
_OTHERS: dict[str, bytes | tuple[bytes, ...]] = {
    "a PNG image": b"\x89PNG",
    "a JPEG image": b"\xff\xd8\xff",
    "a GIF image": (b"GIF87a", b"GIF89a"),
    "an audio file": (b"ID3\x03", b"ID3\x04", b"OggS\0", b"fLaC\0", b"RIFF"),
    "a Parquet file": b"PAR1",
    "an Arrow file": b"ARROW1\0\0",
    "an Avro file": b"Obj\x01",
    "a SQLite database": b"SQLite format 3\0",
    "a program": (b"\x7fELF", b"MZ\x90\0"),
}
# Formats without a signature.
_BY_NAME = {
    ".br": f"It is compressed with Brotli, as its name says, which is not read. {_PACK_AGAIN}",
    ".lzma": f"It is compressed with the old LZMA, as its name says, which is not read. {_PACK_AGAIN}",
    ".z": f"It is compressed, as its name says, in a way that is not read. {_PACK_AGAIN}",
}
_ZIP_DOCUMENTS = {
    b"mimetypeapplication/epub+zip": "an e-book (EPUB)",
    b"mimetypeapplication/vnd.oasis.opendocument": "an OpenDocument file",
    b"[Content_Types].xml": "an Office document",
}
_MARKUP = re.compile(
    r"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s|\?xml\s|(?:html|head|svg|rss|feed|tei)[\s>])", re.I | re.S
)
_JSON_LINES = re.compile(r'\s*\{\s*"(?:[^\n]*")?text"\s*:\s*"')
_CHECKSUMS = re.compile(r"(?:\s*(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56,128})[ \t]+\S.*\n)+\s*", re.I)


def packing_of(head: bytes) -> str | None:
    """Return how a file is packed: a name in COMPRESSIONS, zip or tar.

    None if it is not packed, or in a way that is not read.
    """
    for name, compression in COMPRESSIONS.items():
        if head.startswith(compression.signatures):
            return name
    if head.startswith(_ZIP):
        return "zip"
    return "tar" if _is_tar(head) else None


def _is_tar(head: bytes) -> bool:
    if head[257:262] == b"ustar":
        return True
    # The oldest tars (v7) have no signature. Their checksum tells them from anything else.
    if len(head) < tarfile.BLOCKSIZE or not head[148:154].strip(b" \0").isdigit():
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def why_not_text(head: bytes, path: str) -> InvalidDataset | None:
    """Return the error for a file that is known not to be text, by its first bytes or else by its name."""
    for advice, kinds in ((_SAVE_AS_TEXT, _DOCUMENTS), (_PACK_AGAIN, _PACKED_OTHERWISE)):
        for kind, signature in kinds.items():
            if head.startswith(signature):
                return DatasetNotText(f"It is {kind}, which is not read. {advice}")
    for kind, signature in _OTHERS.items():
        if head.startswith(signature):
            return DatasetNotText(f"It is {kind}, not text. {_SAVE_AS_TEXT}")
    if head[60:68] == b"BOOKMOBI":
        return DatasetNotText(f"It is an e-book (MOBI), which is not read. {_SAVE_AS_TEXT}")
    ending = next((ending for ending in _BY_NAME if path.lower().endswith(ending)), None)
    if ending and not head.isascii():
        return DatasetNotText(_BY_NAME[ending])
    return None


def zip_document(head: bytes) -> InvalidDataset | None:
    """Return the error for a zip whose first member says that it is a document."""
    first = head[30:]
    for mark, kind in _ZIP_DOCUMENTS.items():
        if first.startswith(mark):
            return document(kind)
    return None


def document(kind: str) -> DatasetNotText:
    """Return the error for a document that is a zip inside."""
    return DatasetNotText(f"It is {kind}, which is not read. {_SAVE_AS_TEXT}")


def is_markup(head: str) -> bool:
    """Return whether a text begins as HTML and XML do."""
    return _MARKUP.match(head) is not None


def is_json_lines(head: str) -> bool:
    """Return whether a text begins with a JSON object that has the field text."""
    return _JSON_LINES.match(head) is not None


def is_checksums(head: str) -> bool:
    """Return whether a text is a list of checksums and names, as far as its whole lines show."""
    lines = head[: head.rfind("\n") + 1]
    return _CHECKSUMS.fullmatch(lines) is not None
