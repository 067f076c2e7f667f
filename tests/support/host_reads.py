"""Counting what would make a program wait for its GPU, on a CPU."""

from torch.utils._python_dispatch import TorchDispatchMode


class HostReads(TorchDispatchMode):
    """Counter of the operators that copy a value of the device to the host, or wait for sizes that depend on values.

    On a GPU each of them is a synchronisation; on a CPU they can be counted without one.
    """

    NAMES = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "is_nonzero", "equal", "bincount")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().removeprefix("aten::").split(".")[0]
        self.names += [name] if name.startswith(self.NAMES) else []
        return function(*args, **(kwargs or {}))
