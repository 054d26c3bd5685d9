"""`lexline run`: upload a corpus, or train again on a dataset, and follow the run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from lexline.aws import client_errors, runs, uploads
from lexline.aws import stack as stacks
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.commands import request
from lexline.commands.common import (
    DEFAULT_STACK,
    INTERRUPTED,
    Profile,
    Region,
    StackName,
    connect,
    follow,
)
from lexline.core.errors import UsageError, UserError
from lexline.display import formatting, terminal


def _for_this_run(*names: str, help: str, metavar: str | None = None) -> Any:  # noqa: A002 (Typer's name)
    """Return an option that overrides the stack's parameters for one run."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel="Options for this run only")


def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="A text file or an archive; or the three files of a split corpus, or the folder with them.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the dataset. Default: made from the file name.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        _for_this_run(
            "--set",
            metavar="NAME=VALUE",
            help="Override a field of the request: epochs=3, training.instance_type=ml.c5.xlarge, "
            "hosting.endpoint_type=serverless. Repeat the option for several.",
        ),
    ] = None,
    force: Annotated[
        bool,
        _for_this_run("--force", help="Train even if the current model was trained on the same data."),
    ] = False,
    tolerance: Annotated[
        float | None,
        _for_this_run(
            help="How much higher the new model's perplexity may be than the current model's: 0.02 for 2%."
        ),
    ] = None,
    max_perplexity: Annotated[
        float | None, _for_this_run(help="Reject a model with a higher test perplexity.")
    ] = None,
    teardown: Annotated[
        str | None,
        _for_this_run(
            metavar="POLICY",
            help="When to tear down the endpoint: never, always or on_failure (at the end of the run), "
            "after:PT8H (8 hours after the deployment), when_idle:PT1H (after 1 hour without requests).",
        ),
    ] = None,
    source_repo: Annotated[
        str | None,
        _for_this_run(
            metavar="URL", help="Git repository with the scripts to use instead of the stack's own."
        ),
    ] = None,
    source_branch: Annotated[
        str | None, _for_this_run(metavar="NAME", help="Branch or tag. Default: the default branch.")
    ] = None,
    source_commit: Annotated[
        str | None, _for_this_run(metavar="HEX", help="Commit. Default: the newest of the branch.")
    ] = None,
    source_secret: Annotated[
        str | None,
        _for_this_run(
            metavar="STACK/NAME", help="Secret in Secrets Manager with the token for a private repository."
        ),
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Upload a corpus, which starts a run, and follow that run; or train again on an uploaded dataset.

    A run checks and prepares the text, trains a model, and deploys it if it is good enough. Ctrl-C stops
    following; the run continues.

    Several uploads of a dataset within a short time start one run. It trains on the newest file, or on the
    newest three files of a split corpus, with the parameters of the stack. With options for this run only,
    the command starts the run itself after the upload, and the run that the upload starts has nothing left to
    do. To change the parameters for all runs: `lexline up --parameter Epochs=3`.
    """
    fields = request.without_defaults(
        **request.overrides(overrides or []),
        force=force,
        tolerance=tolerance,
        max_perplexity=max_perplexity,
        teardown=request.teardown(teardown),
        source=request.source(source_repo, source_branch, source_commit, source_secret),
    )
    if not files and dataset is None:
        raise UsageError(
            "There is neither a file nor a dataset to run.",
            "Give a file, or --dataset with the name of a dataset that was uploaded before.",
        )
    to_upload = uploads.check_files(files) if files else []
    name = uploads.dataset_name(dataset, files or [])
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    follow(
        console,
        connection,
        _upload(console, connection, name, to_upload, fields)
        if to_upload
        else runs.start(connection, name, {"dataset": name, **fields}),
    )


def _upload(console: Console, stack: Stack, dataset: str, files: list[Path], fields: dict[str, Any]) -> Run:
    """Upload the files, and return the run that trains on them.

    The upload starts an execution with the parameters of the stack. If the request has other fields, start a
    run with them at once. It reads the files while the upload's execution waits for the quiet period, and
    that one then ends as Skipped, because an earlier run has read the files.
    """
    request = {"dataset": dataset, **fields}
    if fields:
        _check(stack, request)
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        for file in files:
            bar = bars.add_task(f"Uploading {file.name}", total=file.stat().st_size)
            uploaded = uploads.upload(stack, dataset, file, partial(bars.advance, bar))
    for file in files:
        size = formatting.size(file.stat().st_size)
        folder = f"s3://{stack.bucket}/uploads/{dataset}/"
        console.print(f"Uploaded {file.name} ({size}) to {folder}", markup=False)
    if fields:
        return _start(stack, request)
    try:
        with terminal.working(console, "Waiting for the run to start"):
            # The run of the last file finds all files in the bucket.
            return runs.started_by(stack, uploaded, patience=30 if stack.target.local else 180)
    except KeyboardInterrupt:
        terminal.prose(
            console,
            "\nStopped waiting. The files are uploaded, and the run will start. See `lexline status`.",
        )
        raise typer.Exit(INTERRUPTED) from None


def _check(stack: Stack, request: dict[str, Any]) -> None:
    """Check the request before the upload, whose own execution would train in place of an invalid one.

    Raises:
        UsageError: The request is invalid, or the upload's run would begin before this one.
    """
    if stacks.quiet_seconds(stack) == 0:
        raise UsageError(
            "The stack's parameter QuietSeconds is 0, so an upload starts its run at once, with the "
            f"parameters of the stack. FILE cannot be combined with options for this run only "
            f"({', '.join(list(request)[1:])}).",
            "Upload the file without them, and then run the dataset with them: `lexline run --dataset "
            f"{request['dataset']}`. Or set QuietSeconds with `lexline up --parameter QuietSeconds=5`.",
        )
    if problem := runs.problem_with(stack, request):
        raise UsageError(
            f"The request is invalid, so nothing was uploaded. {problem}", "Correct the options."
        )


def _start(stack: Stack, request: dict[str, Any]) -> Run:
    try:
        return runs.start(stack, request["dataset"], request)
    except client_errors.ERRORS as error:
        message, hint = client_errors.explain(error)
        raise UserError(
            f"The files are uploaded, but no run could be started with these options. {message}",
            f"{hint} The upload starts a run with the parameters of the stack. To run again with these "
            "options, give them with --dataset and without FILE.",
        ) from error
