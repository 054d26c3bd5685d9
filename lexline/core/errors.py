"""Errors that the user can resolve. The command prints them without a traceback."""


class UserError(Exception):
    """A failure that the user can understand and act on.

    Attributes:
        message: One sentence or more that say what happened.
        hint: The next step.
    """

    label = "Error:"
    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(UserError):
    """The arguments are invalid, for example a file that does not exist."""

    exit_code = 2


class Stopped(UserError):
    """A person or a signal stopped the command. The message says what continues without it."""

    label = "Stopped:"
    # The exit code that shells expect after Ctrl-C.
    exit_code = 130
