"""Statistics of one pass over the training data: sums over all pixels, and a sample of pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import balanced_sample, balanced_sample_across, random_keys


class Reservoir:
    """The pixels with the smallest keys of each class.

    Args:
        num_classes: number of classes K.
        per_class: number of pixels kept of each class.
        empty: columns that are kept of a pixel, each as a tensor without rows; `labels` (int64) and `keys` are added.
    """

    def __init__(self, num_classes: int, per_class: int, **empty: Tensor) -> None:
        self.num_classes, self.per_class = num_classes, per_class
        fixed = {"labels": torch.zeros(0, dtype=torch.long), "keys": torch.zeros(0, dtype=torch.float64)}
        self._parts: list[dict[str, Tensor]] = [empty | fixed]
        self._waiting = 0

    def add(self, **rows: Tensor) -> None:
        """Offer pixels: all columns, [n, ...], on the CPU."""
        self._parts.append({name: rows[name] for name in self._parts[0]})
        self._waiting += len(rows["labels"])
        if self._waiting > self.num_classes * self.per_class:
            self._keep(across=False)

    def finish(self) -> dict[str, Tensor]:
        """Return this process's share of the sample; call it once, after the last `add`.

        `per_class` is the number of pixels of all processes.
        """
        self._keep(across=True)
        return self._parts[0]

    def _keep(self, *, across: bool) -> None:
        joined = {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}
        sample = balanced_sample_across if across else balanced_sample
        chosen = sample(joined["labels"], self.per_class, self.num_classes, joined["keys"])
        self._parts, self._waiting = [{name: rows[chosen] for name, rows in joined.items()}], 0


class Survey:
    """Statistics of features and logits of labelled pixels; memory does not grow with the number of pixels.

    Sums are float64 over all labelled pixels, mainly K * D^2 numbers with `per_class`. The sample has at most
    `pixels_per_class` pixels of each class, drawn evenly from all pixels that were offered.

    Args:
        num_classes: number of classes K.
        dim: number of feature channels D.
        pixels_per_class: largest number of pixels of each class in the sample.
        pixels_per_image: largest number of pixels of one class from one image; neighbouring pixels are much alike.
        bank_size: number of pixels of all classes that the nearest-neighbour score keeps.
        per_class: whether to keep a second moment of each class instead of one for all.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        pixels_per_class: int = 10_000,
        pixels_per_image: int = 500,
        bank_size: int = 5_000,
        per_class: bool = True,
    ) -> None:
        self.num_classes, self.dim = num_classes, dim
        self.pixels_per_class, self.pixels_per_image, self.bank_size = pixels_per_class, pixels_per_image, bank_size
        self.count = torch.zeros(num_classes, dtype=torch.float64)
        self.first = torch.zeros(num_classes, dim, dtype=torch.float64)
        self.second = torch.zeros(num_classes if per_class else 1, dim, dim, dtype=torch.float64)
        # The same for features of unit length.
        self.unit_first = torch.zeros(num_classes, dim, dtype=torch.float64)
        self.unit_second = torch.zeros(dim, dim, dtype=torch.float64)
        # Number, sum and sum of squares of the max-logit, by predicted class.
        self.logit_moments = torch.zeros(num_classes, 3, dtype=torch.float64)
        # The linear classifier in front of the logits, for scores that need its geometry.
        self.classifier: tuple[Tensor, Tensor] | None = None
        self.source = "head"  # source of the features
        self._reservoir = Reservoir(
            num_classes,
            pixels_per_class,
            features=torch.zeros(0, dim, dtype=torch.float32),
            max_logit=torch.zeros(0, dtype=torch.float32),
            correct=torch.zeros(0, dtype=torch.bool),
        )
        self.sample: dict[str, Tensor] = {}

    def add(self, features: Tensor, logits: Tensor, labels: Tensor, *, seeds: tuple[int, ...], name: str = "") -> None:
        """Add one image.

        Args:
            features: [D, h, w].
            logits: [K, h, w].
            labels: int64 [h, w]; labels outside 0..K-1 are left out.
            seeds: seeds of the choice of pixels, different for each image.
            name: name of the image in messages.

        Raises:
            InputError: a feature or logit is not finite; the message says where.
        """
        check_finite(features, "features", name)
        check_finite(logits, "logits", name)
        valid = (labels >= 0) & (labels < self.num_classes)
        x, z, c = features[:, valid].t().float().cpu(), logits[:, valid].t().float().cpu(), labels[valid].cpu()
        if len(c) == 0:
            return
        largest, predicted = z.max(1)
        ones = largest.new_ones(len(largest))
        self.logit_moments.index_add_(0, predicted, torch.stack([ones, largest, largest.square()], 1).double())
        unit = F.normalize(x, dim=1)
        self.count += torch.bincount(c, minlength=self.num_classes)
        self.first.index_add_(0, c, x.double())
        self.unit_first.index_add_(0, c, unit.double())
        self.unit_second.addmm_(unit.double().t(), unit.double())
        if len(self.second) == 1:
            self.second[0].addmm_(x.double().t(), x.double())
        else:
            for k in c.unique().tolist():
                rows = x[c == k].double()
                self.second[k].addmm_(rows.t(), rows)
        # Two draws: a pixel chosen from a large area must not have a better chance to stay in the sample.
        first, second = random_keys(2 * len(c), *seeds).view(2, -1)
        chosen = balanced_sample(c, self.pixels_per_image, self.num_classes, first)
        self._reservoir.add(
            features=x[chosen],
            labels=c[chosen],
            max_logit=largest[chosen],
            correct=(predicted == c)[chosen],
            keys=second[chosen],
        )

    def finish(self) -> Survey:
        """Sum over processes, and set `sample` to the pixels of this process; call it once, after the last `add`.

        The sample has `features` [n, D], `labels` [n], `max_logit` [n], `correct` bool [n] and `keys` [n].

        Raises:
            InputError: no pixel had a label, or the features are constant.
        """
        for name in ("count", "first", "second", "unit_first", "unit_second", "logit_moments"):
            setattr(self, name, distributed.sum_across(getattr(self, name)))
        if self.count.sum() == 0:
            raise InputError("no pixel of the training images has a label; check the split with 'gss data check'")
        covariance = self.covariance(within=False)
        scale = self.second.sum(0).trace() / self.count.sum()
        if covariance.trace() <= 1e-10 * scale.clamp(min=1e-30):
            raise InputError(
                f"features are constant over {int(self.count.sum())} pixels: there is no density to fit; the prior is "
                "untrained or damaged"
            )
        self.sample = self._reservoir.finish()
        return self

    @property
    def means(self) -> Tensor:
        """Class means [K, D], zero for classes without pixels."""
        return self.first / self.count.clamp(min=1)[:, None]

    @property
    def unit_means(self) -> Tensor:
        """Class means of unit features [K, D]."""
        return self.unit_first / self.count.clamp(min=1)[:, None]

    def covariance(self, *, within: bool, unit: bool = False) -> Tensor:
        """Return the covariance [D, D].

        Args:
            within: whether deviations are from the class means, not from the mean of all pixels.
            unit: whether features have unit length.
        """
        first, second = (self.unit_first, self.unit_second) if unit else (self.first, self.second.sum(0))
        total = self.count.sum()
        if within:
            means = self.unit_means if unit else self.means
            return second / total - means.t() @ (means * (self.count / total)[:, None])
        mean = first.sum(0) / total
        return second / total - mean[:, None] * mean

    def gathered(self, per_class: int) -> dict[str, Tensor]:
        """Return a sample with at most `per_class` pixels of each class, equal on all processes."""
        chosen = balanced_sample_across(self.sample["labels"], per_class, self.num_classes, self.sample["keys"])
        parts = distributed.gather_objects({name: rows[chosen] for name, rows in self.sample.items()})
        joined = {name: torch.cat([part[name] for part in parts]) for name in self.sample}
        order = joined["keys"].argsort()
        return {name: rows[order] for name, rows in joined.items()}


def check_finite(values: Tensor, what: str, name: str) -> None:
    """Require finite numbers in a map [D, h, w] of an image.

    Raises:
        InputError: says what is not finite, and where.
    """
    bad = ~values.isfinite().all(0)
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise InputError(
            f"{what} of image {name or '?'} are not finite at {int(bad.sum())} of {bad.numel()} cells, first at row "
            f"{row}, column {column}: the network's weights or its precision are at fault"
        )
