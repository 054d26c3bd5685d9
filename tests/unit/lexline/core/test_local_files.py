"""Which files are uploaded, under which names, and what is left out with a reason."""

import os
from pathlib import Path

import pytest

from lexline.core import local_files
from lexline.core.errors import UsageError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "novels/z.txt", "novels/a/é 1.txt", "novels/.git/config", "novels/.DS_Store"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("text")
    Path("novels/empty.txt").touch()


def names(*paths: str) -> list[str]:
    return [file.name for file in local_files.select([Path(path) for path in paths]).files]


def test_a_folder_gives_its_files_and_those_in_its_folders_by_their_paths_below_it() -> None:
    selection = local_files.select([Path("novels")])
    assert [(file.name, file.size) for file in selection.files] == [("a/é 1.txt", 4), ("z.txt", 4)]
    # A file has the same name in the dataset, whatever is given beside it.
    assert names("novels", "b.txt") == ["a/é 1.txt", "b.txt", "z.txt"]
    assert names("novels/z.txt") == ["z.txt"]
    assert names("novels", "novels/z.txt") == ["a/é 1.txt", "z.txt"]


def test_what_is_left_out_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("novels")
    (folder / "again").symlink_to(folder.absolute())
    (folder / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff.txt")).write_text("text")
    long = Path(*["n" * 200] * 5)
    (folder / long).mkdir(parents=True)
    (folder / long / "long.txt").write_text("text")
    secret = folder / "secret.txt"
    secret.write_text("text")
    monkeypatch.setattr(os, "access", lambda path, _: path != secret)
    selection = local_files.select([folder])
    assert [file.name for file in selection.files] == ["a/é 1.txt", "z.txt"]
    assert dict(selection.left_out) == {
        "novels/.git/": "hidden",
        "novels/.DS_Store": "hidden",
        "novels/again/": "a link to a folder",
        "novels/empty.txt": "empty",
        "novels/gone.txt": "not a file, or a link to nothing",
        "novels/pipe": "not a file, or a link to nothing",
        "novels/secret.txt": "this user may not read it",
        os.fsdecode(b"novels/\xff.txt"): "its name is not UTF-8; rename it",
        str(folder / long / "long.txt"): "its name is too long; rename it",
    }


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["nowhere.txt"], "nowhere.txt does not exist"),
        (["novels/empty.txt"], r"nothing to upload: novels/empty.txt \(empty\)"),
        (["nothing"], "nothing to upload in nothing"),
        (["c/z.txt", "novels"], "c/z.txt and novels/z.txt would both be z.txt"),
    ],
)
def test_what_cannot_be_uploaded_is_refused_by_name(paths: list[str], message: str) -> None:
    Path("nothing").mkdir()
    Path("c").mkdir()
    Path("c/z.txt").write_text("another text")
    with pytest.raises(UsageError, match=message) as refused:
        local_files.select([Path(path) for path in paths])
    assert refused.value.hint
