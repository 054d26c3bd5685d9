"""Archives for tests."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Literal


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


TarMode = Literal["w", "w:gz", "w:bz2", "w:xz"]


def tarred(
    files: Mapping[str, bytes], mode: TarMode = "w", tar_format: int = tarfile.PAX_FORMAT, **fields: object
) -> bytes:
    """Return a tar in which every member has the TarInfo `fields`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tar_format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
