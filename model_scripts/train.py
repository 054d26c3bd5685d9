"""Train a word-level LSTM language model: the entry point of a SageMaker training job.

On one device, on several, and all options:

    SM_CHANNEL_TRAINING=data SM_MODEL_DIR=model SM_OUTPUT_DATA_DIR=output python train.py --epochs 6
    torchrun --nproc_per_node 2 train.py --recipe classic
    python train.py --help

Environment variables, which SageMaker's training toolkit sets:

    SM_CHANNEL_TRAINING   folder with train, valid and test (UTF-8 text), or with a prepared dataset
    SM_CHANNEL_CHAMPION   optional: folder with the model.tar.gz in service, to compare with
    SM_MODEL_DIR          gets model.pt, vocabulary, config.json, metrics.json, and the code that serves them:
                          code/ and config.yaml
    SM_OUTPUT_DATA_DIR    gets metrics.json and training_curve.svg
    LEXLINE_CHECKPOINTS   folder to resume from after an interruption (default: /opt/ml/checkpoints, if it
                          exists)

Exit codes: 0 if the model is trained and tested; 1 after an error, with a sentence on stderr; 143 (128 +
SIGTERM) if the job was stopped. AWS's training toolkit takes 143 for a failure, so nobody mistakes half a
training for a whole one; SageMaker itself reports a job that it stopped as Stopped, whatever the code.
"""

import contextlib
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import torch

import beside_champion
import cache_perplexity
import checkpoint
import comparison
import corpus
import distributed
import epoch_loop
import example_texts
import hyperparameters
import initial_vectors
import machine
import perplexity
import recipes
import split_files
import tokenizer
import training_curve
from cache_perplexity import MOST_TEST_TOKENS, MOST_VALID_TOKENS
from checkpoint import Checkpoints
from comparison import Challenger, Comparison
from corpus import Corpus
from distributed import RankLost
from epoch_loop import Stopped, Training, fit
from hyperparameters import Hyperparameters
from job_log import log, log_values, quoted, scores, summary
from language_model import CONFIG, VOCABULARY, WEIGHTS, LanguageModel, Shape, load_weights, save_config
from metrics import Metrics
from numbered_text import Tokens
from user_error import UserError, report

SERVING_MODULES = (
    "continuous_cache.py",
    "generate.py",
    "inference.py",
    "language_model.py",
    "request_body.py",
    "sampler.py",
    "serve.py",
    "tokenizer.py",
    "user_error.py",
    "vocabulary.py",
)
"""generate.py, serve.py and the modules that they import."""

RAY_SERVE_CONFIG = "config.yaml"


