"""The document that an execution is started with: made of the command's words, and put into words again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from lexline.errors import UsageError
from lexline.run_ids import id_in

# ISO 8601's durations, down from days: months have no one length.
_DURATION = r"P(?=\d|T\d)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?"
_TEARDOWN = re.compile(rf"never|always|on_failure|(after|when_idle):{_DURATION}")
SECTIONS = ("hyperparameters", "training", "hosting")


def overrides(settings: Sequence[str], allowed: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """The execution input's part that `--set` words ask for.

    `epochs=3` is a hyperparameter; `training.instance_type=ml.c5.xlarge` and `hosting.instance_count=2`
    name their section, which has to be among the `allowed`. Whether the names and values exist is for the
    pipeline to say.
    """
    sections: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, field = name.rpartition(".")
        section = section if dot else "hyperparameters"
        if not equals or not field or section not in SECTIONS:
            raise UsageError(
                f"--set {setting} is not understood.",
                "Write --set epochs=3, --set training.instance_type=ml.c5.xlarge or --set "
                "hosting.instance_count=2.",
            )
        if section not in allowed:
            raise UsageError(
                f"--set {setting} is about training, and here nothing is trained.",
                "Write --set hosting.instance_count=2 or another of the hosting settings.",
            )
        sections.setdefault(section, {})[field.replace("-", "_")] = _value(text)
    return sections


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def teardown(word: str | None) -> str | None:
    """The execution input's `teardown`. Raises UsageError for a word that means none."""
    if word is not None and not _TEARDOWN.fullmatch(word):
        raise UsageError(
            f"--teardown {word} is not understood.",
            "Write never, always, on_failure, after:PT8H or when_idle:PT1H; P1DT12H is a day and a half.",
        )
    return word


def source(
    repo: str | None, branch: str | None, commit: str | None, secret: str | None
) -> dict[str, str] | None:
    """The execution input's `source`, the Git repository of the scripts; None for the stack's own scripts.

    Raises UsageError for an address that carries a credential: whoever may read the execution would see it.
    """
    given = {"repo": repo, "branch": branch, "commit": commit, "secret": secret}
    asked = {name: value for name, value in given.items() if value}
    if not asked:
        return None
    if not repo:
        raise UsageError(
            f"--source-{next(iter(asked))} is of a repository, and none is named.",
            "Give --source-repo URL with it.",
        )
    if "@" in urlsplit(repo).netloc:
        raise UsageError(
            "The address of --source-repo has a user name or a password in it.",
            "Keep them in a secret of Secrets Manager, name that with --source-secret, and leave them out.",
        )
    return asked


def work_of(request: Any) -> str:
    """What an execution's input asks for, in a word or two; "" for nothing known: anything may be an input.

    Training on a dataset is told by the dataset's name alone.
    """
    if not isinstance(request, dict):
        return ""
    if "dataset" in request:
        return str(request["dataset"])
    if "model" in request:
        model = str(request["model"])
        return "roll back" if model == "previous" else f"deploy {id_in(model)}"
    for task, words in (("take_down", "take down"), ("clean_up", "clean up after")):
        if isinstance(request.get(task), dict):
            return f"{words} {id_in(str(request[task].get('run', '')))}"
    key = str(upload_of(request).get("key", ""))
    parts = key.split("/")
    return parts[1] if len(parts) > 2 else ""


def upload_of(request: Any) -> dict[str, Any]:
    """The event in the input of an execution that an upload started, else nothing."""
    upload = request.get("upload") if isinstance(request, dict) else None
    return upload if isinstance(upload, dict) else {}
