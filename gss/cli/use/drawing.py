"""What the commands share that draw masks."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gss.cli.parser import add_device, count, count_or_none, run_size

if TYPE_CHECKING:
    from gss.jobs.sampling.files import Draws, Failure
    from gss.pipeline.pipeline import GSSPipeline

ORDERS = ("halton", "confidence", "random", "spread_entropy")
SCHEDULES = ("arccos", "cosine", "linear", "geometric")
"""Those of `gss.pipeline.sampling`, whose import takes long."""


def add_sampling(parser: ArgumentParser, *, n: int, what: str, settings: Mapping[str, Any], steps: int = 8) -> None:
    """Add `-n`, `--steps`, `--seed`, `--device` and the settings of the scheduler.

    Args:
        parser: parser of the command.
        n: default of `-n`.
        what: what n counts.
        settings: default settings of the scheduler, those of `gss.pipeline.sampling.defaults`.
        steps: default of `--steps`.
    """
    parser.add_argument("-n", type=count, default=n, metavar="N", help=f"{what} (default: %(default)s)")
    help = "steps; in each, some unknown cells are drawn given all others (default: %(default)s)"
    parser.add_argument("--steps", type=count, default=steps, metavar="S", help=help)
    parser.add_argument("--seed", type=count_or_none, default=0, help="seed of all draws (default: %(default)s)")
    help = "order in which cells are drawn (default: %(default)s)"
    parser.add_argument("--order", choices=ORDERS, default="halton", help=help)
    help = "how the number of unknown cells falls (default: %(default)s)"
    parser.add_argument("--schedule", choices=SCHEDULES, default=settings.get("schedule", "arccos"), help=help)
    help = "divisor of the token logits, 0 for the most probable token (default: %(default)s)"
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help=help)
    help = "the same in the second half of the steps (default: %(default)s; that of --temperature if none)"
    late = settings.get("late_temperature")
    parser.add_argument("--late-temperature", type=float, default=late, metavar="T", help=help)
    help = "how much drawn cells count for the others, beside given ones, from 0 to 1 (default: %(default)s)"
    parser.add_argument("--trust", type=float, default=settings.get("trust", 1.0), metavar="A", help=help)
    help = "share of the probability that tokens are drawn from (default: %(default)s)"
    parser.add_argument("--top-p", type=float, default=settings.get("top_p", 1.0), metavar="P", help=help)
    help = "times that the least certain cells are drawn again, given the rest (default: %(default)s)"
    parser.add_argument("--sweeps", type=count_or_none, default=0, metavar="N", help=help)
    add_device(parser)


def add_run_size(parser: ArgumentParser) -> None:
    """Add `--size`."""
    help = "size to run at: HxW, the length of the short side, or native (default: the scale of training)"
    parser.add_argument("--size", type=run_size, metavar="SIZE", help=help)


def check_sampling(args: Namespace) -> None:
    """Require settings of the scheduler that are in range.

    Raises:
        InputError: one is not.
    """
    from gss.core.errors import InputError

    for name, value in (("--temperature", args.temperature), ("--late-temperature", args.late_temperature)):
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"{name} is {value:g}; it must be a number of at least 0")
    if not 0 <= args.trust <= 1:
        raise InputError(f"--trust is {args.trust:g}; it must be a number from 0 to 1")
    if not 0 < args.top_p <= 1:
        raise InputError(f"--top-p is {args.top_p:g}; it must be a number above 0 and up to 1")


def load(args: Namespace, what: str) -> tuple[GSSPipeline, Draws]:
    """Load a pipeline that can sample, and return how it does.

    Raises:
        InputError: the pipeline has no joint prior, or a setting is out of range.
    """
    from gss.cli.runtime import parse_device
    from gss.jobs.sampling.files import Draws
    from gss.pipeline.loading import load_pipeline
    from gss.pipeline.sampling.arguments import need_joint
    from gss.pipeline.sampling.scheduler import TokenScheduler

    pipeline = load_pipeline(args.pipeline, device=parse_device(args.device), stage="joint")
    joint = need_joint(pipeline.joint, pipeline.likelihood, what)
    scheduler = TokenScheduler(
        mask_token_id=joint.mask_token,
        order=args.order,
        schedule=args.schedule,
        temperature=args.temperature,
        late_temperature=args.late_temperature,
        trust=args.trust,
        top_p=args.top_p,
        corrector_sweeps=args.sweeps,
    )
    return pipeline, Draws(args.n, args.steps, args.seed, scheduler, args.size)


def report(failed: Sequence[Failure], done: str) -> int:
    """Print failures and what was done; return 1 when an item failed."""
    from gss.core.distributed import is_main

    if is_main():
        for failure in failed:
            text = failure.error if failure.name in failure.error else f"{failure.name}: {failure.error}"
            print(f"gss: error: {text}", file=sys.stderr)
        print(done)
    return 1 if failed else 0
