"""GMM density head: a Gaussian mixture per class over the prior's features, both classifier and density."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gss.core.errors import InputError, unknown_name
from gss.models.config import FEATURE_SOURCES
from gss.models.gaussians import (
    Gaussians,
    QuadraticForm,
    full_precision,
    log_density,
    logsumexp_,
    quadratic_form,
    reduced_log_density,
)

COVARIANCES = ("diagonal", "spherical", "low_rank")
MIXTURE_WEIGHTS = ("uniform", "learned")
EVIDENCES = ("max", "logsumexp")
LOGIT_NORMS = ("layer_norm", "temperature", "none")


class GMMDensityHead(ModelMixin, ConfigMixin):
    """Class-conditional mixtures p(x | c) = sum_m pi_cm N(x; mu_cm, Sigma_cm) of pixel features (GMMSeg, eq. 5).

    The mixture is kept in buffers: it is estimated by expectation maximisation and written with `set_mixture`, not by
    an optimizer. Gradients reach the features through the log-densities. A component that was never estimated has the
    log weight -inf and is ignored, so a class that did not occur in training is never predicted.

    Args:
        num_classes: C.
        num_components: M Gaussians per class.
        feature_dim: channels of the prior's features.
        source: features that are described, "fusion" or "head", see `GSSPriorModel.dense_features`.
        unit_input: scale features to unit length first.
        embed_dim: channels of a 1x1 projection in front of the mixture; 0 for none.
        covariance: "diagonal", "spherical" or "low_rank" (diagonal plus `rank` directions).
        rank: R of "low_rank".
        mixture_weights: "uniform" over the components in use, as in GMMSeg, or "learned".
        evidence: class evidence by "max" over components, as in GMMSeg, or "logsumexp".
        logit_norm: class evidence to logits by "layer_norm" over classes, as in GMMSeg, a learned "temperature",
            or "none".
        layer_norm: apply a LayerNorm over channels to projected features.
        l2_norm: scale them to unit length afterwards.
        variance_floor: number added to every estimated variance, in the squared unit of the embedded features; compare
            it with 1/D, the mean square of an entry of a unit vector, or with 1 if `l2_norm` is off.
        smoothing: odd side, in cells, of the square over which log-likelihoods are averaged; 1 for no averaging.
        outlier_components: Gaussians of one more mixture, of pixels that belong to no class; 0 for none. It is only
            used by `log_ratio`, not for classification.

    Raises:
        InputError: an argument is out of range.
    """

    means: Tensor
    variances: Tensor
    factors: Tensor | None
    log_weights: Tensor
    outlier_means: Tensor
    outlier_variances: Tensor
    outlier_factors: Tensor | None
    outlier_log_weights: Tensor

    @register_to_config
    def __init__(
        self,
        num_classes: int = 2,
        num_components: int = 5,
        feature_dim: int = 128,
        source: str = "head",
        unit_input: bool = False,
        embed_dim: int = 0,
        covariance: str = "diagonal",
        rank: int = 4,
        mixture_weights: str = "uniform",
        evidence: str = "max",
        logit_norm: str = "layer_norm",
        layer_norm: bool = True,
        l2_norm: bool = True,
        variance_floor: float = 1e-3,
        smoothing: int = 1,
        outlier_components: int = 0,
    ) -> None:
        super().__init__()
        dim = embed_dim or feature_dim
        _check(self.config)
        self.projection = nn.Linear(feature_dim, embed_dim) if embed_dim else None
        self.feature_norm = nn.LayerNorm(dim) if layer_norm else None
        self.class_scale = (
            nn.Parameter(torch.ones(num_classes, dtype=torch.float32)) if logit_norm == "layer_norm" else None
        )
        self.class_bias = (
            nn.Parameter(torch.zeros(num_classes, dtype=torch.float32)) if logit_norm == "layer_norm" else None
        )
        self.log_temperature = (
            nn.Parameter(torch.zeros((), dtype=torch.float32)) if logit_norm == "temperature" else None
        )
        shape = (num_classes, num_components)
        self.register_buffer("means", torch.zeros(*shape, dim, dtype=torch.float32))
        self.register_buffer("variances", torch.ones(*shape, dim, dtype=torch.float32))
        self.register_buffer(
            "factors", torch.zeros(*shape, dim, rank, dtype=torch.float32) if covariance == "low_rank" else None
        )
        self.register_buffer("log_weights", torch.full(shape, -math.inf, dtype=torch.float32))
        if outlier_components:
            extra = (outlier_components, dim)
            self.register_buffer("outlier_means", torch.zeros(extra, dtype=torch.float32))
            self.register_buffer("outlier_variances", torch.ones(extra, dtype=torch.float32))
            low_rank = torch.zeros(*extra, rank, dtype=torch.float32) if covariance == "low_rank" else None
            self.register_buffer("outlier_factors", low_rank)
            self.register_buffer("outlier_log_weights", torch.full(extra[:1], -math.inf, dtype=torch.float32))

    @property
    def num_classes(self) -> int:
        """C."""
        return self.means.shape[0]

    @property
    def num_components(self) -> int:
        """M."""
        return self.means.shape[1]

    @property
    def dim(self) -> int:
        """Dimensions D of the mixture."""
        return self.means.shape[2]

    @property
    def source(self) -> str:
        """Features of the prior that the mixture describes."""
        return self.config["source"]

    @property
    def active(self) -> Tensor:
        """Bool `[C, M]`, components in use."""
        return self.log_weights > -math.inf

    @property
    def gaussians(self) -> Gaussians:
        """All C * M components, class-major."""
        factors = None if self.factors is None else self.factors.flatten(0, 1)
        return Gaussians(self.means.flatten(0, 1), self.variances.flatten(0, 1), factors)

    @property
    def has_outliers(self) -> bool:
        """True if a mixture of outliers was fitted."""
        return self.config["outlier_components"] > 0 and bool((self.outlier_log_weights > -math.inf).any())

    @torch.no_grad()
    def set_mixture(self, gaussians: Gaussians, log_weights: Tensor, update: Tensor | None = None) -> None:
        """Write components in place.

        Args:
            gaussians: all C * M components.
            log_weights: log pi `[C, M]`, -inf for components not in use.
            update: bool `[C, M]`, components whose Gaussians are written; all by default.
        """
        update = torch.ones_like(self.active) if update is None else update
        pairs = [(self.means, gaussians.means), (self.variances, gaussians.variances)]
        if self.factors is not None and gaussians.factors is not None:
            pairs.append((self.factors, gaussians.factors))
        for kept, new in pairs:
            mask = update.view(*update.shape, *[1] * (kept.ndim - 2))
            kept.copy_(torch.where(mask, new.view_as(kept), kept))
        self.log_weights.copy_(log_weights)

    @torch.no_grad()
    def set_outliers(self, gaussians: Gaussians, log_weights: Tensor) -> None:
        """Write the mixture of outliers: `outlier_components` Gaussians and their log weights `[O]`."""
        self.outlier_means.copy_(gaussians.means)
        self.outlier_variances.copy_(gaussians.variances)
        if self.outlier_factors is not None and gaussians.factors is not None:
            self.outlier_factors.copy_(gaussians.factors)
        self.outlier_log_weights.copy_(log_weights)

    def embed(self, features: Tensor) -> Tensor:
        """Embed features `[B, D, h, w]` for the mixture: float32 `[B, h, w, E]`."""
        with full_precision(features.device):
            x = features.movedim(1, -1).float()
            if self.config["unit_input"]:
                x = F.normalize(x, dim=-1)
            if self.projection is not None:
                x = self.projection(x)
            if self.feature_norm is not None:
                x = self.feature_norm(x)
            return F.normalize(x, dim=-1) if self.config["l2_norm"] else x

    def form(self) -> QuadraticForm:
        """Prepare the mixture, without its weights, for `gss.models.gaussians.log_density`."""
        return self._form("classes", lambda: self.gaussians)

    @contextmanager
    def kept_forms(self) -> Iterator[None]:
        """Prepare each mixture once in the block: exporters take it as constants, as they know no factorisations."""
        self._forms: dict[str, QuadraticForm] | None = {}
        try:
            yield
        finally:
            self._forms = None

    def _form(self, name: str, gaussians: Callable[[], Gaussians]) -> QuadraticForm:
        kept = getattr(self, "_forms", None)
        if kept is None:
            return quadratic_form(gaussians())
        if name not in kept:
            kept[name] = quadratic_form(gaussians())
        return kept[name]

    def component_log_density(self, x: Tensor) -> Tensor:
        """Return log N_cm(x) `[N, C, M]` of embedded rows `[N, E]`, -inf for components not in use."""
        density = log_density(x, self.form()).view(-1, *self.log_weights.shape)
        return density.masked_fill(~self.active, -math.inf)

    @torch.no_grad()
    def own_log_density(self, x: Tensor, classes: Tensor) -> Tensor:
        """Return log N_cm(x) `[N, M]` of rows `[N, E]` under the components of their own class `[N]`."""
        density = x.new_empty(self.num_components, len(x), dtype=torch.float32)
        for c in classes.unique().tolist():
            rows = (classes == c).nonzero()[:, 0]
            factors = None if self.factors is None else self.factors[c]
            form = quadratic_form(Gaussians(self.means[c], self.variances[c], factors))
            density[:, rows] = reduced_log_density(x[rows], form, lambda d: d)
        return density.t().masked_fill(~self.active[classes], -math.inf)

    def evidence(self, x: Tensor) -> Tensor:
        """Return log p(x | c) of embedded rows, or its largest term, `[N, C]`; -inf for unseen classes."""
        return self.gather_evidence(self.component_log_density(x))

    def gather_evidence(self, density: Tensor) -> Tensor:
        """Reduce component log-densities `[N, C, M]` to class evidence `[N, C]`."""
        density = density + self.log_weights
        if self.config["evidence"] == "max":
            return density.amax(-1)
        # logsumexp over nothing but -inf has no gradient; such classes are constant.
        seen = self.active.any(1)
        return density.masked_fill(~seen[:, None], 0).logsumexp(-1).masked_fill(~seen, -math.inf)

    def normalise(self, evidence: Tensor) -> Tensor:
        """Turn class evidence `[N, C]`, which spans hundreds of nats, into logits; -inf for unseen classes."""
        if self.log_temperature is not None:
            return evidence * (-self.log_temperature).exp()
        if self.class_scale is None or self.class_bias is None:
            return evidence
        seen = self.active.any(1)
        count = seen.sum().clamp(min=1)
        finite = evidence.masked_fill(~seen, 0)
        centred = (finite - finite.sum(-1, keepdim=True) / count).masked_fill(~seen, 0)
        deviation = (centred.square().sum(-1, keepdim=True) / count + 1e-5).sqrt()
        return (centred / deviation * self.class_scale + self.class_bias).masked_fill(~seen, -math.inf)

    def forward(self, features: Tensor) -> Tensor:
        """Classify features `[B, D, h, w]`: float32 class logits `[B, C, h, w]`."""
        x = self.embed(features)
        logits = self.normalise(self.evidence(x.flatten(0, 2)))
        return logits.view(*x.shape[:3], -1).movedim(-1, 1)

    @torch.no_grad()
    def log_likelihood(self, features: Tensor, kind: str = "max") -> Tensor:
        """Return the log-likelihood of each cell; it is low where training showed nothing similar.

        Args:
            features: `[B, D, h, w]`.
            kind: "max" (best component of any class, GMMSeg's rule), "class" (best class, its components summed) or
                "marginal" (all summed, uniform over classes).

        Returns:
            float32 `[B, h, w]`, in nats.
        """
        shape = self.log_weights.shape
        weights = self._marginal_log_weights() if kind == "marginal" else self.log_weights.flatten()
        reductions: dict[str, Callable[[Tensor], Tensor]] = {
            "max": lambda d: d.amax(0),
            "class": lambda d: logsumexp_(d.unflatten(0, shape), 1).amax(0),
            "marginal": logsumexp_,
        }
        x = self.embed(features)
        form = self.form().plus(weights)
        return self._smooth(reduced_log_density(x.flatten(0, 2), form, reductions[kind]).view(x.shape[:3]))

    @torch.no_grad()
    def log_likelihoods(self, features: Tensor) -> dict[str, Tensor]:
        """Return `log_likelihood` of every kind, by name, from one pass over the cells; equal up to rounding.

        Args:
            features: `[B, D, h, w]`.
        """
        classes = self.active.any(1).sum().clamp(min=1).log()

        def reduce(density: Tensor) -> Tensor:
            best = density.amax(0)
            sums = logsumexp_(density.unflatten(0, self.log_weights.shape), 1)  # [C, n]
            return torch.stack([best, sums.amax(0), sums.logsumexp(0) - classes])

        x = self.embed(features)
        found = reduced_log_density(x.flatten(0, 2), self.form().plus(self.log_weights.flatten()), reduce)  # [3, N]
        maps = [self._smooth(values.view(x.shape[:3])) for values in found]
        return dict(zip(("max", "class", "marginal"), maps, strict=True))

    @torch.no_grad()
    def log_ratio(self, features: Tensor) -> Tensor:
        """Return log p(x | outlier) - log p(x), the latter with uniform classes, in one pass over the cells.

        Args:
            features: `[B, D, h, w]`.

        Returns:
            float32 `[B, h, w]`, in nats.

        Raises:
            InputError: no mixture of outliers was fitted.
        """
        if not self.has_outliers:
            raise InputError(
                "this density head has no mixture of outliers; fit one: 'gss train density' with outliers.spec"
            )
        inliers, outliers = self.gaussians, self._outliers
        factors = None
        if inliers.factors is not None and outliers.factors is not None:
            factors = torch.cat([inliers.factors, outliers.factors])
        means = torch.cat([inliers.means, outliers.means])
        variances = torch.cat([inliers.variances, outliers.variances])
        form = self._form("all", lambda: Gaussians(means, variances, factors))
        form = form.plus(torch.cat([self._marginal_log_weights(), self.outlier_log_weights]))
        count = len(inliers.means)
        x = self.embed(features)
        ratio = reduced_log_density(x.flatten(0, 2), form, lambda d: logsumexp_(d[count:]) - logsumexp_(d[:count]))
        return self._smooth(ratio.view(x.shape[:3]))

    def _smooth(self, maps: Tensor) -> Tensor:
        """Average `[B, h, w]` over the neighbours of each cell that lie in the map."""
        side = self.config["smoothing"]
        if side == 1:
            return maps
        pooled = F.avg_pool2d(maps[:, None], side, stride=1, padding=side // 2, count_include_pad=False)
        return pooled[:, 0]

    @property
    def _outliers(self) -> Gaussians:
        return Gaussians(self.outlier_means, self.outlier_variances, self.outlier_factors)

    def _marginal_log_weights(self) -> Tensor:
        """Return the log weights `[C * M]` of log p(x), uniform over the classes that occur."""
        return (self.log_weights - self.active.any(1).sum().clamp(min=1).log()).flatten()


def _check(config: Mapping[str, Any]) -> None:
    """Raise an InputError for the first argument out of range."""
    for name, options in (
        ("covariance", COVARIANCES),
        ("mixture_weights", MIXTURE_WEIGHTS),
        ("evidence", EVIDENCES),
        ("logit_norm", LOGIT_NORMS),
        ("source", FEATURE_SOURCES),
    ):
        if config[name] not in options:
            raise unknown_name(name, config[name], options, plural=name)
    for name in ("num_classes", "num_components", "feature_dim"):
        if config[name] < 1:
            raise InputError(f"{name}={config[name]} must be at least 1")
    for name, none in (("embed_dim", "the prior's own features"), ("outlier_components", "no such mixture")):
        if config[name] < 0:
            raise InputError(f"{name}={config[name]} must be at least 1, or 0 for {none}")
    smoothing, floor, rank = config["smoothing"], config["variance_floor"], config["rank"]
    if smoothing < 1 or smoothing % 2 == 0:
        raise InputError(f"smoothing={smoothing} must be an odd number of cells; 1 for none")
    # Written so that NaN fails too.
    if not 0 < floor < math.inf:
        raise InputError(f"variance_floor={floor} must be a finite number above 0: constant features have no variance")
    dim = config["embed_dim"] or config["feature_dim"]
    if config["covariance"] == "low_rank" and not 0 < rank < dim:
        raise InputError(f"rank={rank} must be at least 1 and below the {dim} dimensions of the mixture")
