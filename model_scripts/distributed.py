"""Data-parallel training under torchrun: one process (a rank) per device, on any number of hosts.

    columns of a batch     0 1 2 3 4 5 6
    3 ranks read           0 0 1 1 2 2 2

Each rank computes the gradient of its columns' part of the mean loss. The parts are summed over the ranks and
all ranks take the same step from the same weights, so the models stay equal. Tensors travel by gloo between
processors and by NCCL between GPUs. Without torchrun there is one rank, and these functions cost nothing.

    S. Li et al., PyTorch Distributed, arXiv 2006.15704. Its DistributedDataParallel cannot sum sparse
    gradients over NCCL, and takes the mean over ranks, which here have unequal numbers of columns.

Only the first rank writes files and logs. The first rank of each host reports errors.
"""

import contextlib
import itertools
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn

from user_error import UserError

T = TypeVar("T")

VALUES_AT_ONCE = 2**22
"""How many values of a text travel at once."""


OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")
"""Parts of torch's and NCCL's messages about a GPU or a host without free memory."""


class RankLost(Exception):
    """Another process of the job ended early or cannot be reached. The message is a sentence."""


def rank() -> int:
    """Return this process's number among the job's processes, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Return whether this process writes files and logs."""
    return rank() == 0


def is_first_of_host() -> bool:
    """Return whether this process reports errors for its host."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device() -> torch.device:
    """Return this rank's GPU, or the CPU if the host has no GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Connect the ranks that torchrun started."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    interface = os.environ.get("SM_NETWORK_INTERFACE_NAME")
    if interface:
        # The toolkit tells NCCL which interface connects the hosts, but not gloo.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    if device().type == "cuda":
        torch.cuda.set_device(device())
        # Otherwise NCCL's watchdog ends the process before it can say why. With 2, the watchdog only gives up
        # the connection, and the next call raises an error (PyTorch's list of NCCL environment variables).
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "2")
    with _detect_lost_rank():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device().type == "cuda" else "gloo")
    yield
    # Do not call this after an error: the other ranks may have ended, and this call would wait for them.
    distributed.destroy_process_group()


@contextlib.contextmanager
def shared_errors() -> Iterator[None]:
    """Raise a UserError on every rank if any rank raises one."""
    own = None
    try:
        yield
    except UserError as error:
        own = str(error)
    message = next((message for message in gather_objects(own) if message), None)
    if message:
        raise UserError(message)


def own_share(parts: Sequence[T]) -> T:
    """Return this rank's part of as many parts as there are ranks."""
    return parts[rank() if world_size() > 1 else 0]


