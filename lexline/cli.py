"""The `lexline` command. Each function reads its options, calls the modules that do the work, and prints."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import botocore.exceptions
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from typer.core import TyperGroup

from lexline import (
    aws_trouble,
    deploy,
    logs,
    overview,
    project,
    removal,
    report,
    runs,
    target,
    terminal,
    wording,
)
from lexline.errors import UsageError, UserError
from lexline.follow import Snapshot, Watcher, follow
from lexline.http_api import HttpApi
from lexline.target import Stack, Target
from lexline.view import view_for

DEFAULT_STACK = "lexline"
INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""


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

Profile = Annotated[
    str | None,
    typer.Option("--profile", envvar="LEXLINE_PROFILE", help="AWS profile. Without one: the local cloud."),
]
StackName = Annotated[str, typer.Option("--stack", envvar="LEXLINE_STACK", help="Name of the stack.")]
Region = Annotated[
    str | None,
    typer.Option("--region", envvar="LEXLINE_REGION", help="AWS region, if not the profile's own."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _target(profile: str | None, stack: str, region: str | None) -> Target:
    if profile:
        return target.aws(profile, stack, region, project.home())
    return target.running_local(project.home(), stack)


@app.command()
def up(
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="A template parameter, such as Epochs=6.",
        ),
    ] = None,
) -> None:
    """Start the local cloud if needed, then build and deploy everything.

    Parameters that are not given keep the values they have on the stack; samconfig.toml sets some.
    """
    console = terminal.stdout()
    parameters = deploy.parameters_from(parameter or [])
    root = project.root()
    if profile:
        where = target.aws(profile, stack, region, project.home())
    else:
        with terminal.working(console, "Starting the local cloud"):
            where = target.start_local(project.home(), stack)
    with terminal.working(console, f"Building and deploying the stack {stack} to {where.place}") as say:
        deploy.deploy(where, root, parameters, say)
    deployed = target.deployed(where)
    console.print(f"\nThe API is at {deployed.api_url}")
    given = {"--profile": profile, "--region": region, "--stack": stack if stack != DEFAULT_STACK else None}
    options = "".join(f" {option} {value}" for option, value in given.items() if value)
    console.print(
        "Next:\n"
        f"  lexline run FILE{options}    upload a text and watch its run\n"
        f"  lexline generate{options}    text from the model that serves\n"
        f"  lexline status{options}      what runs and what is served",
        markup=False,
    )


@app.command()
def run(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="A text file or archive; or the three files of a corpus that is split, or their folder.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the dataset. Default: made from the file's name.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of this run: epochs=3, training.instance_type=ml.c5.xlarge (no DATA then).",
        ),
    ] = None,
    teardown: Annotated[
        str | None,
        typer.Option(help="never, always or on_failure: delete the endpoint at the end (no DATA then)."),
    ] = None,
    max_perplexity: Annotated[
        float | None, typer.Option(help="Put no model into service that is worse than this (no DATA then).")
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Upload a corpus and follow the run that the upload starts; or run a dataset again with other settings.

    Ends with 0 when the model serves or there was nothing to do, 1 when the run failed or its model was
    refused, 2 when it was not asked for rightly. Ctrl-C ends the watching, not the run.

    An upload always runs with the stack's own settings. To choose others for one run, name a dataset that is
    uploaded already: `lexline run --dataset sotu --set epochs=3`. To choose them for all runs:
    `lexline up --parameter Epochs=3`.
    """
    request = runs.overrides(settings or [])
    if teardown is not None:
        request["teardown"] = teardown
    if max_perplexity is not None:
        request["max_perplexity"] = max_perplexity
    if data and request:
        raise UsageError(
            "An upload starts its run at once, with the stack's settings, so DATA does not go with "
            "--set, --teardown or --max-perplexity.",
            "Upload first and then run the dataset by name with the settings, or change the stack's with "
            "`lexline up --parameter NAME=VALUE`.",
        )
    if not data and dataset is None:
        raise UsageError("There is nothing to run.", "Give a file, or --dataset and a name that is uploaded.")
    files = runs.files_of(data) if data else []
    name = runs.dataset_name(dataset, data or [])
    console = terminal.stdout()
    where = _target(profile, stack, region)
    deployed = target.deployed(where)
    if files:
        uploaded = _upload(console, where, deployed, name, files)
        try:
            with terminal.working(console, "Waiting for the run that the upload starts"):
                started = runs.started_by(where, deployed, uploaded, patience=30 if where.local else 180)
        except KeyboardInterrupt:
            console.print("\nStopped waiting. The upload is there, and its run will come: `lexline status`.")
            raise typer.Exit(INTERRUPTED) from None
    else:
        started = runs.start(where, deployed, name, request)
    _watch(console, where, started)


def _upload(
    console: Console, where: Target, deployed: Stack, dataset: str, files: list[Path]
) -> runs.Uploaded:
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        for file in files:
            bar = bars.add_task(f"Uploading {file.name}", total=file.stat().st_size)
            uploaded = runs.upload(where, deployed, dataset, file, partial(bars.advance, bar))
    for file in files:
        size = wording.size(file.stat().st_size)
        into = f"s3://{deployed.bucket}/uploads/{dataset}/"
        console.print(f"Uploaded {file.name} ({size}) to {into}", markup=False)
    # The run of the file that came last finds all of them there.
    return uploaded


