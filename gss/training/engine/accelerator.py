"""The one place where accelerate is configured, and where random numbers are seeded."""

import random

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

from gss.config.shared import TrainConfig
from gss.core.errors import InputError, did_you_mean

PRECISIONS = ("no", "bf16", "fp16")


def build_accelerator(train: TrainConfig) -> Accelerator:
    """Build the accelerator of a run.

    Args:
        train: Precision and accumulation are read.

    Returns:
        An accelerator for the processes and devices that the launcher gave.

    Raises:
        ValueError: For an unknown precision, fp16 without an accelerator device, or a global batch that
            does not split evenly over processes and micro-batches.
    """
    if train.precision not in PRECISIONS:
        hint = did_you_mean(train.precision, PRECISIONS)
        raise InputError(f"train.precision={train.precision!r} is not one of {', '.join(PRECISIONS)}; {hint}")
    # The state is a process-wide singleton that refuses another precision; two stages may run in one process.
    AcceleratorState._reset_state()
    if train.precision == "fp16" and not torch.cuda.is_available():
        raise InputError("train.precision='fp16' needs a GPU; use 'bf16' or 'no' on a CPU")
    accelerator = Accelerator(
        mixed_precision=train.precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=train.accumulate, sync_with_dataloader=False),
        # Loss terms come and go with the step and the configuration, and with them the parameters in use.
        # It also keeps the gradient buckets as they were built, so a resumed run adds in the same order.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    parts = accelerator.num_processes * train.accumulate
    if train.batch_size % parts:
        up = (train.batch_size // parts + 1) * parts
        raise InputError(
            f"train.batch_size={train.batch_size} does not split over {accelerator.num_processes} processes"
            f" x accumulate={train.accumulate}; use a multiple of {parts} such as {up}"
        )
    return accelerator


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed every global generator for one optimizer step of one process.

    The random numbers of a step (dropout, revival of codes, ...) are thus a function of
    (seed, step, process) alone: validation, pictures, or a stop and a resume in between change nothing.

    Args:
        seed: Seed of the run.
        step: Optimizer step, counted from 0.
        process: Number of the process.
    """
    low, high = np.random.SeedSequence([seed, step, process]).generate_state(2, np.uint32).tolist()
    random.seed(low)
    np.random.seed(low)
    torch.manual_seed((high << 31) + low)  # seeds the GPUs as well
