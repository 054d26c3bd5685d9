import json
import os
import random
import signal
import subprocess
import sys
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

import distributed
from tests.unit.model_scripts.conftest import (
    SCRIPTS,
    UNTIL_SIGTERM,
    Job,
    Patch,
    packed,
    same,
    start_ranks,
    wait_for,
    write_large_vocabulary,
)
from tests.unit.model_scripts.forks import ForkServer

# Sparse gradients, an adaptive softmax, and columns that two ranks and three cannot share evenly.
SETTINGS: dict[str, Any] = {"recipe": "fast", "tied": False, "lr": 0.01, "epochs": 2, "batch_size": 5}


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_large_vocabulary(tmp_path_factory.mktemp("large") / "training")


@pytest.mark.parametrize(("columns", "ranks"), [(20, 1), (20, 2), (5, 3), (7, 7), (3, 5)])
def test_the_ranks_share_all_columns(columns: int, ranks: int, monkeypatch: Patch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    parts = []
    for rank in range(ranks):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(distributed.own_columns(columns))
    assert (parts[0].start, parts[-1].stop) == (0, columns)
    assert all(before.stop == after.start for before, after in pairwise(parts))
    sizes = {part.stop - part.start for part in parts}
    assert max(sizes) - min(sizes) <= 1


GRADIENTS = """
import json

import torch
from torch.nn import functional

import distributed

with distributed.process_group():
    rows = torch.nn.Parameter(torch.ones(6, 2))
    dense = torch.nn.Parameter(torch.ones(3))
    unused_here = torch.nn.Parameter(torch.ones(2))
    words = torch.tensor([[1, 4, 4], [4, 5, 0], []][distributed.rank()], dtype=torch.long)
    loss = functional.embedding(words, rows, sparse=True).sum() + (distributed.rank() + 1) * dense.sum()
    if distributed.rank() == 1:
        loss = loss + 7 * unused_here.sum()
    loss.backward()
    flags = distributed.sum_gradients([rows, dense, unused_here], [False, distributed.rank() == 2])
    print(json.dumps({
        "sparse": rows.grad.is_sparse,
        "rows": rows.grad.indices()[0].tolist(),
        "values": rows.grad.values()[:, 0].tolist(),
        "dense": dense.grad.tolist(),
        "unused": unused_here.grad.tolist(),
        "flags": flags,
    }), flush=True)
"""


def test_gradients_are_summed_over_the_ranks(tmp_path: Path, fork_server: ForkServer) -> None:
    forks = [
        fork_server.start(GRADIENTS, environment, tmp_path / f"{rank}.log")
        for rank, environment in enumerate(fork_server.ranks(3))
    ]
    assert [fork.wait() for fork in forks] == [0, 0, 0], forks[0].log.read_text()
    for fork in forks:
        assert json.loads(fork.log.read_text()) == {
            "sparse": True,
            "rows": [0, 1, 4, 5],
            "values": [1, 1, 3, 1],
            "dense": [6, 6, 6],
            "unused": [7, 7],
            "flags": [False, True],
        }


READ_AS_A_RANK = """
import json, pathlib
import corpus, distributed, host_processes, numbered_text
from epoch_loop import own_tokens

numbered_text.BYTES_OF_A_PROCESS, numbered_text.MOST_OF_A_TABLE, numbered_text.WORDS_AT_ONCE = 900, 4000, 90
host_processes.own_processors = lambda: 2
channel, scratch = pathlib.Path({channel!r}), pathlib.Path({scratch!r}) / str(distributed.rank())
with distributed.process_group():
    text = corpus.read(channel, "prose", scratch, max_vocabulary=150, block_bytes=256)
    splits = text.encode({{split: own_tokens(length, 5) for split, length in text.lengths.items()}})
    print(json.dumps({{
        "words": text.vocabulary.words,
        "counts": text.counts.tolist(),
        "left_out": text.left_out,
        "unknown_words": text.unknown_words,
        "lengths": text.lengths,
        "unknown": {{split: tokens.unknown for split, tokens in splits.items()}},
        "own": {{split: [tokens.begin, tokens.own.tolist()] for split, tokens in splits.items()}},
    }}), flush=True)
"""


def read_as_ranks(channel: Path, scratch: Path, server: ForkServer, ranks: int) -> list[dict[str, Any]]:
    """Return the corpus as each rank reads it."""
    code = READ_AS_A_RANK.format(channel=str(channel), scratch=str(scratch / f"of-{ranks}"))
    environments = server.ranks(ranks) if ranks > 1 else [{}]
    forks = [
        server.start(code, environment, scratch / f"{ranks}-{rank}.log")
        for rank, environment in enumerate(environments)
    ]
    assert [fork.wait() for fork in forks] == [0] * ranks, forks[0].log.read_text()
    return [json.loads(fork.log.read_text()) for fork in forks]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_read_the_corpus_that_one_reads(tmp_path: Path, fork_server: ForkServer, ranks: int) -> None:
    """Vocabulary, counts and tokens are equal. Each rank has the tokens of its columns and no others."""
    channel = tmp_path / "training"
    channel.mkdir()
    chance = random.Random(7)
    # The second half of train has longer words, so that the ranks' bytes are not the ranks' columns.
    words = ["".join(chance.choices("abcd", k=2)) for _ in range(2000)]
    words += ["".join(chance.choices("abcdefgh", k=9)) + "," for _ in range(300)] * 2
    for split, content in (("train", words), ("valid", words[1900:2100]), ("test", [*words[::7], "zz"])):
        lines = (" ".join(content[start : start + 8]) for start in range(0, len(content), 8))
        (channel / split).write_text("\n".join(lines) + "\n")
    (whole,) = read_as_ranks(channel, tmp_path, fork_server, 1)
    found = read_as_ranks(channel, tmp_path, fork_server, ranks)
    assert len(whole["words"]) == 150
    assert whole["left_out"] > 0
    for of_rank in found:
        own = of_rank.pop("own")
        assert of_rank == {name: value for name, value in whole.items() if name != "own"}
        of_rank["own"] = own
    for split, (begin, tokens) in whole["own"].items():
        assert begin == 0
        parts = [of_rank["own"][split] for of_rank in found]
        assert [token for _, part in parts for token in part] == tokens
        assert [part_begin for part_begin, _ in parts] == [
            0,
            *accumulate(len(part) for _, part in parts[:-1]),
        ]


@pytest.fixture(scope="module")
def one_rank(
    channel: Path, tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer
) -> dict[str, float]:
    """The test perplexities of a single rank, by dropout."""
    found = {}
    for dropout in ("0", "0.1"):
        job = Job(tmp_path_factory.mktemp("one") / "job", channel)
        fork = job.start(fork_server, **SETTINGS, dropout=dropout)
        assert fork.wait() == 0, fork.log.read_text()
        found[dropout] = float(job.metrics()["test_perplexity"])
    return found


def test_torchrun_trains_as_good_a_model(channel: Path, tmp_path: Path, one_rank: dict[str, float]) -> None:
    job = Job(tmp_path / "job", channel)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *(SCRIPTS / "train.py", *job.arguments({**SETTINGS, "dropout": 0.1})),
        ],
        env={**os.environ, **job.environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert job.metrics()["world_size"] == 2
    assert job.metrics()["test_perplexity"] == pytest.approx(one_rank["0.1"], rel=0.02)
    said = [line for line in done.stdout.splitlines() if line.startswith("epoch=1/2 seconds=")]
    assert len(said) == 1
    assert done.stdout.count("test_perplexity=") == 1


def test_two_ranks_train_the_same_model_and_one_writes(
    channel: Path, tmp_path: Path, fork_server: ForkServer, one_rank: dict[str, float]
) -> None:
    jobs = [Job(tmp_path / f"rank-{rank}", channel) for rank in range(2)]
    forks = start_ranks(fork_server, jobs, **SETTINGS, dropout=0)
    assert [fork.wait() for fork in forks] == [0, 0], forks[0].log.read_text()
    assert jobs[0].metrics()["test_perplexity"] == pytest.approx(one_rank["0"], rel=1e-3)
    # The first rank also reads the tokens that the other one has.
    cache, tokens = jobs[0].metrics()["cache"], jobs[0].metrics()["test_tokens"]
    assert cache["tokens"] == tokens
    assert cache["perplexity_without"] == pytest.approx(jobs[0].metrics()["test_perplexity"], rel=1e-4)
    assert not forks[1].log.read_text()
    assert [path for path in jobs[1].folder.rglob("*") if path.is_file()] == [forks[1].log]


def test_an_error_on_one_rank_ends_all(channel: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    job, lacking = Job(tmp_path / "job", channel), Job(tmp_path / "lacking", tmp_path / "nowhere")
    forks = start_ranks(fork_server, [job, lacking])
    assert [fork.wait() for fork in forks] == [1, 1]
    sentence = f"The training channel {lacking.channel} is not a folder."
    assert forks[0].log.read_text() == f"error: {sentence}\n"
    assert job.failure.read_text() == sentence
    assert not forks[1].log.read_text()


def test_more_ranks_than_columns_are_refused(channel: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    job = Job(tmp_path / "job", channel)
    forks = job.start_ranks(fork_server, 3, batch_size=2)
    assert [fork.wait() for fork in forks] == [1, 1, 1]
    assert job.failure.read_text() == (
        "batch_size 2 is too small for 3 processes, which share its columns: "
        "make it at least 3, or use fewer instances."
    )


def test_the_others_end_if_a_rank_is_killed(channel: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    job = Job(tmp_path / "job", channel)
    first, second = job.start_ranks(fork_server, 2, **{**SETTINGS, "epochs": 1000}, log_interval=1)
    wait_for(lambda: "step=" in first.log.read_text())
    second.signal(signal.SIGKILL)
    assert (second.wait(), first.wait()) == (-signal.SIGKILL, 1)
    log = first.log.read_text()
    assert "error: The job's processes lost the connection to each other" in log
    assert "Traceback" not in log
    # AWS's toolkit then tells what it saw of the lost one.
    assert not job.failure.exists()


@pytest.fixture(scope="module")
def stopped(channel: Path, tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Job:
    """A job of two ranks, of which only the second received SIGTERM, in the second epoch."""
    job = Job(tmp_path_factory.mktemp("stopped") / "job", channel)
    first, second = job.start_ranks(fork_server, 2, before=UNTIL_SIGTERM, **SETTINGS)
    wait_for(lambda: "waiting for SIGTERM" in second.log.read_text())
    second.signal(signal.SIGTERM)
    assert (first.wait(), second.wait()) == (128 + signal.SIGTERM, 128 + signal.SIGTERM), (
        first.log.read_text()
    )
    assert "stopped: SIGTERM came in epoch 2, step 6" in first.log.read_text()
    return job


def continued(stopped: Job, folder: Path, server: ForkServer, ranks: int) -> Job:
    job = Job(folder, stopped.channel)
    job.checkpoint.parent.mkdir(parents=True)
    job.checkpoint.write_bytes(stopped.checkpoint.read_bytes())
    forks = job.start_ranks(server, ranks, **SETTINGS)
    assert [fork.wait() for fork in forks] == [0] * ranks, forks[0].log.read_text()
    assert job.metrics()["resumed"] == 1
    return job


def test_two_ranks_resume_to_the_same_model(
    stopped: Job, channel: Path, tmp_path: Path, fork_server: ForkServer
) -> None:
    whole = Job(tmp_path / "whole", channel)
    forks = whole.start_ranks(fork_server, 2, **SETTINGS)
    assert [fork.wait() for fork in forks] == [0, 0]
    job = continued(stopped, tmp_path / "two", fork_server, ranks=2)
    assert job.metrics()["test_loss"] == whole.metrics()["test_loss"]
    assert same(job.weights(), whole.weights())


def test_another_number_of_ranks_may_resume(
    stopped: Job, tmp_path: Path, fork_server: ForkServer, one_rank: dict[str, float]
) -> None:
    job = continued(stopped, tmp_path / "one", fork_server, ranks=1)
    assert job.metrics()["test_perplexity"] == pytest.approx(one_rank["0.1"], rel=0.02)


@pytest.fixture(scope="module")
def champion(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The channel of a champion that knows another part of the words."""
    folder = tmp_path_factory.mktemp("champion")
    other = folder / "training"
    other.mkdir()
    for split in ("train", "valid", "test"):
        words = (channel / split).read_text().split()
        (other / split).write_text("\n".join(word for word in words if word.endswith(("1", "2", "3"))) + "\n")
    job = Job(folder / "job", other)
    assert job.run(**SETTINGS) == 0
    return packed(job.model, folder / "channel")


def test_ranks_score_the_champion_as_one_rank_does(
    channel: Path, champion: Path, tmp_path: Path, fork_server: ForkServer
) -> None:
    alone = Job(tmp_path / "alone", channel, champion)
    assert alone.start(fork_server, **SETTINGS, dropout=0).wait() == 0
    jobs = [Job(tmp_path / "0", channel, champion), Job(tmp_path / "1", channel)]
    forks = start_ranks(fork_server, jobs, **SETTINGS, dropout=0)
    assert [fork.wait() for fork in forks] == [0, 0], forks[0].log.read_text()
    found, expected = jobs[0].metrics()["comparison"], alone.metrics()["comparison"]
    assert expected["champion"]["unknown_share"] > 0.5
    for name in ("champion", "challenger"):
        figures = ("perplexity", "bits_per_character")
        close = {figure: pytest.approx(expected[name][figure], rel=1e-3) for figure in figures}
        assert found[name] == {**expected[name], **close}
    assert (found["words"], found["tokens"]) == (expected["words"], expected["tokens"])
    assert forks[0].log.read_text().count("champion_perplexity=") == 1
    assert jobs[0].metrics()["samples"]
    assert not forks[1].log.read_text()


FAILING_ON_THE_SECOND = """
import comparison, distributed, torch
def own_loss(model, tokens):
    if distributed.rank() == 1:
        raise torch.OutOfMemoryError("no room on this device")
    return torch.zeros(())
comparison.own_loss = own_loss
"""


def test_a_champion_that_fails_on_any_rank(
    channel: Path, champion: Path, tmp_path: Path, fork_server: ForkServer
) -> None:
    job = Job(tmp_path / "job", channel, champion)
    forks = job.start_ranks(fork_server, 2, before=FAILING_ON_THE_SECOND, **{**SETTINGS, "epochs": 1})
    assert [fork.wait() for fork in forks] == [0, 0], forks[0].log.read_text()
    assert job.metrics()["comparison"] == {
        "comparable": False,
        "reason": "The champion cannot be read and scored (OutOfMemoryError: no room on this device).",
    }
    assert forks[0].log.read_text().count("champion=incomparable reason=") == 1
    assert not forks[1].log.read_text()