@dataclass(frozen=True)
class Folders:
    """The job's folders.

    Attributes:
        channel: The texts.
        model: Gets the artifact.
        output: Gets metrics.json and the training curve.
        checkpoints: None if the job keeps no checkpoints.
        champion: None if there is no model to compare with.
    """

    channel: Path
    model: Path
    output: Path
    checkpoints: Path | None
    champion: Path | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Folders":
        """Read the environment and create folders for results. Raises UserError if a variable is missing."""
        names = ("SM_CHANNEL_TRAINING", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise UserError(
                f"The environment lacks {' and '.join(missing)}. SageMaker's toolkit sets them for a job "
                "whose data channel is named training. To run the script by hand, set each to a folder."
            )
        channel, model, output = (Path(environment[name]) for name in names)
        for folder in (model, output):
            folder.mkdir(parents=True, exist_ok=True)
        champion = environment.get("SM_CHANNEL_CHAMPION")
        return cls(
            channel, model, output, checkpoint.folder(environment), Path(champion) if champion else None
        )


def main(arguments: Sequence[str]) -> int:
    """Run the job and return its exit code."""
    try:
        machine.check_gpus(os.environ)
        with distributed.process_group():
            train(arguments, os.environ)
    except UserError as error:
        if distributed.is_first_of_host():
            report(error)
        return 1
    except RankLost as error:
        # No failure file: the toolkit writes it, with the error of the process that was lost.
        if distributed.is_first_of_host():
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not distributed.is_out_of_memory(error):
            raise
        # The other processes do not know, so this one reports it, whichever it is of its host.
        report(
            UserError(
                f"The memory of the instance or of its GPU is full ({summary(error)}). Lower batch_size or "
                "bptt, train a smaller model (emsize, nhid, nlayers, max_vocabulary), or choose a "
                "training.instance_type with more memory."
            )
        )
        return 1
    except Stopped:
        return 128 + signal.SIGTERM
    return 0


def train(arguments: Sequence[str], environment: Mapping[str, str]) -> Metrics:
    """Do the job. Every rank calls this.

    Raises:
        UserError: The input is wrong.
        Stopped: SIGTERM arrived.
    """
    started = time.monotonic()
    with distributed.shared_errors():
        hparams = hyperparameters.parse(arguments)
        folders = Folders.from_environment(environment)
    with scratch_folder() as scratch:
        return train_on_disk(hparams, folders, scratch, started)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder for files as large as the corpus, on SageMaker's volume as /opt/ml is.

    The folder is deleted at the end, after an error, and if SIGTERM arrives outside an epoch.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with tempfile.TemporaryDirectory(prefix="lexline-") as name:
            yield Path(name)
    finally:
        signal.signal(signal.SIGTERM, before)


def train_on_disk(hparams: Hyperparameters, folders: Folders, scratch: Path, started: float) -> Metrics:
    """Do the job, with a folder for large files. Raises as `train` does."""
    text = corpus.read(folders.channel, hparams.tokenizer, scratch, hparams.max_vocabulary)
    given, length = hparams, text.lengths["train"]
    if distributed.device().type == "cuda":
        hparams = recipes.for_gpu(hparams, length)
    hparams = fit(hparams, length)
    splits = encode(text, hparams.batch_size)
    device = machine.prepare(hparams.seed)
    model = new_model(hparams, text, splits["train"]).to(device)
    distributed.broadcast_weights(model)
    metrics = Metrics(
        artifact=folders.model,
        output=folders.output,
        recipe=hparams.recipe,
        world_size=distributed.world_size(),
        batch_size=hparams.batch_size,
        bptt=hparams.bptt,
        notes=notes(given, hparams, text),
        tokenizer=text.tokenizer,
        vocabulary_size=len(text.vocabulary),
        parameters=model.count_parameters(),
        tokens={split: len(tokens) for split, tokens in splits.items()},
        unknown_share={split: tokens.unknown_share for split, tokens in splits.items()},
        test_words=len(text.vocabulary) + text.unknown_words,
        started=started,
        machine=machine.describe(device),
        hyperparameters={**asdict(hparams), "tokenizer": tokenizer.choice_of(text.tokenizer)},
    )
    log_start(metrics)
    checkpoints = None
    if distributed.is_first():
        write_artifact_without_weights(folders.model, text, model.shape, hparams)
        if folders.checkpoints:
            job = checkpoint.identity(hparams, text.vocabulary, split_files.fingerprint(folders.channel))
            checkpoints = Checkpoints(folders.checkpoints, job)

    Training(model, splits["train"], splits["valid"], hparams, metrics, folders.model, checkpoints).run()

    if distributed.is_first():
        load_weights(model, folders.model / WEIGHTS)
    distributed.broadcast_weights(model)
    metrics.test_loss = perplexity.mean_loss(model, splits["test"])
    log_values(
        **scores("test", metrics.test_loss, metrics.unknown_share["test"]),
        test_exact_perplexity=f"{perplexity.perplexity(metrics.test_exact_loss or math.nan):.2f}",
        test_words=metrics.test_words,
    )
    champion = distributed.broadcast(folders.champion)
    if champion:
        challenger = Challenger(text.tokenizer, text.vocabulary, splits["test"], metrics.test_loss)
        compare(champion, challenger, folders, scratch, device, metrics)
    if distributed.is_first():
        metrics.cache = cache_perplexity.measure(
            model, splits["valid"][:MOST_VALID_TOKENS], splits["test"][:MOST_TEST_TOKENS]
        )
        metrics.samples = example_texts.draw(folders.model, valid_sample(folders.channel))
        metrics.machine = machine.describe(device)
    metrics.save()
    if distributed.is_first():
        training_curve.save(metrics, folders.output / "training_curve.svg")
    return metrics


def encode(text: Corpus, batch_size: int) -> dict[str, Tokens]:
    """Return the splits as word numbers: of each, what this rank reads."""
    needed = {"train": epoch_loop.own_tokens(text.lengths["train"], batch_size)}
    for split, most in (("valid", MOST_VALID_TOKENS), ("test", MOST_TEST_TOKENS)):
        length = text.lengths[split]
        needed[split] = cache_perplexity.needed(perplexity.own_tokens(length), most, length)
    return text.encode(needed)


def new_model(hparams: Hyperparameters, text: Corpus, train: Tokens) -> LanguageModel:
    """Return a new model. Every rank calls this; the first one's is complete."""
    model = recipes.model(hparams, text.counts)
    if recipes.BY_NAME[hparams.recipe].informed:
        columns = epoch_loop.batchify(train, hparams.batch_size)
        initial_vectors.set_vectors(model, columns, hparams.batch_size)
    return model


def compare(
    champion: Path,
    challenger: Challenger,
    folders: Folders,
    scratch: Path,
    device: torch.device,
    metrics: Metrics,
) -> None:
    """Compare the new model with the champion in a folder, and add what was found to the metrics."""
    outcome = comparison.compare(champion, folders.channel, scratch, challenger, device)
    outcome.log()
    metrics.comparison = outcome.document()
    if distributed.is_first() and isinstance(outcome, Comparison):
        shown = beside_champion.show(
            champion, folders.model, folders.channel, valid_sample(folders.channel), outcome, device
        )
        metrics.side_by_side = shown.get("side_by_side")
        metrics.word_differences = shown.get("word_differences", [])


def valid_sample(channel: Path) -> str:
    """Return the beginning of valid."""
    return split_files.sample(split_files.find(channel)["valid"])


def notes(given: Hyperparameters, used: Hyperparameters, text: Corpus) -> list[str]:
    """Return sentences that say where the job deviates from the hyperparameters that it was given."""
    found = []
    if used.batch_size > given.batch_size:
        found.append(
            f"On a GPU, recipe {used.recipe} trained with batch_size {used.batch_size} and lr {used.lr:g}, "
            f"not {given.batch_size} and {given.lr:g}. Set batch_size or lr to choose them yourself."
        )
    changed = [name for name in ("batch_size", "bptt") if getattr(used, name) < getattr(given, name)]
    if changed:
        values = " and ".join(f"{name} {getattr(used, name)}, not {getattr(given, name)}" for name in changed)
        tokens = text.lengths["train"]
        found.append(f"The training text has only {tokens:,} tokens, so it was trained with {values}.")
    if text.left_out:
        found.append(
            f"The model knows the {len(text.vocabulary):,} most frequent words (max_vocabulary); "
            f"{text.left_out:,} rarer ones count as unknown."
        )
    return found


def log_start(metrics: Metrics) -> None:
    """Log the metrics that are known before training."""
    for note in metrics.notes:
        log(f"note: {note}")
    log_values(device=quoted(metrics.machine["device"]), precision=metrics.machine["precision"])
    log_values(
        recipe=metrics.recipe,
        world_size=metrics.world_size,
        tokenizer=metrics.tokenizer,
        valid_tokens=metrics.tokens["valid"],
        test_tokens=metrics.tokens["test"],
        **{f"{split}_unknown_share": f"{share:.4f}" for split, share in metrics.unknown_share.items()},
    )
    log_values(
        vocabulary_size=metrics.vocabulary_size,
        parameters=metrics.parameters,
        train_tokens=metrics.tokens["train"],
    )


def write_artifact_without_weights(
    directory: Path, text: Corpus, shape: Shape, hparams: Hyperparameters
) -> None:
    """Write all of the artifact but the weights, before training.

    Each checkpoint then adds only the weights, so a job that is stopped after one leaves a complete model.
    """
    text.vocabulary.save(directory / VOCABULARY)
    save_config(directory / CONFIG, shape, text.tokenizer, asdict(hparams))
    scripts = Path(__file__).parent
    shutil.copyfile(scripts / RAY_SERVE_CONFIG, directory / RAY_SERVE_CONFIG)
    code = directory / "code"
    code.mkdir(exist_ok=True)
    for name in SERVING_MODULES:
        shutil.copyfile(scripts / name, code / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
