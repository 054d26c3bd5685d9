"""`lexline run`, `deploy` and `rollback`: the commands that start a run and watch it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from lexline import execution_input, registry, runs, serving, target, terminal, wording
from lexline.commands.options import DEFAULT_STACK, INTERRUPTED, Profile, Region, StackName, located
from lexline.commands.watching import watch
from lexline.errors import UsageError, UserError
from lexline.registry import Model
from lexline.run_ids import id_in
from lexline.target import Stack, Target

_OF_ONE_RUN = "Settings of this run alone (with --dataset, without DATA)"
_HOSTING = ("hosting",)

Teardown = Annotated[
    str | None,
    typer.Option(
        help="When the endpoint goes: never, always or on_failure (when the run ends), after:PT8H (so long "
        "after it was deployed), when_idle:PT1H (once unused for so long).",
        rich_help_panel=_OF_ONE_RUN,
    ),
]


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
            help="epochs=3, training.instance_type=ml.c5.xlarge, hosting.endpoint_type=serverless, ...",
            rich_help_panel=_OF_ONE_RUN,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Train even on the very data of what serves now.", rich_help_panel=_OF_ONE_RUN
        ),
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="By how much the new model's perplexity may be above that of what serves: 0.02 for 2%.",
            rich_help_panel=_OF_ONE_RUN,
        ),
    ] = None,
    max_perplexity: Annotated[
        float | None,
        typer.Option(help="Put no model into service that is worse than this.", rich_help_panel=_OF_ONE_RUN),
    ] = None,
    teardown: Teardown = None,
    source_repo: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Take the scripts from this Git repository instead of the stack's own.",
            rich_help_panel=_OF_ONE_RUN,
        ),
    ] = None,
    source_branch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Its branch or tag. Default: the default branch.",
            rich_help_panel=_OF_ONE_RUN,
        ),
    ] = None,
    source_commit: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="Its commit. Default: the branch's newest.", rich_help_panel=_OF_ONE_RUN
        ),
    ] = None,
    source_secret: Annotated[
        str | None,
        typer.Option(
            metavar="STACK/NAME",
            help="Secret in Secrets Manager that has the token for a private repository.",
            rich_help_panel=_OF_ONE_RUN,
        ),
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Upload a corpus and follow the run that the upload starts; or run a dataset again with other settings.

    Ends with 0 when the model serves or there was nothing to do, 1 when the run failed or its model was
    refused, 2 when it was not asked for rightly. Ctrl-C ends the watching, not the run.

    Files that are uploaded to one dataset shortly after each other have one run together. It has the stack's
    own settings. To choose others for one run, name a dataset that is uploaded already: `lexline run
    --dataset sotu --set epochs=3`. To choose them for all runs: `lexline up --parameter Epochs=3`.
    """
    asked = {
        **execution_input.overrides(settings or []),
        "force": force or None,
        "tolerance": tolerance,
        "max_perplexity": max_perplexity,
        "teardown": execution_input.teardown(teardown),
        "source": execution_input.source(source_repo, source_branch, source_commit, source_secret),
    }
    request = {name: value for name, value in asked.items() if value is not None}
    if data and request:
        raise UsageError(
            "An upload starts its run by itself, with the stack's settings, so DATA does not go with "
            f"settings of one run ({', '.join(request)}).",
            "Upload first and then run the dataset by name with the settings, or change the stack's with "
            "`lexline up --parameter NAME=VALUE`.",
        )
    if not data and dataset is None:
        raise UsageError("There is nothing to run.", "Give a file, or --dataset and a name that is uploaded.")
    files = runs.files_of(data) if data else []
    name = runs.dataset_name(dataset, data or [])
    console = terminal.stdout()
    where = located(profile, stack, region)
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
        started = runs.start(where, deployed, name, {"dataset": name, **request})
    watch(console, where, deployed, started)


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
    # The run that takes along the file that came last finds all of them there.
    return uploaded


def deploy(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Version, run id or name, as `lexline models` lists them.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Deploy it even if it was rejected.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of its hosting: hosting.instance_count=2, hosting.endpoint_type=serverless.",
        ),
    ] = None,
    teardown: Annotated[
        str | None, typer.Option(help="When the endpoint goes: as for `lexline run`.")
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Put a model that was trained before into service, and follow the run that does it.

    Nothing is trained. The model is smoke-tested like a new one, and what serves now stays if it fails.
    """
    asked = {
        **execution_input.overrides(settings or [], _HOSTING),
        "force": force or None,
        "teardown": execution_input.teardown(teardown),
    }
    console = terminal.stdout()
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    wanted = registry.find(where, deployed, model)
    _must_be_approved(wanted, force=force)
    console.print(f"Deploying {_described(wanted)}", markup=False)
    _start_deployment(console, where, deployed, wanted.name, asked)


def rollback(
    force: Annotated[
        bool, typer.Option("--force", help="Go back even to a model that was rejected.")
    ] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Put the model back into service that served before the one that serves now, and follow the run."""
    console = terminal.stdout()
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    live = serving.read(where, deployed)
    if live is None or not live.answers:
        raise UserError(
            f"No model serves on the endpoint {deployed.endpoint}, so there is nothing to go back from.",
            "`lexline models` lists the models, and `lexline deploy MODEL` puts one into service.",
        )
    if not live.previous:
        raise UserError(
            f"Nothing served on the endpoint {deployed.endpoint} before {live.model or live.config}.",
            "`lexline models` lists the models, and `lexline deploy MODEL` puts one into service.",
        )
    previous = registry.find(where, deployed, live.previous)
    _must_be_approved(previous, force=force)
    console.print(f"Going back from {live.model} to {_described(previous)}", markup=False)
    _start_deployment(console, where, deployed, "previous", {"force": force or None})


def _must_be_approved(model: Model, *, force: bool) -> None:
    if not model.approved and not force:
        raise UserError(
            f"Version {model.version} ({model.name}) is {model.approval or 'not approved'}: {model.reason}",
            "Give --force to deploy it all the same.",
        )


def _described(model: Model) -> str:
    quality = (
        f", test perplexity {wording.perplexity(model.test_perplexity)}"
        if model.test_perplexity is not None
        else ""
    )
    return f"{model.name} (version {model.version}, trained {wording.local_time(model.trained)}{quality})"


def _start_deployment(
    console: Console, where: Target, deployed: Stack, model: str, settings: dict[str, Any]
) -> None:
    request = {name: value for name, value in settings.items() if value is not None}
    about = "rollback" if model == "previous" else f"deploy-{id_in(model)}"
    watch(console, where, deployed, runs.start(where, deployed, about, {"model": model, **request}))