def _watch(console: Console, where: Target, started: runs.Run) -> None:
    console.print(f"Run {started.id} ({started.name})")
    try:
        with view_for(console) as view:
            last = follow(where, started, view)
    except KeyboardInterrupt:
        console.print(
            f"\nStopped watching. The run goes on without you.\n"
            f"  lexline status --follow {started.id}    watch it again\n"
            f"  lexline logs {started.id} --follow      the training job's output",
            markup=False,
        )
        raise typer.Exit(INTERRUPTED) from None
    _print_result(console, last)
    if not last.succeeded:
        raise typer.Exit(1)


def _print_result(console: Console, snapshot: Snapshot) -> None:
    if snapshot.report is None:
        lines = [f"The run ended as {snapshot.status}. {snapshot.error}".rstrip()]
    else:
        lines = report.lines_of(snapshot.report, snapshot.run.id)
    console.print()
    for line in lines:
        # Prose wraps between words on a terminal; a file gets one line per sentence.
        console.print(terminal.plain(line), markup=False, soft_wrap=not console.is_terminal)


@app.command()
def generate(
    words: Annotated[int | None, typer.Option(help="How many words, 1 to 1,000.  [default: 100]")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text. Default: drawn.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1 safer, above 1 wilder; 0.001 to 100.  [default: 1]")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to go on from.")] = None,
    curl: Annotated[
        bool, typer.Option("--curl", help="Also print the curl command line, API key included.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's whole answer.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print text from the model that serves, over the HTTP API."""
    asked = {"words": words, "seed": seed, "temperature": temperature, "prompt": prompt}
    body = {name: value for name, value in asked.items() if value is not None}
    where = _target(profile, stack, region)
    api = HttpApi(where, target.deployed(where))
    if curl:
        typer.echo(f"$ {api.curl('/generate', body)}\n")
    answer = api.post("/generate", body)
    text = json.dumps(answer, ensure_ascii=False, indent=2) if as_json else answer["text"]
    typer.echo(terminal.plain(text))


@app.command()
def status(
    watched: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Show this run. Default with --follow: the newest.")
    ] = None,
    follow_run: Annotated[bool, typer.Option("--follow", "-f", help="Watch a run until it ends.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Say what is deployed, what ran, and what is served."""
    console = terminal.stdout()
    where = _target(profile, stack, region)
    deployed = target.deployed(where)
    if follow_run:
        _watch(console, where, runs.find(where, deployed, watched))
        return
    if watched:
        _print_result_or_progress(console, where, runs.find(where, deployed, watched))
        return
    overview.show(console, where, deployed)


def _print_result_or_progress(console: Console, where: Target, wanted: runs.Run) -> None:
    snapshot = Watcher(where, wanted).look()
    with view_for(console) as view:
        view.show(snapshot)
    if snapshot.ended:
        _print_result(console, snapshot)


class Source(StrEnum):
    """What `lexline logs` can show."""

    training = "training"
    endpoint = "endpoint"
    functions = "functions"


@app.command("logs")
def show_logs(
    wanted: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Default: the newest run.")] = None,
    source: Annotated[Source, typer.Option(help="Whose log.")] = Source.training,
    follow_log: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print the log of a run's training job, of the endpoint, or of the stack's functions."""
    where = _target(profile, stack, region)
    deployed = target.deployed(where)
    try:
        if source is Source.training:
            found = runs.find(where, deployed, wanted)
            readers = logs.of_training(where, found, wait=follow_log)
        elif source is Source.endpoint:
            readers = logs.of_endpoint(where, deployed)
        else:
            readers = logs.of_functions(where)
        _print_logs(readers, follow_log)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _print_logs(readers: list[logs.Labelled], go_on: bool) -> None:
    printed = 0
    while True:
        for label, line in logs.merged(readers):
            prefix = f"{label}  " if label else ""
            typer.echo(f"{line.when.astimezone():%H:%M:%S}  {prefix}{line.text}")
            printed += 1
        if not go_on:
            break
        time.sleep(1)
    if not printed:
        typer.echo("There is nothing in the log yet.", err=True)


@app.command()
def down(
    yes: Yes = False, profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None
) -> None:
    """Take everything away: endpoint, models, data, stack; on this machine the local cloud itself."""
    console = terminal.stdout()
    home = project.home()
    if not profile:
        # Imported here: a deployment to AWS needs nothing of the local cloud.
        from localcloud import control

        if not home.exists():
            console.print("There is no local cloud to take down.")
            return
        if not yes:
            typer.confirm(f"Stop the local cloud and delete all it holds in {home}?", abort=True)
        control.stop(home)
        console.print(
            f"No local cloud has used {home}, so it was left alone."
            if home.exists()
            else "The local cloud is stopped and its files are deleted."
        )
        return
    where = target.aws(profile, stack, region, home)
    say = partial(console.print, markup=False)
    try:
        deployed = target.deployed(where)
    except target.NotDeployed as error:
        console.print(error.message)
        return
    except target.NotUsable as error:
        console.print(error.message)
        if not yes:
            typer.confirm(f"Delete the stack {stack}?", abort=True)
        removal.delete_stack(where, say)
        return
    if not yes:
        typer.confirm(
            f"Delete the stack {stack} in {where.session.region_name}, its endpoint and models, and "
            f"everything in the bucket {deployed.bucket}?",
            abort=True,
        )
    removal.remove(where, deployed, say)
    console.print(
        f"The stack {stack} is gone, with its data and models. The account keeps the jobs' history, the logs "
        "under /aws/sagemaker and the role that API Gateway logs with; they cost next to nothing."
    )
