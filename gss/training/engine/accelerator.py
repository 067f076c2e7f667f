"""Configuration of accelerate, and seeding of random numbers."""

import random

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

from gss.config.shared import TrainConfig
from gss.core.errors import InputError


def build_accelerator(train: TrainConfig) -> Accelerator:
    """Build the accelerator of a run; it places and wraps the model, precision is up to `Precision`.

    Args:
        train: batch size and accumulation.

    Returns:
        Accelerator for the processes and devices that the launcher gave.

    Raises:
        InputError: the global batch does not split evenly over processes and micro-batches.
    """
    accelerator = Accelerator(
        mixed_precision="no",
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
        seed: seed of the run.
        step: optimizer step, counted from 0.
        process: number of the process.
    """
    low, high = np.random.SeedSequence([seed, step, process]).generate_state(2, np.uint32).tolist()
    random.seed(low)
    np.random.seed(low)
    torch.manual_seed((high << 31) + low)  # seeds the GPUs as well
