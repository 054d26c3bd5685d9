"""Whatever is done to an archive's bytes: an error of the dataset, or text; never a crash."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import errors
from uploads.object_reader import ObjectReader
from tests.unit.pipeline.uploads.prepare_s3 import BUCKET, FakeS3, tale
from uploads.uploaded_corpus import open_corpus

TEXT = tale(50).encode()
FILES = {"a.txt": TEXT, "b/" + "long" * 40: TEXT[:300]}


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarred(mode: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


PACKED = {
    "zip": zipped(),
    "tar": tarred("w"),
    "tar.gz": tarred("w:gz"),
    "tar.xz": tarred("w:xz"),
    "gz": gzip.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "bz2": bz2.compress(TEXT),
}
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),  # where
        st.integers(0, 40),  # how many bytes go
        st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"PK\x01\x02"]),
    ),
    min_size=1,
    max_size=5,
)
BUCKET_IN_MEMORY = FakeS3()
NUMBERS = count()


@pytest.mark.parametrize("kind", PACKED)
@settings(max_examples=40, deadline=None)
@given(edits=EDITS)
def test_damage_is_told_as_an_error_of_the_dataset(kind: str, edits: list[tuple[float, int, bytes]]) -> None:
    data = bytearray(PACKED[kind])
    for where, gone, new in edits:
        start = int(where * len(data))
        data[start : start + gone] = new
    key = f"uploads/damage/{next(NUMBERS)}"
    event = BUCKET_IN_MEMORY.put(key, bytes(data))
    if not data:
        return
    reader = ObjectReader(BUCKET_IN_MEMORY.client, BUCKET, key, event["etag"], len(data))
    told = reader.uri
    try:
        for _ in open_corpus({None: reader}).text():
            pass
    except errors.InvalidDataset as error:
        told = str(error)
    assert reader.uri in told


def test_a_zip_member_without_a_name_is_read() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", TEXT)
    data = packed.getvalue()
    directory = data.index(b"PK\x01\x02")
    # The name's length, 1, becomes 0 in both headers and the name an extra byte of the directory's entry.
    nameless = bytearray(data)
    nameless[26] = nameless[directory + 28] = 0
    nameless[28] = nameless[directory + 30] = 1
    event = BUCKET_IN_MEMORY.put("uploads/damage/nameless", bytes(nameless))
    reader = ObjectReader(
        BUCKET_IN_MEMORY.client, BUCKET, "uploads/damage/nameless", event["etag"], len(nameless)
    )
    assert "".join(piece for _, piece in open_corpus({None: reader}).text()).encode() == TEXT
