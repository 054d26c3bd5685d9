"""A damaged archive is an error of the dataset, or text; it is never a crash."""

import bz2
import gzip
import lzma
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import errors
from tests.unit.pipeline.uploads.prepare_step import tale, tarred, zipped
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET, S3InMemory
from uploads.object_reader import ObjectReader
from uploads.uploaded_corpus import open_corpus

TEXT = tale(50).encode()
FILES = {"a.txt": TEXT, "b/" + "long" * 40: TEXT[:300]}
PACKED = {
    "zip": zipped(FILES),
    "tar": tarred(FILES),
    "tar.gz": tarred(FILES, "w:gz"),
    "tar.xz": tarred(FILES, "w:xz"),
    "gz": gzip.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "bz2": bz2.compress(TEXT),
}
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),  # the place of the edit
        st.integers(0, 40),  # how many bytes are deleted there
        st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"PK\x01\x02"]),
    ),
    min_size=1,
    max_size=5,
)
S3 = S3InMemory()
NUMBERS = count()


def text_of(data: bytes) -> str:
    """Return the text of an object with this content, or the sentence with which it is refused."""
    event = S3.put(f"uploads/damaged/{next(NUMBERS)}", data)
    reader = ObjectReader(S3.client, BUCKET, event["key"], event["etag"], len(data))
    try:
        return "".join(piece for _, piece in open_corpus({None: reader}).text())
    except errors.InvalidDataset as error:
        return f"refused: {error}"


@pytest.mark.parametrize("kind", PACKED)
@settings(max_examples=40)
@given(edits=EDITS)
def test_damage_is_an_error_of_the_dataset(kind: str, edits: list[tuple[float, int, bytes]]) -> None:
    data = bytearray(PACKED[kind])
    for place, deleted, new in edits:
        start = int(place * len(data))
        data[start : start + deleted] = new
    text = text_of(bytes(data))
    assert "s3://lexline-test/uploads/damaged/" in text or not text.startswith("refused")


def test_a_zip_member_without_a_name_is_read() -> None:
    data = bytearray(zipped({"a": TEXT}))
    directory = data.index(b"PK\x01\x02")
    # The name's length, 1, becomes 0 in both headers and the name an extra byte of the directory's entry.
    data[26] = data[directory + 28] = 0
    data[28] = data[directory + 30] = 1
    assert text_of(bytes(data)) == tale(50)