def own_columns(columns: int) -> slice:
    """Return which of so many columns are this rank's.

    The ranks' slices do not overlap, cover all columns, and differ in length by at most one. If there are
    more ranks than columns, some slices are empty.
    """
    ranks, own = world_size(), rank() if world_size() > 1 else 0
    return slice(columns * own // ranks, columns * (own + 1) // ranks)


def gather_columns(own: Tensor, columns: int) -> Tensor:
    """Return all ranks' columns, (1, columns, width), from this rank's (1, own columns, width)."""
    if world_size() == 1:
        return own
    gathered = own.new_zeros(own.shape[0], columns, own.shape[2])
    gathered[:, own_columns(columns)] = own
    with _detect_lost_rank():
        distributed.all_reduce(gathered)
    return gathered


def sum_over_ranks(value: Tensor) -> float:
    """Return the sum of a 0-d tensor over all ranks."""
    if world_size() == 1:
        return float(value)
    summed = value.detach().clone()
    with _detect_lost_rank():
        distributed.all_reduce(summed)
    return float(summed)


def confirm_sums(device: torch.device) -> None:
    """Raise RankLost if an earlier sum over the ranks failed. Call this before saving what depends on one.

    NCCL's errors come late: a sum that failed leaves wrong numbers, and only a call after it raises.
    """
    for _ in range(2):
        sum_over_ranks(torch.zeros((), device=device))


def sum_numbers(number: int) -> int:
    """Return the sum of a whole number over all ranks."""
    if world_size() == 1:
        return number
    summed = torch.tensor(number, dtype=torch.int64)
    with _detect_lost_rank():
        distributed.all_reduce(summed)
    return int(summed)


def broadcast(thing: Any, source: int = 0) -> Any:
    """Return a rank's `thing`, which must be picklable, on every rank."""
    if world_size() == 1:
        return thing
    box = [thing]
    with _detect_lost_rank():
        distributed.broadcast_object_list(box, src=source)
    return box[0]


def gather_objects(thing: Any) -> list[Any]:
    """Return the things of all ranks, by rank."""
    if world_size() == 1:
        return [thing]
    things = [None] * world_size()
    with _detect_lost_rank():
        distributed.all_gather_object(things, thing)
    return things


def exchange(things: Sequence[Any]) -> list[Any]:
    """Send the n-th thing, which must be picklable, to the n-th rank.

    Returns:
        The things that the ranks sent to this one, by rank.
    """
    if world_size() == 1:
        return list(things)
    sent = [pickle.dumps(thing) for thing in things]
    sizes = torch.tensor([len(one) for one in sent])
    their_sizes = torch.empty_like(sizes)
    with _detect_lost_rank():
        distributed.all_to_all_single(their_sizes, sizes)
        received = torch.empty(int(their_sizes.sum()), dtype=torch.uint8)
        distributed.all_to_all_single(
            received,
            torch.frombuffer(bytearray(b"".join(sent)), dtype=torch.uint8),
            their_sizes.tolist(),
            sizes.tolist(),
        )
    return [pickle.loads(part.numpy().tobytes()) for part in torch.split(received, their_sizes.tolist())]  # noqa: S301


def exchange_stretches(own: npt.NDArray[Any], target: npt.NDArray[Any], begin: int) -> None:
    """Fill each rank's `target` with its stretch of a text, of which each rank has another one.

    Args:
        own: This rank's stretch. Those of all ranks, one after another, are the text.
        target: Gets the values from `begin` on.
        begin: A place in the text.
    """
    lengths = gather_objects(len(own))
    ends = list(itertools.accumulate(lengths))
    needs = gather_objects(range(begin, begin + len(target)))
    for source, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        for receiver, needed in enumerate(needs):
            first, last = max(end - length, needed.start), min(end, needed.stop)
            for place in range(first, last, VALUES_AT_ONCE):
                values = slice(place, min(place + VALUES_AT_ONCE, last))
                _send(source, receiver, own, end - length, target, begin, values)


def _send(
    source: int,
    receiver: int,
    own: npt.NDArray[Any],
    own_begin: int,
    target: npt.NDArray[Any],
    target_begin: int,
    places: slice,
) -> None:
    """Copy values from one rank to another, or within one. Other ranks do nothing."""
    sent = own[places.start - own_begin : places.stop - own_begin] if rank() == source else None
    if rank() == receiver:
        got = target[places.start - target_begin : places.stop - target_begin]
        if sent is not None:
            got[:] = sent
            return
        buffer = torch.from_numpy(np.empty_like(got))
        with _detect_lost_rank():
            distributed.recv(buffer, source)
        got[:] = buffer.numpy()
    elif sent is not None:
        with _detect_lost_rank():
            distributed.send(torch.from_numpy(np.array(sent)), receiver)


def broadcast_weights(model: nn.Module) -> None:
    """Copy the first rank's weights into every rank's model."""
    if world_size() > 1:
        with _detect_lost_rank():
            for parameter in model.parameters():
                distributed.broadcast(parameter.detach(), src=0)


def sum_gradients(parameters: Iterable[nn.Parameter], flags: list[bool]) -> list[bool]:
    """Replace each gradient by its sum over all ranks, and return each flag's `or` over all ranks.

    Dense gradients travel as one flat vector, sparse ones as the rows they hold: a rank sends the words of
    its own batch, not the vocabulary. The flags travel at the same time, between processors: to read them
    from the vector, the host would wait for its GPU.

    Args:
        parameters: A parameter's gradient is sparse on all ranks or on none. A missing gradient, of a
            parameter that the rank's batch did not use, counts as zeros.
        flags: The same number on each rank.
    """
    if world_size() == 1:
        return flags
    sparse: list[nn.Parameter] = []
    dense: list[nn.Parameter] = []
    for parameter in parameters:
        is_sparse = parameter.grad is not None and parameter.grad.is_sparse
        (sparse if is_sparse else dense).append(parameter)
    _sum_sparse(sparse)
    return _sum_dense(dense, flags)


def _sum_dense(parameters: list[nn.Parameter], flags: list[bool]) -> list[bool]:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    counts = torch.tensor([int(flag) for flag in flags])
    with _detect_lost_rank():
        agreed = distributed.all_reduce(counts, async_op=True)
        distributed.all_reduce(flat)
        agreed.wait()
    summed = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, gradient in zip(parameters, summed, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return [count > 0 for count in counts.tolist()]


def _sum_sparse(parameters: list[nn.Parameter]) -> None:
    if not parameters:
        return
    gradients = [p.grad.coalesce() for p in parameters if p.grad is not None]
    counts = torch.tensor([len(gradient.values()) for gradient in gradients], device=gradients[0].device)
    counts_by_parameter = torch.stack(_all_gather(counts)).T.tolist()
    for parameter, gradient, rank_counts in zip(parameters, gradients, counts_by_parameter, strict=True):
        rows = _concatenate(gradient.indices()[0], rank_counts)
        values = _concatenate(gradient.values(), rank_counts)
        summed = torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape, check_invariants=False)
        parameter.grad = summed.coalesce()


def _concatenate(tensor: Tensor, counts: list[int]) -> Tensor:
    """Return every rank's tensor, one after another. counts: their lengths, by rank."""
    # all_gather needs the same length on every rank.
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    return torch.cat([part[:count] for part, count in zip(_all_gather(padded), counts, strict=True)])


def _all_gather(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of all ranks, which have the same shape, by rank."""
    tensors = [torch.empty_like(tensor) for _ in range(world_size())]
    with _detect_lost_rank():
        distributed.all_gather(tensors, tensor)
    return tensors


@contextlib.contextmanager
def _detect_lost_rank() -> Iterator[None]:
    """Raise RankLost if another rank is gone, which gloo and NCCL report as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        cause, _, _ = str(error).partition("\n")
        raise RankLost(
            "The job's processes lost the connection to each other: one of them ended early, and the log of "
            f"its host says why, or the network failed ({type(error).__name__}: {cause}). If no log names a "
            "cause, start the run again."
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a GPU or a host had no memory left. Most of torch's errors for it are RuntimeErrors."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        part in str(error) for part in OUT_OF_MEMORY
    )
