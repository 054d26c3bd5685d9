"""`lexline run`: upload a corpus, or train again on a dataset, and follow the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from lexline.aws import client_errors, datasets, endpoint, lease, outlook, prices, quotas, runs, uploads
from lexline.aws import stack as stacks
from lexline.aws.datasets import StoredFile
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.aws.uploads import Uploaded
from lexline.commands import request
from lexline.commands.common import (
    DEFAULT_STACK,
    INTERRUPTED,
    Profile,
    Region,
    StackName,
    Yes,
    confirm,
    connect,
    follow,
)
from lexline.core import dataset_names, local_files
from lexline.core.errors import Stopped, UsageError, UserError
from lexline.core.local_files import LocalFile
from lexline.display import dry_run as display
from lexline.display import formatting, terminal

_NAMED = 5
"""How many files of several are named in a line."""
_MOST_SHOWN = 20
"""How many files to delete are shown."""


def _for_this_run(*names: str, help: str, metavar: str | None = None) -> Any:  # noqa: A002 (Typer's name)
    """Return an option that overrides the stack's parameters for one run."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel="Options for this run only")


def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Text files, archives, and folders with them. All are added to the dataset.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name of the dataset. Default: made from the name of the only file or folder."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="After the upload, delete all other files of the dataset.",
        ),
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, say what the run would do, how long it took last time and what it would "
            "cost; upload and start nothing.",
        ),
    ] = False,
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
    incomparable: Annotated[
        str | None,
        _for_this_run(
            metavar="reject|accept",
            help="Whether to accept a model that cannot be compared with the model that serves.",
        ),
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
    """Upload files to a dataset, which starts a run, and follow that run; or train again on a dataset.

    A dataset is every text that was uploaded to it, so one more file makes it grow. A run checks and prepares
    the texts, trains a model, and deploys it if it is good enough. Ctrl-C stops following; the run continues.

    Several uploads to a dataset within a short time start one run, with the parameters of the stack. With
    options for this run only, the command starts the run itself after the upload, and the run that the upload
    starts has nothing left to do. To change the parameters for all runs: `lexline up --parameter Epochs=3`.
    """
    fields = request.without_defaults(
        **request.overrides(overrides or []),
        force=force,
        tolerance=tolerance,
        max_perplexity=max_perplexity,
        incomparable=request.incomparable(incomparable),
        teardown=request.teardown(teardown),
        source=request.source(source_repo, source_branch, source_commit, source_secret),
    )
    console = terminal.stdout()
    if not files:
        if dataset is None:
            raise UsageError(
                "There is neither a file nor a dataset to run.",
                "Give a file, or --dataset with the name of a dataset that was uploaded before. `lexline "
                "datasets` lists them.",
            )
        if replace:
            raise UsageError("--replace needs the files that replace the others.", "Give at least one FILE.")
        name = dataset_names.given(dataset)
        connection = connect(profile, stack, region)
        if name.original is not None:
            _say_name(console, name)
            datasets.check_name(connection, name, datasets.files_of(connection, name.name))
        if dry_run:
            present = datasets.files_of(connection, name.name)
            _show_dry_run(console, _Upload(connection, name.name, "", [], present), fields, replace=False)
            return
        follow(console, connection, runs.start(connection, name.name, {"dataset": name.name, **fields}))
        return
    selection = local_files.select(files)
    name = dataset_names.of_paths(files) if dataset is None else dataset_names.given(dataset)
    connection = connect(profile, stack, region)
    _say_name(console, name)
    if selection.left_out:
        terminal.prose(console, f"Not uploaded: {_by_reason(selection.left_out)}.")
    present = datasets.files_of(connection, name.name)
    original = datasets.check_name(connection, name, present)
    ours = {file.name for file in selection.files}
    upload = _Upload(
        connection, name.name, original, selection.files, [file for file in present if file.name not in ours]
    )
    if dry_run:
        _show_dry_run(console, upload, fields, replace=replace)
        return
    follow(console, connection, _upload(console, upload, fields, replace=replace, yes=yes))


@dataclass(frozen=True)
class _Upload:
    """What is uploaded to where. `others` are the other files that the dataset has."""

    stack: Stack
    dataset: str
    original: str
    files: list[LocalFile]
    others: list[StoredFile]


def _show_dry_run(console: Console, upload: _Upload, fields: dict[str, Any], *, replace: bool) -> None:
    """Check the request, and print what its run would do. Nothing is uploaded or started.

    Raises:
        UsageError: The request is invalid, or the dataset has no files.
    """
    stack, request = upload.stack, {"dataset": upload.dataset, **fields}
    if not upload.files and not upload.others:
        raise UsageError(
            f"The dataset {upload.dataset} has no files.",
            "Upload some with `lexline run FILE`. `lexline datasets` lists the datasets.",
        )
    if upload.files and fields:
        _check_quiet_period(stack, request)
    plan, problem = runs.planned(stack, request)
    if problem:
        raise UsageError(f"The request is invalid. {problem}", "Correct the options.")
    kept = [] if replace else upload.others
    display.show(
        console,
        display.DryRun(
            dataset=upload.dataset,
            uploaded=[(file.name, file.size) for file in upload.files],
            deleted=len(upload.others) if replace else 0,
            files=len(upload.files) + len(kept),
            size=sum(file.size for file in upload.files) + sum(file.size for file in kept),
            plan=plan,
            endpoint=endpoint.read(stack),
            owner=lease.read(stack).owner,
            outlook=outlook.of(stack, plan),
            prices=prices.current(stack),
            warnings=list(quotas.warnings(stack.target, plan)),
        ),
        bucket=stack.bucket,
        local=stack.target.local,
    )


def _say_name(console: Console, name: dataset_names.DatasetName) -> None:
    if name.source:
        console.print(terminal.plain(f"Dataset {name.name}, from the name {name.source}"), markup=False)


def _upload(console: Console, upload: _Upload, fields: dict[str, Any], *, replace: bool, yes: bool) -> Run:
    """Upload the files, and return the run that trains on them.

    The upload starts an execution with the parameters of the stack. If the request has other fields, start a
    run with them at once. It reads the files while the upload's execution waits for the quiet period, and
    that one then ends as Skipped, because an earlier run has read the files. If files are deleted, start a
    run, too: it lists the files after the deletion.
    """
    stack, request = upload.stack, {"dataset": upload.dataset, **fields}
    if fields:
        _check(stack, request)
    replaced = upload.others if replace else []
    if replaced:
        _show_replaced(console, upload.dataset, replaced)
        confirm("Upload the new files, and then delete these?", yes=yes)
    uploaded = _send(console, upload, replaced)
    _say_uploaded(console, upload, replaced)
    if replaced:
        uploads.delete(stack, upload.dataset, [file.name for file in replaced])
        deleted = formatting.counted(len(replaced), "file")
        console.print(f"Deleted {deleted} that the dataset had before.", markup=False)
    if fields or replaced:
        return _start(stack, request)
    try:
        with terminal.working(console, "Waiting for the run to start"):
            return runs.started_by(stack, uploaded, patience=runs.upload_patience(stack))
    except KeyboardInterrupt:
        terminal.prose(
            console,
            "\nStopped waiting. The files are uploaded, and the run will start. See `lexline status`.",
        )
        raise typer.Exit(INTERRUPTED) from None


def _send(console: Console, upload: _Upload, replaced: list[StoredFile]) -> Uploaded:
    files = upload.files
    what = files[0].name if len(files) == 1 else f"{len(files):,} files"
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()]
    kept = " Nothing was deleted." if replaced else ""
    again = (
        "Files that were uploaded completely are in the dataset, and start a run. To upload the rest, run "
        "the same command again."
    )
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
            bar = bars.add_task(terminal.plain(f"Uploading {what}"), total=sum(file.size for file in files))

            def progress(count: int) -> None:
                bars.advance(bar, count)

            return uploads.upload(upload.stack, upload.dataset, upload.original, files, progress)
    except KeyboardInterrupt:
        raise Stopped(f"The upload did not complete.{kept}", again) from None
    except client_errors.ERRORS as error:
        message, hint = client_errors.explain(error, terminal.stack_options.get("--profile"))
        raise UserError(f"The upload did not complete.{kept} {message}", f"{hint} {again}") from error


