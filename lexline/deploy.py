"""Builds and deploys template.yaml with this environment's SAM CLI, to AWS and to the local cloud alike."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lexline.errors import UsageError, UserError
from lexline.target import Target

_TAIL_LINES = 25
_NOT_STATUS = re.compile(r"^[\s\-=+|*#]*$|^\[\*\]|^={3,}|^-{3,}|^Commands you can use")
"""Lines that only draw, and SAM's advice on what to type next, which is not for users of this command."""


def parameters_from(words: Sequence[str]) -> dict[str, str]:
    """The `Name=value` words of --parameter. Raises UsageError for any other form."""
    parameters = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isalnum():
            raise UsageError(f"--parameter {word} is not understood.", "Write it like --parameter Epochs=6.")
        parameters[name] = value
    return parameters


def deploy(target: Target, project: Path, parameters: Mapping[str, str], say: Callable[[str], None]) -> None:
    """`sam build` and `sam deploy`, with samconfig.toml's settings for the target.

    Parameters given here win over samconfig.toml's; all others keep the value they have on the stack. `say`
    is called with lines of SAM's output as they come; everything goes to sam.log in the target's work
    folder. Raises UserError, with the end of that log, when SAM fails.
    """
    sam = Path(sys.executable).with_name("sam")
    if not sam.exists():
        raise UserError(f"The SAM CLI is not at {sam}.", "Make the environment again: `make env`.")
    target.work.mkdir(parents=True, exist_ok=True)
    build = target.work / "build"
    log = target.work / "sam.log"
    log.write_text("")
    environment = "local" if target.local else "default"
    config = ["--config-file", str(project / "samconfig.toml"), "--config-env", environment]
    overrides = ["--parameter-overrides", *_overrides(project, environment, parameters)]
    sam_cli = _Sam(sam, project, {**target.environment, **_layer_targets(target)}, log, say)
    sam_cli("build", *config, "--template-file", "template.yaml", "--build-dir", str(build),
            "--cache-dir", str(target.work / "build-cache"), *overrides)  # fmt: skip
    sam_cli("deploy", *config, "--template-file", str(build / "template.yaml"),
            "--stack-name", target.stack, "--no-confirm-changeset", *overrides)  # fmt: skip


def _overrides(project: Path, environment: str, parameters: Mapping[str, str]) -> list[str]:
    """`Name=value` words.

    On the command line they replace samconfig.toml's list, so that one is read here too.
    """
    settings = tomllib.loads((project / "samconfig.toml").read_text(encoding="utf-8"))
    configured = (
        settings.get(environment, {}).get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
    )
    # SAM builds with the Python that the functions will run on, looked up on PATH: this environment's is
    # there.
    own = {"PythonRuntime": f"python{sys.version_info.major}.{sys.version_info.minor}"}
    merged = {**own, **parameters_from(configured), **parameters}
    return [f"{name}={value}" for name, value in merged.items()]


def _layer_targets(target: Target) -> dict[str, str]:
    """What functions/dependencies/Makefile is to fetch wheels for.

    On AWS whatever the stack's parameters may say. The local cloud runs the functions on this very machine,
    and one set of wheels is fetched in a fraction of the time.
    """
    if not target.local:
        return {}
    processor = platform.machine().replace("arm64", "aarch64")
    return {"LAYER_TARGETS": f"{sys.version_info.major}.{sys.version_info.minor}-{processor}"}


class _Sam:
    """Runs the SAM CLI in the project, with a target's environment."""

    def __init__(
        self, sam: Path, project: Path, environment: Mapping[str, str], log: Path, say: Callable[[str], None]
    ) -> None:
        self._sam = sam
        self._project = project
        self._log = log
        self._say = say
        path = f"{sam.parent}:{environment.get('PATH', '')}"
        self._environment = {**environment, "PATH": path, "SAM_CLI_TELEMETRY": "0", "PYTHONUNBUFFERED": "1"}

    def __call__(self, command: str, *arguments: str) -> None:
        with (
            self._log.open("a", encoding="utf-8") as log,
            # SAM makes a directory for each file it uploads, and removes the file only.
            tempfile.TemporaryDirectory(prefix="lexline-sam-") as temporary,
            subprocess.Popen(
                [str(self._sam), command, *arguments],
                cwd=self._project,
                env={**self._environment, "TMPDIR": temporary},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                if not _NOT_STATUS.match(line):
                    self._say(f"sam {command}: {line.strip()}")
        if process.returncode:
            tail = self._log.read_text(encoding="utf-8").splitlines()[-_TAIL_LINES:]
            raise UserError(
                f"sam {command} failed. It said:\n\n" + "\n".join(f"  {line}" for line in tail) + "\n",
                f"All it said is in {self._log}.",
            )
