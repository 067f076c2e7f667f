"""Number of processes, and collectives between them.

Everything works in one process too, so callers need not know whether a launcher was used. Under
`accelerate launch --multi_gpu` or `torchrun` the process group is opened by the first call. On CPUs
`accelerate launch` starts one process only: use `ACCELERATE_USE_CPU=true torchrun --nproc_per_node N`.
"""

import atexit
import gc
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.distributed
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor

from gss.core.errors import InputError

T = TypeVar("T")

_leaves_group_at_exit = False


def _state() -> PartialState:
    global _leaves_group_at_exit
    # Unlike Accelerator, a bare PartialState ignores this variable and would take every process for the only one.
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    if state.num_processes > 1 and state.backend == "gloo" and not _leaves_group_at_exit:
        atexit.register(_leave_group)
        _leaves_group_at_exit = True
    return state


def _leave_group() -> None:
    # Threads of gloo that live on while the interpreter is torn down now and then abort the process, and
    # they live as long as anything (a DDP wrapper in a reference cycle) holds the group.
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def device() -> torch.device:
    """Return the device of this process."""
    return _state().device


def process_index() -> int:
    """Return the number of this process, 0 for the main one."""
    return _state().process_index


def num_processes() -> int:
    """Return the number of processes of the job, over all machines."""
    return _state().num_processes


def is_main() -> bool:
    """Tell if this is the process that prints and writes files."""
    return _state().is_main_process


def shard(n: int) -> range:
    """Return the share of `range(n)` that belongs to this process.

    The shares are strided, disjoint, cover everything and differ in length by at most one.

    Args:
        n: number of items of the whole job, at least 0.

    Returns:
        The item numbers of this process, ascending.
    """
    return range(process_index(), n, num_processes())


def sum_across(tensor: Tensor) -> Tensor:
    """Sum a tensor of one shape over all processes.

    Args:
        tensor: tensor of any shape, numeric dtype and device; it is not written to.

    Returns:
        A new tensor with the total, equal on every process, on the device of the argument.
    """
    total = tensor.detach().clone()
    if num_processes() > 1:
        total = total.to(_state().device).contiguous()
        torch.distributed.all_reduce(total)
    return total.to(tensor.device)


def gather_objects(obj: T) -> list[T]:
    """Collect one picklable object from each process.

    Args:
        obj: contribution of this process.

    Returns:
        The contributions in process order, the same list on every process.
    """
    if num_processes() == 1:
        return [obj]
    gathered: list[T | None] = [None] * num_processes()
    torch.distributed.all_gather_object(gathered, obj)
    return gathered  # type: ignore[return-value]


def run_on_main(action: Callable[[], object]) -> None:
    """Run something on the main process only, such as a check of a folder that the other processes would find changed.

    Args:
        action: function to call.

    Raises:
        InputError: on every process, when `action` raised one.
    """
    error: str | None = None
    if is_main():
        try:
            action()
        except InputError as refused:
            error = str(refused)
    reason = gather_objects(error)[0]
    if reason is not None:
        raise InputError(reason)


def copy_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors in place with the values of the main process.

    Args:
        tensors: tensors of the same shapes on every process, on the device of the process.
    """
    if num_processes() > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.detach(), src=0)


def barrier() -> None:
    """Wait until every process has come here."""
    _state().wait_for_everyone()
