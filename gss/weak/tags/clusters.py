"""Centres in the feature space of a tag classifier: clusters of out-of-distribution images, and means of the classes.

Both are fitted once to all images and then follow the features of the batches during training. Buffers are float32 and
equal on all processes. Sums run over all processes, so the centres do not depend on their number, up to rounding.
Distances are Euclidean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import smallest_across
from gss.models.estimation import seed_means
from gss.models.gaussians import full_precision

# Numbers in the largest temporary: 16 MB.
_BLOCK = 2**22
# A cluster of less weight than this, in images, has no features near it any more.
_STALE = 1e-2


class _Centres(nn.Module):
    centres: Tensor
    counts: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        if count < 1 or dim < 1:
            raise InputError(f"{type(self).__name__}({count}, {dim}): both numbers must be at least 1")
        self.register_buffer("centres", torch.zeros(count, dim))
        self.register_buffer("counts", torch.zeros(count))

    def _checked(self, features: Tensor) -> Tensor:
        if features.ndim != 2 or features.shape[1] != self.centres.shape[1]:
            raise InputError(f"features is {list(features.shape)}; it must be [images, {self.centres.shape[1]}]")
        own = features.detach().to(self.centres)
        # Counted over all processes: if one stopped alone, the others would wait for it.
        if int(distributed.sum_across((~own.isfinite()).sum())):
            raise InputError("features holds values that are not finite; the centres would be lost with them")
        return own


class OoDClusters(_Centres):
    """Clusters of the features of out-of-distribution images.

    Args:
        num_clusters: M.
        dim: D.

    Attributes:
        centres: `[M, D]`.
        counts: `[M]`, number of images of each cluster; after updates, their decayed weight.

    Raises:
        InputError: a number below 1.
    """

    def __init__(self, num_clusters: int, dim: int) -> None:
        super().__init__(num_clusters, dim)

    @torch.no_grad()
    def fit(self, features: Tensor, generator: torch.Generator, iterations: int = 10) -> Tensor:
        """Fit the clusters by k-means: seeds by k-means++, then Lloyd's iterations.

        An empty cluster moves to the image farthest from all centres. The result depends on the features, their order
        and the state of the generator alone.

        Args:
            features: `[N, D]`; with several processes the share of this one, as `distributed.shard` gives it.
            generator: generator of the seeds, on the CPU; in the same state on all processes.
            iterations: number of Lloyd's iterations, at least 1.

        Returns:
            `[iterations + 1]`, mean squared distance to the nearest centre before each iteration and at the end; it
            never rises.

        Raises:
            InputError: wrong shape, features that are not finite, or fewer different ones than clusters.
        """
        if iterations < 1:
            raise InputError(f"iterations is {iterations}; k-means needs at least 1")
        own = self._checked(features)
        total = int(distributed.sum_across(torch.tensor(len(own))))
        keys = torch.rand(total, generator=generator, dtype=torch.float64).clamp_(min=1e-300)
        key = keys[distributed.process_index() :: distributed.num_processes()].to(own.device)
        if len(key) != len(own):
            raise InputError(f"features has {len(own)} rows; share the {total} images by gss.core.distributed.shard")
        # Far from the origin, products of features lose the digits in which they differ.
        origin = distributed.sum_across(own.sum(0)) / max(total, 1)
        own = own - origin
        with full_precision(own.device):
            centres = seed_means(own, len(self.centres), key, smallest=smallest_across)
            if len(centres) < len(self.centres):
                raise InputError(
                    f"num_clusters is {len(self.centres)}, but the features of the {total} images hold only "
                    f"{len(centres)} different ones; ask for at most so many clusters"
                )
            inertia = []
            for _ in range(iterations):
                nearest, distance = _nearest(own, centres)
                inertia.append(distance.sum())
                sums, counts = _sums(own, nearest, len(centres))
                centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
                centres, counts = _reseed(own, centres, counts)
            inertia.append(_nearest(own, centres)[1].sum())
        self.centres.copy_(centres + origin)
        self.counts.copy_(counts)
        return distributed.sum_across(torch.stack(inertia)) / total

    @torch.no_grad()
    def update(self, features: Tensor, momentum: float) -> None:
        """Update the centres with a batch, so that they follow the features during training.

        A centre is the mean of the images that were nearest to it, with weights that decay. A cluster without such
        images for long is moved to an image of the batch that is far from all centres.

        Args:
            features: `[B, D]` of this process; batches of all processes are joined.
            momentum: decay of an image's weight per update, 0..1.

        Raises:
            InputError: wrong shape, features that are not finite, momentum outside 0..1, or clusters never fitted.
        """
        own = self._checked(features)
        _check_momentum(momentum)
        if not bool((self.counts > 0).any()):
            raise InputError("clusters must be fitted before they are updated; call fit")
        with full_precision(own.device):
            nearest, distance = _nearest(own, self.centres)
            sums, news = _sums(own, nearest, len(self.centres))
        _follow(self.centres, self.counts, sums, news, momentum)
        stale = self.counts < _STALE
        # As many rows as clusters, in case all are stale: the number is not read from the device.
        _, far = smallest_across(-distance, own, len(self.centres))
        place = stale.cumsum(0) - 1
        renewed = stale & (place < len(far))
        if len(far):
            self.centres.copy_(torch.where(renewed[:, None], far[place.clamp(0, len(far) - 1)], self.centres))
            self.counts.masked_fill_(renewed, 1.0)


class ClassCentres(_Centres):
    """Mean feature of each class over tagged images; an image counts for each of its tags.

    Args:
        num_classes: K.
        dim: D.

    Attributes:
        centres: `[K, D]`, zeros for a class never seen.
        counts: `[K]`, number of images of each class; after updates, their decayed weight.

    Raises:
        InputError: a number below 1.
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__(num_classes, dim)

    @property
    def seen(self) -> Tensor:
        """Classes with an image, bool `[K]`; the others have no centre."""
        return self.counts > 0

    @torch.no_grad()
    def fit(self, features: Tensor, tags: Tensor) -> None:
        """Set the centres to the means over all images.

        Args:
            features: `[N, D]`; with several processes the images of this one.
            tags: bool (or 0 and 1) `[N, K]`.

        Raises:
            InputError: shapes that do not fit, or features that are not finite.
        """
        sums, counts = self._sums(features, tags)
        self.centres.copy_(sums / counts.clamp(min=1)[:, None])
        self.counts.copy_(counts)

    @torch.no_grad()
    def update(self, features: Tensor, tags: Tensor, momentum: float) -> None:
        """Update the centres with a batch, as `OoDClusters.update` does; a class seen first gets its centre.

        Args:
            features: `[B, D]` of this process; batches of all processes are joined.
            tags: bool (or 0 and 1) `[B, K]`.
            momentum: decay of an image's weight per update, 0..1.

        Raises:
            InputError: shapes that do not fit, features that are not finite, or momentum outside 0..1.
        """
        _check_momentum(momentum)
        _follow(self.centres, self.counts, *self._sums(features, tags), momentum)

    def _sums(self, features: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
        own = self._checked(features)
        if tags.shape != (len(own), len(self.centres)):
            raise InputError(
                f"tags is {list(tags.shape)}; it must be [{len(own)}, {len(self.centres)}], images by classes"
            )
        weights = tags.to(own)
        with full_precision(own.device):
            return _total(weights.t() @ own, weights.sum(0))


def _check_momentum(momentum: float) -> None:
    if not 0 <= momentum <= 1:
        raise InputError(f"momentum is {momentum}; it must be in 0..1")


def _nearest(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centre of every row `[N]`, and the squared distance to it `[N]`."""
    half, rows = centres.square().sum(1) / 2, max(1, _BLOCK // max(centres.shape))
    index = torch.cat([torch.addmm(half, part, centres.t(), alpha=-1).argmin(1) for part in x.split(rows)])
    # Distances from differences are exact where an image is its own centre; those from products are not.
    pairs = zip(x.split(rows), index.split(rows), strict=True)
    return index, torch.cat([(part - centres[nearest]).square().sum(1) for part, nearest in pairs])


def _sums(x: Tensor, nearest: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Return the sum of the rows of every cluster `[M, D]` and their number `[M]`, over all processes."""
    sums, counts = x.new_zeros(clusters, x.shape[1]), x.new_zeros(clusters)
    numbers, rows = torch.arange(clusters, device=x.device)[:, None], max(1, _BLOCK // clusters)
    # Products with indicators: a scattered addition on a GPU is not deterministic.
    for own, index in zip(x.split(rows), nearest.split(rows), strict=True):
        member = (index == numbers).to(x)
        sums.addmm_(member, own)
        counts += member.sum(1)
    return _total(sums, counts)


def _reseed(x: Tensor, centres: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Move empty clusters, one after the other, to the row that is farthest from all centres."""
    empty = (counts == 0).nonzero()[:, 0].tolist()
    if not empty:
        return centres, counts
    distance = _nearest(x, centres[counts > 0])[1]
    centres, counts = centres.clone(), counts.clone()
    for cluster in empty:
        _, row = smallest_across(-distance, x, 1)
        centres[cluster], counts[cluster] = row[0], 1
        distance = torch.minimum(distance, (x - row).square().sum(1))
    return centres, counts


def _follow(centres: Tensor, counts: Tensor, sums: Tensor, news: Tensor, momentum: float) -> None:
    """Update exponential moving averages in place, each centre weighted by the images it has seen."""
    weights = momentum * counts + news
    # Added as a difference, so that a centre without new images stays the same to the last bit.
    centres += (sums - news[:, None] * centres) / torch.where(news > 0, weights, 1)[:, None]
    # A weight that decays to 0 would mean "never seen".
    counts.copy_(torch.where(counts > 0, weights.clamp(min=1e-6), weights))


def _total(sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    total = distributed.sum_across(torch.cat([sums, counts[:, None]], 1))
    return total[:, :-1], total[:, -1]
