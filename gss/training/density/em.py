"""Momentum Sinkhorn-EM: fits the mixtures of a `GMMDensityHead` to a stream of labelled pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gss.config.density import MixtureConfig
from gss.core import distributed
from gss.core.sampling import max_across, smallest_across
from gss.models.density import GMMDensityHead
from gss.models.estimation import Moments, estimate, moments, seed_means
from gss.training.density.memory import PixelMemory
from gss.training.density.sinkhorn import sinkhorn

# A component with less than this share of an even split of its class is started anew.
_EMPTY = 0.05
# The golden ratio: its multiples, modulo 1, visit the unit interval evenly.
_TURN = 0.6180339887498949


class MixtureEM(nn.Module):
    """Expectation maximisation with a memory.

    The memory is either the exponential average of the sufficient statistics of each batch (float64 buffers, so
    checkpoints hold them and a resumed run is exact), or, as in GMMSeg, the last pixels of every component: bounded,
    and not part of checkpoints, so a resumed run keeps its mixture until the memory fills again.

    Statistics are summed over processes before they are used, and random choices follow the pixels' keys (see
    `gss.core.sampling`): every process ends with the mixture that a single process would find from all pixels.

    Args:
        head: head of the mixture to fit; it is passed again to each call and not kept.
        cfg: settings of EM.

    Attributes:
        count: float64 `[C M]`; with `first` and `second`, the statistics that the M-step reads.
        updates: number of E-steps so far.
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
        self._before: Moments | None = None

    @property
    def statistics(self) -> Moments:
        """Statistics that the M-step reads."""
        return Moments(self.count, self.first, self.second)

    @torch.no_grad()
    def seed(self, head: GMMDensityHead, x: Tensor, classes: Tensor, keys: Tensor) -> None:
        """Start the mixtures of classes that occur for the first time, at spread-out pixels.

        Args:
            head: head whose mixture is written.
            x: embedded pixels `[N, E]`.
            classes: class of each pixel, int64 `[N]`.
            keys: random number of each pixel `[N]`.
        """
        unseen = ~head.active.any(1)
        if not unseen.any():
            return
        present = distributed.sum_across(torch.bincount(classes, minlength=head.num_classes))
        for c in (unseen & (present > 0)).nonzero()[:, 0].tolist():
            rows = (classes == c).nonzero()[:, 0]
            own = x[rows]
            seeds = seed_means(own, head.num_components, keys[rows], smallest=smallest_across)
            zero = torch.zeros(len(own), dtype=torch.long, device=x.device)
            spread = moments(own, own.new_ones(len(own), 1), zero, 1).map(distributed.sum_across)
            broad = estimate(spread, covariance="diagonal", variance_floor=head.config["variance_floor"])
            head.means[c, : len(seeds)] = seeds
            head.variances[c] = broad.variances
            head.log_weights[c, : len(seeds)] = -math.log(len(seeds))

    @torch.no_grad()
    def update(
        self, head: GMMDensityHead, x: Tensor, classes: Tensor, own: Tensor, correct: Tensor, keys: Tensor
    ) -> Tensor:
        """Run one E-step, and every `interval` calls an M-step.

        Args:
            head: head whose mixture is written.
            x: embedded pixels `[N, E]`.
            classes: class of each pixel, int64 `[N]`, without void.
            own: log-densities `[N, M]` of the components of each pixel's class.
            correct: pixels that the mixture learns from, bool `[N]`; a class without statistics learns from all.
            keys: random number of each pixel `[N]`.

        Returns:
            Component of its class that each pixel belongs to, int64 `[N]`.
        """
        log_q = self.assign(head, own, classes)  # [N, M]
        component = log_q.argmax(1)
        count = self.count.view(head.num_classes, -1).sum(1)
        weights = log_q.exp() if self._soft else nn.functional.one_hot(component, head.num_components)
        weights = weights * (correct | (count == 0)[classes])[:, None]
        due = int(self.updates) % self.cfg.interval == 0
        self.updates += 1
        if self.cfg.memory == "fifo":
            if self.fifo is None:
                self.fifo = PixelMemory(len(self.count), self.cfg.fifo_size, x.shape[1], x.device)
                self._before = self.statistics.map(torch.clone)
            kept = weights.sum(1) > 0
            self.fifo.push(x[kept], (classes * head.num_components + component)[kept], self.cfg.fifo_push)
            if due:
                self._store(self._refilled(self.fifo.moments(full=self.full).map(distributed.sum_across)))
        else:
            batch = moments(x, weights, classes, head.num_classes, full=self.full).map(distributed.sum_across)
            self._average(batch, head.num_classes)
        if due:
            self._m_step(head, x, classes, keys)
        return component

    @property
    def _soft(self) -> bool:
        return self.cfg.assignment == "fixed"

    def assign(self, head: GMMDensityHead, own: Tensor, classes: Tensor) -> Tensor:
        """Return log probabilities `[N, M]` of the components: the E-step, balanced if the weights are uniform."""
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
            max_across=max_across,
        )

    def _average(self, batch: Moments, num_classes: int) -> None:
        """Update the averages of the classes in the batch; others stay as they are, so that rare ones do not fade."""
        seen = batch.count.view(num_classes, -1).sum(1, keepdim=True) > 0
        decay = torch.where(seen, self.cfg.decay, 1.0).expand(-1, len(self.count) // num_classes).flatten()
        decay = decay.to(self.count)
        for kept, new in ((self.count, batch.count), (self.first, batch.first), (self.second, batch.second)):
            weight = decay.view(-1, *[1] * (kept.ndim - 1))
            kept.mul_(weight).add_(new * (1 - weight))

    def _refilled(self, memory: Moments) -> Moments:
        """Return the statistics of a memory, filled up with those from before a resume where it is not full yet."""
        assert self._before is not None
        missing = (1 - memory.count / self._before.count.clamp(min=1e-12)).clamp(min=0)
        return memory + self._before.map(lambda part: part * missing.view(-1, *[1] * (part.ndim - 1)))

    def _store(self, statistics: Moments) -> None:
        for kept, new in (
            (self.count, statistics.count),
            (self.first, statistics.first),
            (self.second, statistics.second),
        ):
            kept.copy_(new)

    def _m_step(self, head: GMMDensityHead, x: Tensor, classes: Tensor, keys: Tensor) -> None:
        config, shape = head.config, head.log_weights.shape
        self._reseed(x, classes, keys, shape)
        gaussians = estimate(
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
        head.set_mixture(gaussians, weights.log().to(head.log_weights), update)

    def _reseed(self, x: Tensor, classes: Tensor, keys: Tensor, shape: torch.Size) -> None:
        """Move components without pixels to random pixels of their class, with the spread of the whole class."""
        num_classes, components = shape
        count = self.count.view(shape)
        total = count.sum(1, keepdim=True)
        empty = (count < _EMPTY * total / components) & (total > 0)
        if not empty.any():
            return
        present = distributed.sum_across(torch.bincount(classes, minlength=num_classes))
        # Turned a little further in each round, so that a pixel that did not help is not tried again.
        turned = (keys.double() + _TURN * self.updates) % 1
        for c in (empty.any(1) & (present > components)).nonzero()[:, 0].tolist():
            rows = (classes == c).nonzero()[:, 0]
            slots = empty[c].nonzero()[:, 0]
            picked = smallest_across(turned[rows], x[rows], len(slots))[1].double()
            group = c * components + slots[: len(picked)]
            all_own = slice(c * components, (c + 1) * components)
            mean, square = (sums[all_own].sum(0) / self.count[all_own].sum() for sums in (self.first, self.second))
            square = square - (mean[:, None] * mean if self.full else mean.square())
            share = total[c] / components
            self.count[group] = share
            self.first[group] = share * picked
            around = picked[:, :, None] * picked[:, None] if self.full else picked.square()
            self.second[group] = share * (square + around)
