"""The `lexline` command: its subcommands in the order of the help, and the output of errors."""

from __future__ import annotations

import shutil
from typing import Any

import botocore.exceptions
import typer
from typer.core import TyperGroup

from lexline.aws import client_errors
from lexline.commands import (
    cost,
    deploy,
    down,
    env,
    generate,
    logs,
    models,
    report,
    rollback,
    run,
    status,
    up,
)
from lexline.core.errors import UserError
from lexline.display import terminal

_EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 the arguments are invalid."
_EXIT_CODES_OF_RUNS = (
    "Exit codes: 0 the run succeeded or had nothing to do, 1 the run failed or its model was rejected, "
    "2 the arguments are invalid, 130 stopped with Ctrl-C (the run continues)."
)


class _Commands(TyperGroup):
    """The subcommands. Errors that the user can resolve end with a message instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            terminal.print_error(error.message, error.hint)
            raise typer.Exit(error.exit_code) from error
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            terminal.print_error(*client_errors.explain(error))
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    help="Train a language model on a text corpus, and serve it over HTTP: on a local cloud on this machine, "
    "or on AWS with --profile.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # In a narrow terminal, Rich's tables would cut off the names of options.
    rich_markup_mode="markdown" if shutil.get_terminal_size().columns >= 80 else None,
)

for command in (
    up.up, run.run, generate.generate, status.status, logs.logs, models.models, deploy.deploy,
    rollback.rollback, report.report, cost.cost, env.env, down.down,
):  # fmt: skip
    follows_a_run = command in (run.run, deploy.deploy, rollback.rollback)
    app.command(epilog=_EXIT_CODES_OF_RUNS if follows_a_run else _EXIT_CODES)(command)

if __name__ == "__main__":
    app()
