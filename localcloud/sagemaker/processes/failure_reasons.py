"""Why a training job failed, in the words DescribeTrainingJob shows."""

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
"""A class without its sentence: Python, unbuffered, writes the two apart, and the toolkit reads them so."""

_TORCHRUN_VERDICT = re.compile(
    r"^.*torch/distributed/elastic/multiprocessing/api\.py:\d+\] failed \(exitcode: (?P<code>-?\d+)\)",
    re.MULTILINE,
)
"""What torchrun says of a script that failed, before it repeats itself at length and exits with 1."""

_RANK = re.compile(r"^ *\[rank\d+\]: ?", re.MULTILINE)
"""Where torch.distributed runs, it begins the lines of a traceback so."""

_LOST_PEER = re.compile(
    r"gloo/|nccl|TCPStore|DistNetworkError|DistStoreError|Connection (closed|reset) by peer", re.IGNORECASE
)
"""What torch.distributed says where it could not reach another process."""

_TOOLKIT_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \S+ +(DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


def describe_exit(code: int) -> str:
    """An exit code as a clause: "exit code 1" or "killed by signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"


def algorithm_error(report: str | None, code: int, last_lines: Sequence[str]) -> str:
    """The FailureReason of a training process that ended with a code other than 0.

    report: what the toolkit wrote to output/failure; None when it had no time to.
    last_lines: the end of the job's log, for a script that says why on its last line and raises nothing the
        toolkit recognises.

    SageMaker cuts the reason at 1,024 characters and so loses the one line of a traceback that says what to
    do; here the middle is what goes, and the reason ends with the script's last sentence.
    """
    if report is None:
        return f"AlgorithmError: the training toolkit was {_ended(code)} before it could report a failure."
    match = _SCRIPT_ERROR.match(report.strip())
    if match is None:
        return shorten("AlgorithmError: ", report.strip())
    exit_code, said = int(match["code"]), match["message"]
    log = "\n".join(last_lines)
    if verdict := _TORCHRUN_VERDICT.search(log):
        exit_code = int(verdict["code"])
        log = log[: verdict.start()]
        # The toolkit reports from the first line that names an exception; that may be torchrun's own.
        reported = _TORCHRUN_VERDICT.search(said)
        said = said[: reported.start()] if reported else ""
    head = f"AlgorithmError: {match['kind']}: ExitCode {exit_code}"
    if exit_code < 0:
        return f"{head}: the training script was {_ended(exit_code)}."
    message = "\n".join(line.strip() for line in _RANK.sub("", said).splitlines() if line.strip())
    message = _LONE_CLASS.sub(r"\1: ", message) or _last_words(log.splitlines())
    return shorten(f"{head}\nErrorMessage: ", message) if message else f"{head}, and the script said nothing."


def lost_peer(reason: str) -> bool:
    """Whether a host failed only because another had: a reason that is none for the job."""
    return bool(_LOST_PEER.search(reason))


def shorten(head: str, text: str) -> str:
    """Both together in at most LIMIT characters, the loss taken from the beginning of the text."""
    if len(head) + len(text) <= LIMIT:
        return head + text
    gap = "... "
    return head + gap + text[-(LIMIT - len(head) - len(gap)) :]


def _ended(code: int) -> str:
    return describe_exit(code) if code < 0 else f"ended with {describe_exit(code)}"


def _last_words(lines: Sequence[str]) -> str:
    """The last line that is the script's own; from its verdict on, the toolkit repeats itself at length."""
    said = ""
    for line in lines:
        if not _TOOLKIT_LINE.match(line):
            said = line.strip() or said
        elif line.endswith("Reporting training FAILURE"):
            break
    return said
