"""Build and deploy template.yaml with the SAM CLI, to AWS and to the local cloud alike."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lexline.aws import parameters as stack_parameters
from lexline.aws.target import Target
from lexline.core.errors import Stopped, UserError

_LOG_LINES = 25
_NO_STATUS = re.compile(r"^[\s\-=+|*#]*$|^\[\*\]|^={3,}|^-{3,}|^Commands you can use")
"""Lines that only draw, and SAM's advice on SAM's own commands."""
# By default SAM looks every 5 seconds whether the change set is ready and the stack is deployed, because
# CloudFormation limits requests. The local cloud does not limit them, and deploys in a few seconds.
_LOCAL_POLL_SECONDS = "0.5"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def deploy(target: Target, project: Path, parameters: Mapping[str, str], show: Callable[[str], None]) -> None:
    """Run `sam build` and `sam deploy`, and write their output to sam.log in the target's work folder.

    Args:
        target: Where to deploy.
        project: The repository, with template.yaml and samconfig.toml.
        parameters: Stack parameters. They override those in samconfig.toml; all others keep their values.
        show: Called with each line of SAM's output.

    Raises:
        UserError: SAM failed; the message has the end of its output.
        Stopped: The user stopped the command. SAM has ended.
    """
    sam = Path(sys.executable).with_name("sam")
    if not sam.exists():
        raise UserError(f"The SAM CLI is missing at {sam}.", "Install it with `make env`.")
    target.work.mkdir(parents=True, exist_ok=True)
    build, log = target.work / "build", target.work / "sam.log"
    log.write_text("")
    section = "local" if target.local else "default"
    config = ["--config-file", str(project / "samconfig.toml"), "--config-env", section]
    overrides = ["--parameter-overrides", *_overrides(project, section, {**_logs_role(target), **parameters})]
    environment = {
        **target.environment,
        **_layer_targets(target),
        **({"SAM_CLI_POLL_DELAY": _LOCAL_POLL_SECONDS} if target.local else {}),
        # SAM builds with the Python that the functions will run on, found on PATH: this environment's.
        "PATH": f"{sam.parent}:{target.environment.get('PATH', '')}",
        "SAM_CLI_TELEMETRY": "0",
        "PYTHONUNBUFFERED": "1",
    }
    for command, arguments in {
        "build": ["--template-file", "template.yaml", "--build-dir", str(build),
                  "--cache-dir", str(target.work / "build-cache")],
        "deploy": ["--template-file", str(build / "template.yaml"), "--stack-name", target.stack_name,
                   "--no-confirm-changeset"],
    }.items():  # fmt: skip
        try:
            _run([str(sam), command, *config, *arguments, *overrides], project, environment, log, show)
        except KeyboardInterrupt as interrupt:
            raise _stopped(command, target) from interrupt


def _overrides(project: Path, section: str, parameters: Mapping[str, str]) -> list[str]:
    # --parameter-overrides replaces the list in samconfig.toml, so merge the two here.
    config = tomllib.loads((project / "samconfig.toml").read_text(encoding="utf-8"))
    configured = (
        config.get(section, {}).get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
    )
    own = stack_parameters.parse(configured, f"In samconfig.toml, parameter_overrides of [{section}]:")
    merged = {"PythonRuntime": f"python{_PYTHON}", **own, **parameters}
    return [f"{name}={value}" for name, value in merged.items()]


def _logs_role(target: Target) -> dict[str, str]:
    """Return the parameter that creates the account's role for API Gateway's logs, if there is none yet."""
    return {} if target.apigateway.get_account().get("cloudwatchRoleArn") else {"ApiLogsRole": "CREATE"}


def _layer_targets(target: Target) -> dict[str, str]:
    """Return the variables that tell functions/dependencies/Makefile which wheels to fetch, and from where.

    The local cloud runs the functions on this machine, so one set of wheels is enough: that which `make env`
    downloaded. On AWS the layer needs wheels for all runtimes and processors that the parameters allow.
    """
    if not target.local:
        return {}
    return {
        "LAYER_TARGETS": f"{_PYTHON}-{platform.machine().replace('arm64', 'aarch64')}",
        "WHEELS": str(Path(sys.prefix) / "wheels"),
    }


def _run(
    command: Sequence[str],
    project: Path,
    environment: Mapping[str, str],
    log: Path,
    show: Callable[[str], None],
) -> None:
    name = f"sam {command[1]}"
    with (
        log.open("a", encoding="utf-8") as file,
        # SAM creates a directory for each file that it uploads, and deletes only the file.
        tempfile.TemporaryDirectory(prefix="lexline-sam-") as temporary,
        subprocess.Popen(
            command,
            # Ctrl-C in the terminal reaches only this process, which then ends SAM and what SAM has started.
            process_group=0,
            cwd=project,
            env={**environment, "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                if not _NO_STATUS.match(line):
                    show(f"{name}: {line.strip()}")
        except BaseException:
            show(f"{name}: ending")
            _end(process)
            raise
    if process.returncode:
        last = log.read_text(encoding="utf-8").splitlines()[-_LOG_LINES:]
        raise UserError(
            f"{name} failed. Its last lines:\n\n" + "\n".join(f"  {line}" for line in last) + "\n",
            f"The whole output is in {log}.",
        )


def _end(process: subprocess.Popen[str]) -> None:
    """End SAM's process group. SAM first gets the signal of Ctrl-C, so that it can end properly."""
    # A second Ctrl-C would leave SAM behind.
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    for number, seconds in ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    # Processes that SAM has started may ignore the signal and outlive SAM.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for number, handler in former.items():
        signal.signal(number, handler)


def _stopped(command: str, target: Target) -> Stopped:
    name = target.stack_name
    cloud = " The local cloud runs on; `lexline down` ends it." if target.local else ""
    again = f"`lexline up` with the same parameters deploys the stack.{cloud}"
    if command == "build":
        return Stopped(f"SAM was building. The stack {name} was not changed.", again)
    return Stopped(
        f"SAM was deploying. CloudFormation completes the change of the stack {name} that it has begun. That "
        "may take some minutes.",
        f"`lexline status` shows when the stack is complete. After that, {again}",
    )
