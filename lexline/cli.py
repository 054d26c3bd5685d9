"""The `lexline` command: its subcommands in the order of the help, and what errors look like."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import typer
from typer.core import TyperGroup

from lexline import aws_trouble, terminal
from lexline.commands import deployment, outcomes, running, watching
from lexline.errors import UserError


class Friendly(TyperGroup):
    """Turns errors a user can act on into a sentence and a next step; any other is a bug and shows itself."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            terminal.complain(error.message, error.hint)
            raise typer.Exit(error.exit_code) from error
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            terminal.complain(*aws_trouble.explain(error))
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Friendly,
    help="From a text corpus to a served language model. Works on this machine, or on AWS with --profile.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

for command in (deployment.up, running.run, outcomes.generate, watching.status):
    app.command()(command)
app.command("logs")(watching.show_logs)
app.command("models")(outcomes.show_models)
app.command()(running.deploy)
app.command()(running.rollback)
app.command("report")(outcomes.show_report)
app.command()(outcomes.cost)
app.command()(deployment.down)
