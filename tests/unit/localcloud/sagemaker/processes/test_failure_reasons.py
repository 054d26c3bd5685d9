"""A FailureReason says what a user needs to know, within SageMaker's 1,024 characters."""

import pytest

from localcloud.sagemaker.processes.failure_reasons import LIMIT, algorithm_error, lost_peer

TOOLKIT = "2026-01-02 03:04:05,678 sagemaker-training-toolkit"
VERDICT = f"{TOOLKIT} ERROR    Reporting training FAILURE"


def script_error(message: str, code: int = 1) -> str:
    """The file output/failure as the toolkit writes it."""
    return f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{message}"\nCommand "python train.py"'


def test_the_reason_ends_with_the_scripts_own_sentence() -> None:
    reason = algorithm_error(script_error("ValueError: the corpus has 12 words; give at least 1,000"), 1, [])
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError: ExitCode 1")
    assert reason.endswith("ValueError: the corpus has 12 words; give at least 1,000")


def test_an_exceptions_class_and_message_become_one_line() -> None:
    reason = algorithm_error(script_error('raise ValueError("too small")\n \n ValueError\n too small'), 1, [])
    assert reason.endswith("ValueError: too small")


def test_a_long_traceback_loses_its_beginning_never_its_end() -> None:
    reason = algorithm_error(script_error("frame\n" * 500 + "ValueError: too small"), 1, [])
    assert len(reason) == LIMIT
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError: ExitCode 1")
    assert reason.endswith("ValueError: too small")


def test_a_script_that_only_prints_why_is_quoted() -> None:
    lines = [
        "epoch=1/6",
        "train.py: error: no train file in the channel",
        f"{TOOLKIT} INFO     Done waiting for a return code.",
        VERDICT,
        'Command "python train.py"',
    ]
    reason = algorithm_error(script_error("", code=2), 1, lines)
    assert "ExitCode 2" in reason
    assert reason.endswith("train.py: error: no train file in the channel")


def test_a_script_without_output_is_reported_as_silent() -> None:
    assert "ExitCode 3, and the script printed nothing" in algorithm_error(
        script_error("", code=3), 1, [VERDICT]
    )


def test_a_signal_is_named() -> None:
    assert "killed by signal 9 (SIGKILL)" in algorithm_error(script_error("", code=-9), 1, [])
    assert "toolkit was killed by signal 11 (SIGSEGV)" in algorithm_error(None, -11, [])


TORCHRUN = (
    "E1123 22:59:48.490000 6370 torch/distributed/elastic/multiprocessing/api.py:1002] failed "
    "(exitcode: {code}) local_rank: 0 (pid: 6372) of binary: /opt/python"
)
AFTER = [
    "Traceback (most recent call last):",
    "raise ChildFailedError(",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
    "Root Cause (first observed failure):",
]


def test_under_torchrun_the_reason_is_the_scripts() -> None:
    lines = [
        '[rank0]: raise ValueError("x")',
        " [rank0]: ValueError: too small",
        TORCHRUN.format(code=1),
        *AFTER,
    ]
    reason = algorithm_error(script_error("\n".join(lines)), 1, ["epoch=1/6", *lines])
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError: ExitCode 1\nErrorMessage: raise")
    assert reason.endswith("\nValueError: too small")


def test_a_signal_is_named_although_torchrun_exits_with_1() -> None:
    reason = algorithm_error(
        script_error("\n".join(AFTER)), 1, ["epoch=1/6", TORCHRUN.format(code=-9), *AFTER]
    )
    assert "killed by signal 9 (SIGKILL)" in reason


def test_a_script_that_only_prints_why_is_quoted_under_torchrun_too() -> None:
    lines = ["error: no train file in the channel", TORCHRUN.format(code=2), *AFTER]
    reason = algorithm_error(script_error("\n".join(AFTER)), 1, lines)
    assert "ExitCode 2" in reason
    assert reason.endswith("error: no train file in the channel")


@pytest.mark.parametrize(
    ("reason", "lost"),
    [
        ("RuntimeError: [gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:60410", True),
        ("The processes lost touch ([enforce fail at gloo/transport/tcp/pair.cc:456] timed out).", True),
        ("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251", True),
        ("torch.distributed.DistNetworkError: failed to recv, got 0 bytes", True),
        ("ValueError: the corpus has 12 words", False),
        ("AlgorithmError: the training script was killed by signal 9 (SIGKILL).", False),
    ],
)
def test_a_host_that_lost_another_is_recognized_by_its_reason(reason: str, lost: bool) -> None:
    assert lost_peer(reason) is lost


def test_the_toolkits_own_failure_keeps_its_last_line() -> None:
    framework = "Framework Error: \n" + "frame\n" * 500 + "ClientError: Not Found"
    reason = algorithm_error(framework, 1, [])
    assert len(reason) == LIMIT
    assert reason.startswith("AlgorithmError: ")
    assert reason.endswith("ClientError: Not Found")
