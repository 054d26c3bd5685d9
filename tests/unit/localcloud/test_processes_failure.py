"""A FailureReason says what a user needs to know, within SageMaker's 1,024 characters."""

from localcloud.sagemaker.failure import LIMIT, algorithm_error

TOOLKIT = "2026-01-02 03:04:05,678 sagemaker-training-toolkit"
VERDICT = f"{TOOLKIT} ERROR    Reporting training FAILURE"


def script_error(message: str, code: int = 1) -> str:
    """What the toolkit writes to output/failure."""
    return f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{message}"\nCommand "python train.py"'


def test_the_reason_ends_with_the_scripts_own_sentence() -> None:
    reason = algorithm_error(script_error("ValueError: the corpus has 12 words; give at least 1,000"), 1, [])
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError: ExitCode 1")
    assert reason.endswith("ValueError: the corpus has 12 words; give at least 1,000")


def test_a_class_and_its_sentence_read_as_one_line_though_the_toolkit_saw_them_apart() -> None:
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


def test_a_silent_script_is_said_to_be_silent() -> None:
    assert "ExitCode 3, and the script said nothing" in algorithm_error(
        script_error("", code=3), 1, [VERDICT]
    )


def test_a_signal_is_named() -> None:
    assert "killed by signal 9 (SIGKILL)" in algorithm_error(script_error("", code=-9), 1, [])
    assert "toolkit was killed by signal 11 (SIGSEGV)" in algorithm_error(None, -11, [])


def test_the_toolkits_own_failure_keeps_its_last_line() -> None:
    framework = "Framework Error: \n" + "frame\n" * 500 + "ClientError: Not Found"
    reason = algorithm_error(framework, 1, [])
    assert len(reason) == LIMIT
    assert reason.startswith("AlgorithmError: ")
    assert reason.endswith("ClientError: Not Found")
