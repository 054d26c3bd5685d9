"""Build parts of the request, the input of an execution, from command-line options."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from lexline.core.errors import UsageError

SECTIONS = ("hyperparameters", "training", "hosting")
"""The sections of the request whose fields --set can override."""
# An ISO 8601 duration of days, hours, minutes and seconds. Months are excluded: their length varies.
_DURATION = r"P(?=\d|T\d)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?"
_TEARDOWN = re.compile(rf"never|always|on_failure|(after|when_idle):{_DURATION}")


def overrides(assignments: Sequence[str], allowed: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """Return the sections of the request that --set options override.

    `epochs=3` sets a hyperparameter. `training.instance_type=ml.c5.xlarge` and `hosting.instance_count=2`
    name their section. The pipeline checks the names and values of the fields.

    Args:
        assignments: The options' values, each NAME=VALUE.
        allowed: The sections that the command accepts.

    Raises:
        UsageError: An assignment has another form, its section is not allowed, or a field is set twice.
    """
    sections: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        section, dot, field = name.rpartition(".")
        section = section if dot else "hyperparameters"
        if not equals or not field or section not in SECTIONS:
            raise UsageError(
                f"--set {assignment} is invalid.",
                "Give NAME=VALUE, for example --set epochs=3, --set training.instance_type=ml.c5.xlarge or "
                "--set hosting.instance_count=2.",
            )
        if section not in allowed:
            raise UsageError(
                f"--set {assignment} applies to training, but this command trains nothing.",
                "Only fields of hosting can be set here, for example --set hosting.instance_count=2.",
            )
        fields, field = sections.setdefault(section, {}), field.replace("-", "_")
        if field in fields:
            raise UsageError(
                f"--set {section}.{field} is given twice, as {json.dumps(fields[field])} and as {value}.",
                "Give it once.",
            )
        fields[field] = _parsed(value)
    return sections


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def teardown(policy: str | None) -> str | None:
    """Return the teardown policy of the request.

    Raises:
        UsageError: The policy does not exist.
    """
    if policy is not None and not _TEARDOWN.fullmatch(policy):
        raise UsageError(
            f"--teardown {policy} is invalid.",
            "Give never, always, on_failure, after:DURATION or when_idle:DURATION. For example, after:PT8H "
            "means 8 hours after the deployment, and when_idle:P1DT12H a day and a half without requests.",
        )
    return policy


def incomparable(decision: str | None) -> str | None:
    """Return what the request says about a model that cannot be compared.

    Raises:
        UsageError: It is neither reject nor accept.
    """
    if decision not in (None, "reject", "accept"):
        raise UsageError(f"--incomparable {decision} is invalid.", "Give reject or accept.")
    return decision


def source(
    repo: str | None, branch: str | None, commit: str | None, secret: str | None
) -> dict[str, str] | None:
    """Return the Git repository of the request, or None to use the stack's own scripts.

    Raises:
        UsageError: The address is missing, or it contains a password, which all readers of the execution
            would see.
    """
    options = {"repo": repo, "branch": branch, "commit": commit, "secret": secret}
    given = {name: value for name, value in options.items() if value}
    if not given:
        return None
    if not repo:
        raise UsageError(
            f"--source-{next(iter(given))} needs the address of a repository.", "Add --source-repo URL."
        )
    if "@" in urlsplit(repo).netloc:
        raise UsageError(
            "The address in --source-repo contains a user name or a password.",
            "Store them as a secret in Secrets Manager, give its name with --source-secret, and remove them "
            "from the address.",
        )
    return given


def without_defaults(**fields: Any) -> dict[str, Any]:
    """Return the fields of a request whose options were given."""
    return {name: value for name, value in fields.items() if value is not None and value is not False}
