"""`TokenScheduler` against the AmusedScheduler of diffusers: completion, given tokens, distribution, time.

    python scripts/bench_sampling.py [--quick] [--json FILE]

1. Unknown cells after each step, of 400 cells of which 40 are unknown: AmusedScheduler counts all cells of the grid
   unless it is told their share.
2. Runs in which a given token was changed, in batches of a known and a half-known grid.
3. Total variation between the frequencies of sampled grids and a joint distribution that can be enumerated, with the
   exact conditionals in the place of a network and as many steps as cells; sampling noise alone gives the last row.
4. Processor time of the steps of one sampling of 4 grids of 48x64 cells and 256 codes, ours and the peer in turns.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AmusedScheduler
from torch import Tensor

from gss.core.files import write_json
from gss.pipeline.sampling.scheduler import TokenScheduler

Steps = Callable[[Tensor, Callable[[Tensor], Tensor], int, torch.Generator], list[Tensor]]


def ours(tokens: Tensor, logits: Callable[[Tensor], Tensor], steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return the tokens after each step of `TokenScheduler`."""
    scheduler = TokenScheduler(mask_token_id=logits(tokens).shape[1])
    scheduler.set_timesteps(steps)
    scheduler.begin(tokens, generator=generator)
    after = []
    for timestep in scheduler.timesteps:
        tokens = scheduler.step(logits(tokens), timestep, tokens, generator=generator).prev_sample
        after.append(tokens)
    return after


def amused(share: str) -> Steps:
    """Return the steps of AmusedScheduler.

    Args:
        share: "default" for a starting mask ratio of 1; "given" for that of each item.
    """

    def run(tokens: Tensor, logits: Callable[[Tensor], Tensor], steps: int, generator: torch.Generator) -> list[Tensor]:
        mask_token = logits(tokens).shape[1]
        scheduler = AmusedScheduler(mask_token_id=mask_token)
        scheduler.set_timesteps(steps)
        unknown = (tokens == mask_token).flatten(1).float().mean(1, keepdim=True)
        options = {} if share == "default" else {"starting_mask_ratio": unknown}
        after = []
        for timestep in scheduler.timesteps:
            output = scheduler.step(logits(tokens), timestep, tokens, generator=generator, **options)
            tokens = output.prev_sample
            after.append(tokens)
        return after

    return run


SCHEDULERS: dict[str, Steps] = {
    "TokenScheduler": ours,
    "AmusedScheduler": amused("default"),
    "AmusedScheduler, share given": amused("given"),
}


def unknown_counts(run: Steps) -> str:
    """Return the numbers of unknown cells after each of four steps."""
    tokens = torch.zeros(1, 20, 20, dtype=torch.int64)
    tokens.view(-1)[torch.randperm(400, generator=torch.Generator().manual_seed(0))[:40]] = 16
    noise = torch.randn(1, 16, 20, 20, generator=torch.Generator().manual_seed(1))
    after = run(tokens, lambda _: noise, 4, torch.Generator().manual_seed(2))
    return " / ".join(str(int((part == 16).sum())) for part in after)


def changed_runs(run: Steps, runs: int) -> str:
    """Return how many runs changed a given token."""
    changed = 0
    for seed in range(runs):
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(16, (2, 8, 8), generator=generator)
        tokens[1, :4] = 16
        given = tokens != 16
        logits = torch.randn(2, 16, 8, 8, generator=generator)
        after = run(tokens, lambda _: logits, 8, generator)[-1]  # noqa: B023
        changed += not torch.equal(after[given], tokens[given])
    return f"{changed} of {runs}"


class Enumerated:
    """A joint distribution over all 81 grids of 2x2 cells and 3 codes."""

    def __init__(self) -> None:
        self.grids = torch.tensor(list(itertools.product(range(3), repeat=4)))
        noise = torch.randn(81, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.probabilities = (1.5 * noise).softmax(0)
        self._hot = torch.nn.functional.one_hot(self.grids, 3).double()

    def logits(self, tokens: Tensor) -> Tensor:
        """Return log p(z_i | known), `[B, 3, 2, 2]`."""
        flat = tokens.flatten(1)
        fits = ((flat[:, None] == self.grids[None]) | (flat == 3)[:, None]).all(2) * self.probabilities
        chances = torch.einsum("bg,gnv->bvn", fits / fits.sum(1, keepdim=True), self._hot)
        return chances.clamp(min=1e-12).log().float().view(-1, 3, 2, 2)

    def variation(self, samples: Tensor) -> float:
        """Return the total variation between the frequencies of samples `[B, 2, 2]` and the distribution."""
        index = (samples.flatten(1) * torch.tensor([27, 9, 3, 1])).sum(1)
        found = torch.bincount(index, minlength=81).double() / len(samples)
        return float((found - self.probabilities).abs().sum() / 2)


def seconds(runs: dict[str, Steps], repeats: int, quick: bool) -> dict[str, float]:
    """Return the median processor time of one sampling."""
    items, codes, height, width = (2, 64, 12, 16) if quick else (4, 256, 48, 64)
    tokens = torch.full((items, height, width), codes)
    noise = torch.randn(items, codes, height, width, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            run(tokens, lambda _: noise, 8, torch.Generator().manual_seed(1))
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", help="write the numbers here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs, count = (10, 500) if args.quick else (200, 40_000)

    world, rows = Enumerated(), []
    times = seconds({name: SCHEDULERS[name] for name in list(SCHEDULERS)[:2]}, 2 if args.quick else 3, args.quick)
    for name, run in SCHEDULERS.items():
        samples = run(torch.full((count, 2, 2), 3), world.logits, 4, torch.Generator().manual_seed(0))[-1]
        row: dict[str, Any] = {
            "scheduler": name,
            "unknown": unknown_counts(run),
            "changed": changed_runs(run, runs),
            "variation": round(world.variation(samples), 4),
            "seconds": times.get(name),
        }
        rows.append(row)
    draws = torch.multinomial(world.probabilities, count, True, generator=torch.Generator().manual_seed(0))
    noise = world.variation(world.grids[draws].view(-1, 2, 2))
    rows.append({"scheduler": "exact draws", "unknown": "", "changed": "", "variation": round(noise, 4)})

    print("| scheduler | unknown after each step | given tokens changed | total variation | processor time, s |")
    print("|---|---|---|--:|--:|")
    for row in rows:
        spent = "" if row.get("seconds") is None else f"{row['seconds']:.3f}"
        print(f"| {row['scheduler']} | {row['unknown']} | {row['changed']} | {row['variation']} | {spent} |")
    if args.json:
        write_json(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
