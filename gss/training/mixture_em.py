"""Momentum Sinkhorn-EM: fits the mixtures of a `GMMDensityHead` to a stream of labelled pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gss import distributed
from gss.config_density import MixtureConfig
from gss.mixture import Moments, estimate, moments, seed_means, sinkhorn
from gss.models.density import GMMDensityHead

# A component with less than this share of an even split of its class is started anew.
_EMPTY = 0.05


class MixtureEM(nn.Module):
    """Expectation maximisation with a memory.

    The memory is either the exponential average of the sufficient statistics of each batch (float64 buffers, so
    checkpoints hold them and a resumed run goes on exactly), or, as in GMMSeg, the last pixels of every component:
    bounded, and not part of checkpoints, so a resumed run keeps its mixture until the memory fills again.

    Statistics are summed over processes before they are used: every process ends with the mixture that a single
    one would have found from all pixels.

    Args:
        head: the mixture to fit; it is passed again to each call and not kept.
        cfg: settings.
    """

    count: Tensor
    first: Tensor
    second: Tensor
    updates: Tensor

    def __init__(self, head: GMMDensityHead, cfg: MixtureConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.full = head.config["covariance"] == "low_rank"
        zeros = Moments.zeros(head.num_classes * head.num_components, head.dim, full=self.full)
        self.register_buffer("count", zeros.count)
        self.register_buffer("first", zeros.first)
        self.register_buffer("second", zeros.second)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.fifo: PixelMemory | None = None

    @property
    def statistics(self) -> Moments:
        """The average the M-step reads."""
        return Moments(self.count, self.first, self.second)

    @torch.no_grad()
    def seed(self, head: GMMDensityHead, x: Tensor, classes: Tensor) -> None:
        """Starts the mixtures of classes that occur for the first time, at spread-out pixels.

        Args:
            head: written to.
            x: embedded pixels `[N, E]`.
            classes: int64 `[N]`.
        """
        unseen = ~head.active.any(1)
        if not unseen.any():
            return
        present = distributed.sum_across(torch.bincount(classes, minlength=head.num_classes))
        for c in (unseen & (present > 0)).nonzero()[:, 0].tolist():
            own = x[classes == c]
            seeds = x.new_zeros(0, x.shape[1]) if len(own) == 0 else seed_means(own, head.num_components)
            seeds = _from_fullest(seeds, head.num_components, len(own))
            zero = torch.zeros(len(own), dtype=torch.long, device=x.device)
            spread = moments(own, own.new_ones(len(own), 1), zero, 1).map(distributed.sum_across)
            broad = estimate(spread, covariance="diagonal", variance_floor=head.config["variance_floor"])
            head.means[c, : len(seeds)] = seeds
            head.variances[c] = broad.variances
            head.log_weights[c, : len(seeds)] = -math.log(len(seeds))

    @torch.no_grad()
    def update(self, head: GMMDensityHead, x: Tensor, classes: Tensor, own: Tensor, correct: Tensor) -> Tensor:
        """One E-step, and every `interval` calls an M-step.

        Args:
            head: its mixture is written in place.
            x: embedded pixels `[N, E]`.
            classes: int64 `[N]`, no void.
            own: log-densities `[N, M]` of the components of each pixel's class.
            correct: bool `[N]`; the mixture learns from these pixels only. A class without any statistics yet
                learns from all.

        Returns:
            Component of its class that each pixel belongs to, int64 `[N]`.
        """
        log_q = self.assign(head, own, classes)
        component = log_q.argmax(1)
        count = self.count.view(head.num_classes, -1).sum(1)
        weights = log_q.exp() if self._soft else nn.functional.one_hot(component, head.num_components)
        weights = weights * (correct | (count == 0)[classes])[:, None]
        due = int(self.updates) % self.cfg.interval == 0
        self.updates += 1
        if self.cfg.memory == "fifo":
            if self.fifo is None:
                self.fifo = PixelMemory(len(self.count), self.cfg.fifo_size, x.shape[1], x.device)
            kept = weights.sum(1) > 0
            self.fifo.push(x[kept], (classes * head.num_components + component)[kept], self.cfg.fifo_push)
            if due:
                self._store(self.fifo.moments(full=self.full).map(distributed.sum_across))
        else:
            batch = moments(x, weights, classes, head.num_classes, full=self.full).map(distributed.sum_across)
            self._average(batch, head.num_classes)
        if due:
            self._m_step(head, x, classes)
        return component

    @property
    def _soft(self) -> bool:
        return self.cfg.assignment == "fixed"

    def assign(self, head: GMMDensityHead, own: Tensor, classes: Tensor) -> Tensor:
        """E-step: log probabilities `[N, M]` of the components, balanced if the mixture weights are uniform."""
        if head.config["mixture_weights"] == "learned":
            return (own + head.log_weights[classes]).log_softmax(1)
        return sinkhorn(
            own,
            classes,
            head.num_classes,
            temperature=self.cfg.temperature if self._soft else self.cfg.relative_temperature,
            relative=not self._soft,
            iterations=self.cfg.sinkhorn_iterations,
            sum_across=distributed.sum_across,
            max_across=_max_across,
        )

    def _average(self, batch: Moments, num_classes: int) -> None:
        """Moves the averages of the classes in the batch; others wait, so that rare ones do not fade."""
        seen = batch.count.view(num_classes, -1).sum(1, keepdim=True) > 0
        decay = torch.where(seen, self.cfg.decay, 1.0).expand(-1, len(self.count) // num_classes).flatten()
        decay = decay.to(self.count)
        for kept, new in ((self.count, batch.count), (self.first, batch.first), (self.second, batch.second)):
            weight = decay.view(-1, *[1] * (kept.ndim - 1))
            kept.mul_(weight).add_(new * (1 - weight))

    def _store(self, statistics: Moments) -> None:
        for kept, new in (
            (self.count, statistics.count),
            (self.first, statistics.first),
            (self.second, statistics.second),
        ):
            kept.copy_(new)

    def _m_step(self, head: GMMDensityHead, x: Tensor, classes: Tensor) -> None:
        config, shape = head.config, head.log_weights.shape
        self._reseed(x, classes, shape)
        found = estimate(
            self.statistics,
            covariance=config["covariance"],
            variance_floor=config["variance_floor"],
            rank=config["rank"],
        )
        count = self.count.view(shape)
        update = count > 0
        active = head.active | update
        weights = active.double()
        if config["mixture_weights"] == "learned":
            # A component without pixels keeps a trace of weight, or it could never win one back.
            share = (count / count.sum(1, keepdim=True)).clamp(min=1e-6)
            weights = torch.where(count.sum(1, keepdim=True) > 0, share * weights, weights)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-12)
        head.set_mixture(found, weights.log().to(head.log_weights), update)

    def _reseed(self, x: Tensor, classes: Tensor, shape: torch.Size) -> None:
        """Moves components without pixels to random pixels of their class, with the spread of the whole class."""
        num_classes, components = shape
        count = self.count.view(shape)
        total = count.sum(1, keepdim=True)
        empty = (count < _EMPTY * total / components) & (total > 0)
        if not empty.any():
            return
        present = distributed.sum_across(torch.bincount(classes, minlength=num_classes))
        for c in (empty.any(1) & (present > components)).nonzero()[:, 0].tolist():
            own = x[classes == c]
            slots = empty[c].nonzero()[:, 0]
            picked = own[torch.randperm(len(own), device=x.device)[: len(slots)]]
            picked = _from_fullest(picked, len(slots), len(own)).double()
            group = c * components + slots[: len(picked)]
            rows = slice(c * components, (c + 1) * components)
            mean, square = (sums[rows].sum(0) / self.count[rows].sum() for sums in (self.first, self.second))
            square = square - (mean[:, None] * mean if self.full else mean.square())
            share = total[c] / components
            self.count[group] = share
            self.first[group] = share * picked
            around = picked[:, :, None] * picked[:, None] if self.full else picked.square()
            self.second[group] = share * (square + around)


class PixelMemory:
    """The newest pixels of every component, first in, first out.

    Args:
        groups: number of components J.
        size: pixels kept of each.
        dim: D.
        device: where to.
    """

    def __init__(self, groups: int, size: int, dim: int, device: torch.device) -> None:
        self.pixels = torch.zeros(groups, size, dim, device=device)
        self.fill = torch.zeros(groups, dtype=torch.long, device=device)
        self.pointer = torch.zeros(groups, dtype=torch.long, device=device)

    def push(self, x: Tensor, groups: Tensor, most: int) -> None:
        """Adds pixels `[N, D]` of groups `[N]`, of each at most `most`, evenly spaced in the order given."""
        size = self.pixels.shape[1]
        most = min(most, size)
        ordered, order = groups.sort(stable=True)
        counts = torch.bincount(ordered, minlength=len(self.fill))
        starts = counts.cumsum(0) - counts
        rank = torch.arange(len(ordered), device=x.device) - starts[ordered]
        n = counts[ordered]
        # The i-th of `most` picks is rank floor(i (n - 1) / (most - 1)); which i, if any, picks this rank?
        gaps, steps = (n - 1).clamp(min=1), max(1, most - 1)
        pick = (rank * steps + gaps - 1) // gaps
        chosen = (pick < most) & (pick * gaps // steps == rank)
        few = n <= most
        pick, chosen = torch.where(few, rank, pick), few | chosen
        group, pick = ordered[chosen], pick[chosen]
        self.pixels[group, (self.pointer[group] + pick) % size] = x[order[chosen]]
        added = counts.clamp(max=most)
        self.pointer = (self.pointer + added) % size
        self.fill = (self.fill + added).clamp(max=size)

    def moments(self, *, full: bool) -> Moments:
        """Sufficient statistics of what is kept; slots never filled count nothing."""
        total = Moments.zeros(len(self.fill), self.pixels.shape[2], full=full, device=self.pixels.device)
        for group, pixels in enumerate(self.pixels):
            kept = pixels.double()  # slots never filled are zero
            total.first[group] = kept.sum(0)
            total.second[group] = kept.t() @ kept if full else kept.square().sum(0)
        total.count.copy_(self.fill)
        return total


def _max_across(values: Tensor) -> Tensor:
    """Largest value over processes; made of the sum that `gss.distributed` has."""
    if distributed.num_processes() == 1:
        return values
    rows = values.new_zeros(distributed.num_processes(), *values.shape)
    # Infinity times zero is no number, but added to zero it stays what it is.
    rows[distributed.process_index()] = values
    return distributed.sum_across(rows).amax(0)


def _from_fullest(rows: Tensor, most: int, pixels: int) -> Tensor:
    """The rows `[k, D]`, k <= `most`, of the process that has the most pixels, on every process."""
    processes, rank = distributed.num_processes(), distributed.process_index()
    if processes == 1:
        return rows
    table = rows.new_zeros(processes, most, rows.shape[1])
    sizes = torch.zeros(processes, 2, dtype=torch.long, device=rows.device)
    table[rank, : len(rows)] = rows
    sizes[rank] = torch.tensor([pixels, len(rows)])
    table, sizes = distributed.sum_across(table), distributed.sum_across(sizes)
    fullest = int(sizes[:, 0].argmax())
    return table[fullest, : int(sizes[fullest, 1])]
