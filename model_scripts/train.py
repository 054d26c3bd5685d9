"""Train a word-level LSTM language model: the entry point of a SageMaker training job.

    SM_CHANNEL_TRAINING   folder with train, valid and test (UTF-8 text)
    SM_CHANNEL_CHAMPION   folder with the model.tar.gz that serves now, to compare with; may be missing
    SM_MODEL_DIR          gets model.pt, vocabulary, config.json, metrics.json, and what serves them:
                          code/ and config.yaml
    SM_OUTPUT_DATA_DIR    gets metrics.json and training_curve.svg
    LEXLINE_CHECKPOINTS   folder to resume from after an interruption; /opt/ml/checkpoints if that is there

By hand, with the first three set:  python train.py --epochs 6 --recipe classic
On several devices or hosts:        torchrun --nproc_per_node 2 train.py ...

Exit codes: 0 when the model is there, tested; 1 with a sentence on stderr; 143 (128 + SIGTERM, as a shell has
it) when it was stopped: to AWS's training toolkit a failure, so that nobody takes half a training for a whole
one. SageMaker calls a job that it stopped itself Stopped, whatever the code.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import checkpoint
import comparison
import corpus
import distributed
import example_texts
import hyperparameters
import recipes
import training_curve
from checkpoint import Checkpoints
from corpus import Corpus
from distributed import RankLost
from epoch_loop import Stopped, Training
from hyperparameters import Hyperparameters
from job_log import log_values, scores
from language_model import (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
    Shape,
    load_weights,
    save_config,
)
from metrics import Metrics
from perplexity import mean_loss
from user_error import UserError, report
from vocabulary import UNKNOWN_ID, TokenIds

SERVING_MODULES = (
    "generate.py",
    "inference.py",
    "language_model.py",
    "sampler.py",
    "serve.py",
    "tokenizer.py",
    "user_error.py",
    "vocabulary.py",
)
"""What generate.py and serve.py import, and themselves."""

RAY_SERVE_CONFIG = "config.yaml"

TOKENS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Folders:
    """Where SageMaker put the data and where it looks for results.

    checkpoints: None where it keeps none. champion: None where there is no model to compare with.
    """

    channel: Path
    model: Path
    output: Path
    checkpoints: Path | None
    champion: Path | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Folders":
        names = ("SM_CHANNEL_TRAINING", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise UserError(
                f"The environment lacks {' and '.join(missing)}. SageMaker's toolkit sets them for a job "
                "whose data channel is named training; by hand, set them to folders."
            )
        channel, model, output = (Path(environment[name]) for name in names)
        for folder in (model, output):
            folder.mkdir(parents=True, exist_ok=True)
        champion = environment.get("SM_CHANNEL_CHAMPION")
        return cls(
            channel, model, output, checkpoint.folder(environment), Path(champion) if champion else None
        )


def main(arguments: Sequence[str]) -> int:
    try:
        with distributed.joined():
            train(arguments, os.environ)
    except UserError as error:
        if distributed.is_first_of_host():
            report(error)
        return 1
    except RankLost as error:
        # No failure file: the toolkit fills it with what the lost process said.
        if distributed.is_first_of_host():
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except Stopped:
        return 128 + signal.SIGTERM
    return 0


def train(arguments: Sequence[str], environment: Mapping[str, str]) -> Metrics:
    """The whole job, on each of its ranks. Raises UserError where the input is to blame, and Stopped."""
    started = time.monotonic()
    with distributed.together():
        settings = hyperparameters.parse(arguments)
        folders = Folders.from_environment(environment)
        text = corpus.read(folders.channel, settings.tokenizer)
    device = prepare_torch(settings.seed)
    model = recipes.model(settings, count(text.splits["train"], len(text.vocabulary))).to(device)
    distributed.copy_first(model)
    metrics = Metrics(
        artifact=folders.model,
        output=folders.output,
        recipe=settings.recipe,
        world_size=distributed.world(),
        tokenizer=text.tokenizer,
        vocabulary_size=len(text.vocabulary),
        parameters=model.count_parameters(),
        tokens={split: len(tokens) for split, tokens in text.splits.items()},
        unknown_share={
            split: np.count_nonzero(tokens == UNKNOWN_ID) / len(tokens)
            for split, tokens in text.splits.items()
        },
        started=started,
    )
    announce(metrics)
    checkpoints = None
    if distributed.is_first():
        write_artifact_without_weights(folders.model, text, model.shape, settings)
        if folders.checkpoints:
            checkpoints = Checkpoints(folders.checkpoints, checkpoint.identity(settings, text))

    splits = text.splits
    Training(model, splits["train"], splits["valid"], settings, metrics, folders.model, checkpoints).run()

    if distributed.is_first():
        load_weights(model, folders.model / WEIGHTS)
    distributed.copy_first(model)
    metrics.test_loss = mean_loss(model, splits["test"])
    log_values(**scores("test", metrics.test_loss))
    champion = distributed.from_first(folders.champion)
    if champion:
        outcome = comparison.compare(champion, folders.channel, text, metrics.test_loss, device)
        outcome.announce()
        metrics.comparison = outcome.document()
    if distributed.is_first():
        metrics.samples = example_texts.draw(folders.model, splits["valid"])
    metrics.save()
    if distributed.is_first():
        training_curve.save(metrics, folders.output / "training_curve.svg")
    return metrics


def prepare_torch(seed: int) -> torch.device:
    """Seeds the first weights and picks this rank's GPU if there is one.

    The same seed on the same machine trains the same model.
    """
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # cuBLAS is deterministic only with a fixed workspace (PyTorch's notes on randomness).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return distributed.device()


def count(tokens: TokenIds, words: int) -> npt.NDArray[np.int64]:
    """How often each of so many words occurs in a text."""
    counts = np.zeros(words, dtype=np.int64)
    # bincount makes 8 bytes of each token's 4.
    for start in range(0, len(tokens), TOKENS_AT_ONCE):
        counts += np.bincount(tokens[start : start + TOKENS_AT_ONCE], minlength=words)
    return counts


def announce(metrics: Metrics) -> None:
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
    directory: Path, text: Corpus, shape: Shape, settings: Hyperparameters
) -> None:
    """All of the artifact that is known before training, so that a stopped job leaves a model that serves."""
    text.vocabulary.save(directory / VOCABULARY)
    save_config(directory / CONFIG, shape, text.tokenizer, asdict(settings))
    scripts = Path(__file__).parent
    shutil.copyfile(scripts / RAY_SERVE_CONFIG, directory / RAY_SERVE_CONFIG)
    code = directory / "code"
    code.mkdir(exist_ok=True)
    for name in SERVING_MODULES:
        shutil.copyfile(scripts / name, code / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
