"""Data-parallel training under torchrun: one process (a rank) per device, on any number of hosts.

The batch is that of the job: its columns are cut into one run of columns for each rank, without overlap.
Every rank works out the gradient of its own columns' part of the mean loss, the parts are summed over the
ranks, and all take the same step from the same weights, so they stay replicas. gloo carries tensors between
processors, NCCL between GPUs. Outside torchrun there is one rank, and nothing here costs anything.

    S. Li et al., PyTorch Distributed, arXiv 2006.15704. Its DistributedDataParallel is not used: it has no
    sum of sparse gradients over NCCL, and means over ranks rather than over unequal numbers of columns.

Only the first rank writes files and speaks in the log. Of an error, the first of each host speaks.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn

from user_error import UserError


class RankLost(Exception):
    """Another process of the job ended early, or cannot be reached. The message is a sentence."""


def rank() -> int:
    """This process's number among the job's, as torchrun gave it."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0


def is_first_of_host() -> bool:
    """Whether this process is the one that says what went wrong, in the log and the files of its host."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device() -> torch.device:
    """This rank's GPU, if the host has any, or else its processors."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Within it, the ranks that torchrun started can talk to each other."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    interface = os.environ.get("SM_NETWORK_INTERFACE_NAME")
    if interface:
        # The toolkit tells NCCL which interface joins the hosts, but not gloo.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    if device().type == "cuda":
        torch.cuda.set_device(device())
    with _in_company():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device().type == "cuda" else "gloo")
    yield
    # Not after an error: the others may be gone, and leaving in good order would wait for them.
    distributed.destroy_process_group()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A UserError within it, on any rank, is raised on every one."""
    mine = None
    try:
        yield
    except UserError as error:
        mine = str(error)
    found = _everyones(mine)
    sentence = next((message for message in found if message), None)
    if sentence:
        raise UserError(sentence)


def part(columns: int) -> slice:
    """Which of so many columns are this rank's.

    The ranks' parts do not overlap, cover all columns, and differ by one column at most; with more ranks than
    columns some are empty.
    """
    ranks, own = world(), rank() if world() > 1 else 0
    return slice(columns * own // ranks, columns * (own + 1) // ranks)


def share(columns: Tensor) -> Tensor:
    """This rank's columns of (rows, columns)."""
    return columns[:, part(columns.shape[1])]


def whole(mine: Tensor, columns: int) -> Tensor:
    """The ranks' parts (1, own columns, width) put together again: (1, columns, width), on every rank."""
    if world() == 1:
        return mine
    everyones = mine.new_zeros(mine.shape[0], columns, mine.shape[2])
    everyones[:, part(columns)] = mine
    with _in_company():
        distributed.all_reduce(everyones)
    return everyones


def total(value: Tensor) -> float:
    """The sum of a 0-d tensor over all ranks."""
    if world() == 1:
        return float(value)
    summed = value.detach().clone()
    with _in_company():
        distributed.all_reduce(summed)
    return float(summed)


def from_first(thing: Any) -> Any:
    """The first rank's `thing`, anything that pickles, on every rank."""
    if world() == 1:
        return thing
    box = [thing]
    with _in_company():
        distributed.broadcast_object_list(box, src=0)
    return box[0]


def copy_first(model: nn.Module) -> None:
    """Give every rank's model the first one's weights."""
    if world() > 1:
        with _in_company():
            for parameter in model.parameters():
                distributed.broadcast(parameter.detach(), src=0)


def sum_gradients(parameters: Iterable[nn.Parameter], wishes: list[bool]) -> list[bool]:
    """Put the sum over all ranks in place of each gradient; answers of each wish whether any rank has it.

    The wishes travel with the gradients, so that ranks agree on something at every step without talking once
    more. Dense gradients go as one flat vector. A sparse gradient goes as the rows it holds: a rank sends the
    words of its own batch, not the vocabulary. A parameter's gradient is sparse on all ranks or on none; one
    that is missing, because the rank's batch did not use the parameter, counts as zeros.
    """
    if world() == 1:
        return wishes
    sparse: list[nn.Parameter] = []
    dense: list[nn.Parameter] = []
    for parameter in parameters:
        is_sparse = parameter.grad is not None and parameter.grad.is_sparse
        (sparse if is_sparse else dense).append(parameter)
    _sum_sparse(sparse)
    return _sum_dense(dense, wishes)


def _sum_dense(parameters: list[nn.Parameter], wishes: list[bool]) -> list[bool]:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    wished = gradients[0].new_tensor([float(wish) for wish in wishes])
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), wished])
    with _in_company():
        distributed.all_reduce(flat)
    *summed, wished = torch.split(flat, [*(p.numel() for p in parameters), len(wishes)])
    for parameter, gradient in zip(parameters, summed, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return [count > 0 for count in wished.tolist()]


def _sum_sparse(parameters: list[nn.Parameter]) -> None:
    if not parameters:
        return
    gradients = [p.grad.coalesce() for p in parameters if p.grad is not None]
    counts = torch.tensor([len(gradient.values()) for gradient in gradients], device=gradients[0].device)
    counts_of_ranks = torch.stack(_gather(counts)).T.tolist()
    for parameter, gradient, counts_here in zip(parameters, gradients, counts_of_ranks, strict=True):
        most = max(counts_here)
        rows = _joined_up(_lengthened(gradient.indices()[0], most), counts_here)
        values = _joined_up(_lengthened(gradient.values(), most), counts_here)
        summed = torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape, check_invariants=False)
        parameter.grad = summed.coalesce()


def _lengthened(tensor: Tensor, length: int) -> Tensor:
    """`tensor` with zeros after its own entries: what is gathered must be as long on every rank."""
    longer = tensor.new_zeros(length, *tensor.shape[1:])
    longer[: len(tensor)] = tensor
    return longer


def _joined_up(tensor: Tensor, counts: list[int]) -> Tensor:
    """Of every rank's `tensor` the first entries, as many as its count, one rank's after another's."""
    return torch.cat([theirs[:count] for theirs, count in zip(_gather(tensor), counts, strict=True)])


def _gather(tensor: Tensor) -> list[Tensor]:
    """Every rank's tensor of the same shape, by rank."""
    tensors = [torch.empty_like(tensor) for _ in range(world())]
    with _in_company():
        distributed.all_gather(tensors, tensor)
    return tensors


def _everyones(thing: Any) -> list[Any]:
    """Every rank's `thing`, by rank."""
    if world() == 1:
        return [thing]
    things = [None] * world()
    with _in_company():
        distributed.all_gather_object(things, thing)
    return things


@contextlib.contextmanager
def _in_company() -> Iterator[None]:
    """Raises RankLost where another rank is gone, which gloo and NCCL tell as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        cause, _, _ = str(error).partition("\n")
        raise RankLost(
            "The training's processes lost touch with each other: one of them ended early, and the log of "
            f"its host says why, or the network failed ({cause})."
        ) from error