def _say_uploaded(console: Console, upload: _Upload, replaced: list[StoredFile]) -> None:
    files = upload.files
    size = formatting.size(sum(file.size for file in files))
    what = files[0].name if len(files) == 1 else f"{len(files):,} files"
    folder = f"s3://{upload.stack.bucket}/{uploads.ROOT}{upload.dataset}/"
    names = f": {_some([file.name for file in files])}" if len(files) > 1 else ""
    console.print(terminal.plain(f"Uploaded {what} ({size}) to {folder}{names}"), markup=False)
    if upload.others and not replaced:
        more = formatting.counted(len(upload.others), "file")
        terminal.prose(
            console,
            f"The dataset {upload.dataset} has {more} more from before. The corpus is all of them: "
            f"`lexline datasets {upload.dataset}` lists them.",
        )


def _show_replaced(console: Console, dataset: str, replaced: list[StoredFile]) -> None:
    files = formatting.counted(len(replaced), "file")
    size = formatting.size(sum(file.size for file in replaced))
    terminal.prose(
        console,
        f"The dataset {dataset} has {files} ({size}) to delete. The bucket keeps deleted files for 30 days, "
        "as earlier versions.",
    )
    for file in replaced[:_MOST_SHOWN]:
        console.print(terminal.plain(f"  {file.name} ({formatting.size(file.size)})"), markup=False)
    if len(replaced) > _MOST_SHOWN:
        console.print(f"  and {len(replaced) - _MOST_SHOWN:,} more")


def _by_reason(left_out: list[tuple[str, str]]) -> str:
    """Return what is left out, by reason: "a and b (empty); c (hidden)"."""
    paths: dict[str, list[str]] = {}
    for path, reason in left_out:
        paths.setdefault(reason, []).append(path)
    return "; ".join(f"{_some(each)} ({reason})" for reason, each in paths.items())


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return formatting.listing([*names[:_NAMED], *([f"{more:,} more"] if more > 0 else [])])


def _check(stack: Stack, request: dict[str, Any]) -> None:
    """Check the request before the upload, whose own execution would train in place of an invalid one.

    Raises:
        UsageError: The request is invalid, or the upload's run would begin before this one.
    """
    _check_quiet_period(stack, request)
    if problem := runs.problem_with(stack, request):
        raise UsageError(
            f"The request is invalid, so nothing was uploaded. {problem}", "Correct the options."
        )


def _check_quiet_period(stack: Stack, request: dict[str, Any]) -> None:
    """Raise UsageError if the upload's run would begin before one with these options."""
    if stacks.quiet_seconds(stack) == 0:
        raise UsageError(
            "The stack's parameter QuietSeconds is 0, so an upload starts its run at once, with the "
            f"parameters of the stack. FILE cannot be combined with options for this run only "
            f"({', '.join(list(request)[1:])}).",
            "Upload the file without them, and then run the dataset with them: `lexline run --dataset "
            f"{request['dataset']}`. Or set QuietSeconds with `lexline up --parameter QuietSeconds=5`.",
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
