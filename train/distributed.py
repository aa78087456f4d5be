"""Several processes that train one student: who this process is, and how a batch is shared out and put together again.

Started by `torchrun` or `accelerate launch`; without them every function here is that of a single process and costs
nothing. Every rank sees the whole batch's vectors, so losses, queues and random draws are the same on all of them and
the same as in one process. Knows no objective and no files' content.
"""

import datetime as dt
import os
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from train.batches import Rows
from train.errors import DiscoError, LaunchError

_VARIABLES = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}

# How long a rank waits for the others within a step before it gives up. The end of a process is noticed at once by
# its launcher; this is for machines and networks that fall silent.
_STEP_TIMEOUT = dt.timedelta(minutes=30)
# Rank 0 may have a corpus to tokenise or another run to wait for while the others have nothing to do.
_PATIENCE = dt.timedelta(days=1)

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Member:
    rank: int
    size: int
    patient: dist.ProcessGroup
    """The same processes once more, for waiting long; its messages are Python objects, not tensors."""


_member: ContextVar[_Member | None] = ContextVar("member", default=None)


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that the environment tells of, if it does, for the length of the block.

    Raises:
        LaunchError: there are more processes than GPUs on this machine.
    """
    if not os.environ.keys() >= _VARIABLES:
        yield
        return
    member = _join()
    token = _member.set(member)
    try:
        yield
    finally:
        _member.reset(token)
    # Not after an error: the other ranks may wait for this one, and it must not wait for them.
    dist.destroy_process_group()


def rank() -> int:
    """The number of this process; 0 is the one that writes."""
    member = _member.get()
    return member.rank if member else 0


def world_size() -> int:
    """How many processes there are."""
    member = _member.get()
    return member.size if member else 1


def is_first() -> bool:
    """Whether this process is the one that writes, prints and scores."""
    return rank() == 0


def on_first(make: Callable[[], Result]) -> Result:
    """What `make()` gives on rank 0, on every rank; the others do not call it, but wait.

    Raises:
        DiscoError: what `make` raised, on every rank.
    """
    member = _member.get()
    if member is None:
        return make()
    box: list[Any] = [None]
    if member.rank == 0:
        try:
            with forked_random_state():  # the others draw nothing meanwhile
                box = [make()]
        except DiscoError as error:
            box = [error]
    dist.broadcast_object_list(box, src=0, group=member.patient)
    if isinstance(box[0], DiscoError):
        raise box[0]
    result: Result = box[0]
    return result


def make_shared(make: Callable[[], Path]) -> Path:
    """A file or folder that rank 0 makes, or finds, for all to read.

    Raises:
        LaunchError: this machine does not see it.
    """
    path = on_first(lambda: make().resolve())
    if not path.exists():
        raise LaunchError(
            f"rank {rank()} on {socket.gethostname()} does not see {path}, which rank 0 made: machines that train "
            "together need --out and DISCO_CACHE on a file system that all of them share"
        )
    return path


def in_shares(compute: Callable[[Rows], Tensor], rows: Rows) -> Tensor:
    """`compute(rows)`, one row of a tensor for each of `rows`, but every rank computes only a share of them.

    The result is whole and in order on every rank, and carries gradients to each rank's own share in such a way that
    the mean over ranks (`average_gradients`) is the gradient one process would have.
    Random numbers that `compute` draws, as dropout does, differ between ranks and leave the common random state alone.
    """
    member = _member.get()
    if member is None:
        return compute(rows)
    # Shares are of equal size, as gathering wants it: the last row is repeated and its repetitions are dropped.
    size = -(-len(rows) // member.size)
    share = rows[np.minimum(np.arange(size) + member.rank * size, len(rows) - 1)]
    with _own_randomness(rows):
        own = compute(share).contiguous()
    if own.requires_grad:
        # Every rank has the whole loss and so the whole gradient of it, but passes on its own rows' only; what is
        # trained after this point (a temperature) has the whole. Times the number of ranks, a mean is right for both.
        own.register_hook(lambda gradient: gradient * member.size)
    parts = [torch.empty_like(own) for _ in range(member.size)]
    dist.all_gather(parts, own.detach())
    parts[member.rank] = own
    return torch.cat(parts)[: len(rows)]


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the ranks, in one exchange."""
    if (member := _member.get()) is None:
        return
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    flat = nn.utils.parameters_to_vector(gradients)
    dist.all_reduce(flat)
    nn.utils.vector_to_parameters(flat / member.size, gradients)


@torch.no_grad()
def copy_from_first(module: nn.Module) -> None:
    """Give `module` rank 0's weights and buffers: what is drawn at random must begin alike everywhere."""
    if _member.get() is None:
        return
    for tensor in module.state_dict().values():
        dist.broadcast(tensor, src=0)


def forked_random_state() -> AbstractContextManager[None]:
    """Whatever is drawn inside leaves no trace outside."""
    forked: AbstractContextManager[None] = torch.random.fork_rng(
        [torch.cuda.current_device()] if torch.cuda.is_available() else []
    )
    return forked


def _join() -> _Member:
    local_rank = int(os.environ["LOCAL_RANK"])
    backend = "gloo"
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise LaunchError(
                f"local rank {local_rank}, but {socket.gethostname()} has {torch.cuda.device_count()} GPUs: start "
                "one process per GPU (--nproc-per-node)"
            )
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_STEP_TIMEOUT)
    patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
    return _Member(dist.get_rank(), dist.get_world_size(), patient)


@contextmanager
def _own_randomness(rows: Rows) -> Iterator[None]:
    """Inside, random numbers depend on rank and batch; the state outside stays what it is on all ranks."""
    with forked_random_state():
        common = int(torch.randint(2**31, (), device="cpu"))
        torch.manual_seed(common + zlib.crc32(rows.tobytes(), rank()))
        yield
