"""The `lexline` command: its subcommands in the order of the help, and the output of errors."""

from __future__ import annotations

import errno
import io
import shutil
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lexline.aws import client_errors
from lexline.commands import (
    cost,
    datasets,
    deploy,
    down,
    env,
    generate,
    logs,
    models,
    openapi,
    playground,
    report,
    rollback,
    run,
    score,
    status,
    up,
)
from lexline.core.errors import Stopped, UserError
from lexline.display import terminal

_EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 the arguments are invalid, 130 stopped with Ctrl-C."
_EXIT_CODES_OF_RUNS = (
    "Exit codes: 0 the run succeeded or had nothing to do, 1 the run failed or its model was rejected, "
    "2 the arguments are invalid, 130 stopped with Ctrl-C (the run continues)."
)


class _Commands(TyperGroup):
    """The subcommands. Errors that the user can resolve end with a message instead of a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # The terminal's encoding may lack a character of a text, a help text or a file name.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        terminal.stack_options.clear()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            problem: UserError = Stopped("The command did not complete.", "Run it again.")
        except UserError as error:
            problem = error
        except client_errors.ERRORS as error:
            problem = UserError(*client_errors.explain(error, terminal.stack_options.get("--profile")))
        except OSError as error:
            # Nobody reads the output any more, for example after `lexline logs | head`. Typer ends quietly.
            if error.errno == errno.EPIPE:
                raise
            subject = f"{error.filename} cannot be used" if error.filename else "The system refused a request"
            problem = UserError(
                f"{subject}: {error.strerror or error}.",
                "Check that it exists, that this user may read and write it, and that the disk is not full.",
            )
        terminal.print_error(problem)
        raise typer.Exit(problem.exit_code)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"lexline {metadata.version('lexline')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # In a narrow terminal, Rich's tables would cut off the names of options.
    rich_markup_mode="markdown" if shutil.get_terminal_size().columns >= 80 else None,
)


@app.callback()
def _lexline(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train a language model on a text corpus, and serve it over HTTP.

    Commands work on a local cloud on this machine, or on AWS with --profile.
    """


for command in (
    up.up, run.run, generate.generate, score.score, playground.playground, status.status,
    datasets.datasets, logs.logs, models.models, deploy.deploy, rollback.rollback, report.report, cost.cost,
    env.env, openapi.openapi, down.down,
):  # fmt: skip
    follows_a_run = command in (run.run, deploy.deploy, rollback.rollback)
    app.command(epilog=_EXIT_CODES_OF_RUNS if follows_a_run else _EXIT_CODES)(command)

if __name__ == "__main__":
    app()
