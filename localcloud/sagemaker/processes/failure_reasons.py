"""The FailureReason of a training job, as DescribeTrainingJob shows it."""

import re
import signal
from collections.abc import Sequence

LIMIT = 1024
"""Characters of a FailureReason (botocore's service model)."""

_SCRIPT_ERROR = re.compile(
    r'^(?P<kind>\w+):\nExitCode (?P<code>-?\d+)\nErrorMessage "(?P<message>.*?)"\n'
    r'(?:ExtraInfo "(?P<extra>.*?)"\n)?Command "(?P<command>.*)"$',
    re.DOTALL,
)
_LONE_CLASS = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception))\n+(?=\S)", re.MULTILINE)
"""An exception's class on a line of its own. Unbuffered Python writes class and message separately, and the
toolkit reads two lines."""

_TORCHRUN_VERDICT = re.compile(
    r"^.*torch/distributed/elastic/multiprocessing/api\.py:\d+\] failed \(exitcode: (?P<code>-?\d+)\)",
    re.MULTILINE,
)
"""torchrun's line about a failed script. A long report follows, and torchrun exits with 1."""

_RANK = re.compile(r"^ *\[rank\d+\]: ?", re.MULTILINE)
"""The prefix of traceback lines under torch.distributed."""

_LOST_PEER = re.compile(
    r"gloo/|nccl|TCPStore|DistNetworkError|DistStoreError|Connection (closed|reset) by peer", re.IGNORECASE
)
"""Parts of torch.distributed's messages about an unreachable process."""

_TOOLKIT_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \S+ +(DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


def describe_exit(code: int) -> str:
    """Return an exit code in words: "exit code 1" or "killed by signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"


def algorithm_error(report: str | None, code: int, last_lines: Sequence[str]) -> str:
    """Return the FailureReason of a training process that did not exit with 0.

    SageMaker cuts the reason after 1,024 characters and so loses the end of a traceback, which says what went
    wrong. This function cuts the middle: the reason ends with the script's last sentence.

    Args:
        report: The toolkit's file output/failure; None if it wrote none.
        code: The toolkit's exit code.
        last_lines: The end of the job's log. A script may explain its end there without an exception.
    """
    if report is None:
        return f"AlgorithmError: the training toolkit was {_ended(code)} before it could report a failure."
    match = _SCRIPT_ERROR.match(report.strip())
    if match is None:
        return shorten("AlgorithmError: ", report.strip())
    exit_code, text = int(match["code"]), match["message"]
    log = "\n".join(last_lines)
    if verdict := _TORCHRUN_VERDICT.search(log):
        exit_code = int(verdict["code"])
        log = log[: verdict.start()]
        # The toolkit's report begins at the first line with an exception, which may be torchrun's.
        reported = _TORCHRUN_VERDICT.search(text)
        text = text[: reported.start()] if reported else ""
    head = f"AlgorithmError: {match['kind']}: ExitCode {exit_code}"
    if exit_code < 0:
        return f"{head}: the training script was {_ended(exit_code)}."
    message = "\n".join(line.strip() for line in _RANK.sub("", text).splitlines() if line.strip())
    message = _LONE_CLASS.sub(r"\1: ", message) or _last_words(log.splitlines())
    if not message:
        return f"{head}, and the script printed nothing."
    return shorten(f"{head}\nErrorMessage: ", message)


def container_error(report: str | None, code: int, last_lines: Sequence[str]) -> str:
    """Return the FailureReason of a container whose own entry point did not exit with 0.

    As on SageMaker, it is the beginning of /opt/ml/output/failure, with the exit code. A container that wrote
    no such file is described by the end of its log.

    Args:
        report: The file output/failure; None if the container wrote none.
        code: The exit code.
        last_lines: The end of the job's log.
    """
    text = (report or "").strip()
    if not text:
        last = next((line.strip() for line in reversed(last_lines) if line.strip()), "it printed nothing")
        text = f"the container wrote no /opt/ml/output/failure. The end of its log: {last}"
    end = f", {describe_exit(code)}" if code < 0 else f", exit code: {code}"
    return f"AlgorithmError: {text}"[: LIMIT - len(end)] + end


def lost_peer(reason: str) -> bool:
    """Return whether a host failed only because it lost another host."""
    return bool(_LOST_PEER.search(reason))


def shorten(head: str, text: str) -> str:
    """Return head and text with at most LIMIT characters; cut the beginning of the text."""
    if len(head) + len(text) <= LIMIT:
        return head + text
    gap = "... "
    return head + gap + text[-(LIMIT - len(head) - len(gap)) :]


def _ended(code: int) -> str:
    return describe_exit(code) if code < 0 else f"ended with {describe_exit(code)}"


def _last_words(lines: Sequence[str]) -> str:
    """Return the script's last line. After its verdict, the toolkit repeats the script's output."""
    last = ""
    for line in lines:
        if not _TOOLKIT_LINE.match(line):
            last = line.strip() or last
        elif line.endswith("Reporting training FAILURE"):
            break
    return last
