"""Errors that are the user's to act on: a sentence, and what to do next. They never show a traceback."""


class UserError(Exception):
    """Something failed that the user can understand and act on. `hint` is the next step, if there is one."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(UserError):
    """The command cannot be carried out as it was asked for: a missing file, options that exclude each
    other.
    """

    exit_code = 2
