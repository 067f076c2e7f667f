"""Log-density of Gaussians as a pure function.

There are J Gaussians; in classification J = C * M, C classes of M components each, class-major. Covariances are
diagonal, or diagonal plus low rank, diag(v) + F F^T. Everything runs in float32: the terms of a log-density reach
hundreds, of which TF32 and bf16 lose whole tenths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Numbers in the buffers of a blocked reduction: 2 MB, which fit the cache of a CPU; a GPU needs more work at once.
BLOCK_NUMBERS = 2**19
GPU_BLOCK_NUMBERS = 2**26

Reduce = Callable[[Tensor], Tensor]


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute matrix products in true float32, without autocast and TF32, whatever the program has chosen."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Gaussians:
    """J Gaussians of D dimensions.

    Attributes:
        means: `[J, D]`.
        variances: diagonal of the covariance without the low-rank part, above 0, `[J, D]`.
        factors: low-rank part F `[J, D, R]` of the covariance diag(v) + F F^T; None without one.
    """

    means: Tensor
    variances: Tensor
    factors: Tensor | None = None


@dataclass(frozen=True)
class QuadraticForm:
    """log N_j(x) = q . y^2 + l . y + c - |P y - o|^2 / 2 with y = x - centre: one or two matrix products.

    Attributes:
        centre: `[D]`; subtracting it keeps the terms, hence the rounding errors, small.
        weight: q and l side by side, `[J, 2 D]`.
        constant: `[J]`.
        projection: `[J * R, D]`; None without a low-rank part.
        offset: `[J * R]`.
    """

    centre: Tensor
    weight: Tensor
    constant: Tensor
    projection: Tensor | None = None
    offset: Tensor | None = None

    @property
    def width(self) -> int:
        """Numbers that one row of x expands to."""
        return self.weight.shape[1] + len(self.constant) + (0 if self.offset is None else len(self.offset))

    def plus(self, shift: Tensor) -> QuadraticForm:
        """Return the form of log N_j + shift_j; added here, log weights `[J]` cost no pass over the pixels."""
        return replace(self, constant=self.constant + shift)


def quadratic_form(gaussians: Gaussians) -> QuadraticForm:
    """Prepare Gaussians for `log_density`; costs J * D (J * D * R^2 with a low-rank part)."""
    means, variances = gaussians.means.double(), gaussians.variances.double()
    centre = means.mean(0)
    means = means - centre
    precision = 1 / variances
    dim = means.shape[1]
    constant = -0.5 * (dim * math.log(2 * math.pi) + variances.log().sum(1) + (means.square() * precision).sum(1))
    projection = offset = None
    if gaussians.factors is not None:
        # Woodbury: (diag(v) + F F^T)^-1 = diag(1/v) - P^T P with P = L^-1 F^T diag(1/v), L L^T = I + F^T diag(1/v) F.
        factors = gaussians.factors.double()
        scaled = factors * precision[:, :, None]
        eye = torch.eye(factors.shape[2], dtype=factors.dtype, device=factors.device)
        lower = torch.linalg.cholesky(eye + factors.transpose(1, 2) @ scaled)
        rows = torch.linalg.solve_triangular(lower, scaled.transpose(1, 2), upper=False)  # P [J, R, D]
        constant = constant - lower.diagonal(dim1=1, dim2=2).log().sum(1)
        projection = rows.flatten(0, 1).float().contiguous()
        offset = (rows @ means[:, :, None]).flatten().float()
    return QuadraticForm(
        centre=centre.float(),
        weight=torch.cat([-0.5 * precision, means * precision], 1).float(),
        constant=constant.float(),
        projection=projection,
        offset=offset,
    )


def log_density(x: Tensor, form: QuadraticForm) -> Tensor:
    """Return log N_j(x_n), float32 `[N, J]`, of rows `[N, D]`; differentiable in x."""
    with full_precision(x.device):
        y = x.float() - form.centre
        density = torch.addmm(form.constant, torch.cat([y.square(), y], 1), form.weight.t())
        if form.projection is not None and form.offset is not None:
            # The low-rank part explains a share of the distance: it is added back.
            explained = torch.addmm(-form.offset, y, form.projection.t()).square()
            density = density + 0.5 * explained.view(len(x), len(form.constant), -1).sum(2)
        return density


@torch.no_grad()
def reduced_log_density(x: Tensor, form: QuadraticForm, reduce: Reduce) -> Tensor:
    """Reduce the log-densities of all Gaussians block by block, without a `[J, N]` tensor.

    Pixels are the last, contiguous dimension, so that a CPU reduces many pixels at a time. All blocks share buffers.

    Args:
        x: `[N, D]`.
        form: Gaussians.
        reduce: function from log N_j(x_n) `[J, n]` to `[..., n]`; may write to its argument.

    Returns:
        float32 `[..., N]`.
    """
    dim = x.shape[1]
    rows = max(1, min(len(x), (BLOCK_NUMBERS if x.device.type == "cpu" else GPU_BLOCK_NUMBERS) // form.width))
    powers = torch.empty(rows, 2 * dim, device=x.device, dtype=torch.float32)
    density = torch.empty(len(form.constant), rows, device=x.device, dtype=torch.float32)
    explained = torch.empty(0 if form.offset is None else len(form.offset), rows, device=x.device, dtype=torch.float32)
    out: Tensor | None = None
    with full_precision(x.device):
        for start in range(0, max(1, len(x)), rows):
            part = x[start : start + rows].float()
            n = len(part)
            if n < rows:  # the last block
                powers = powers[:n]
                density, explained = (buffer.new_empty(len(buffer), n) for buffer in (density, explained))
            y = torch.sub(part, form.centre, out=powers[:, dim:])
            torch.mul(y, y, out=powers[:, :dim])
            torch.addmm(form.constant[:, None], form.weight, powers.t(), out=density)
            if form.projection is not None and form.offset is not None:
                torch.addmm(-form.offset[:, None], form.projection, y.t(), out=explained)
                density.add_(explained.square_().unflatten(0, (len(density), -1)).sum(1), alpha=0.5)
            found = reduce(density)
            if out is None:
                out = found.new_empty(*found.shape[:-1], len(x))
            out[..., start : start + n] = found
    assert out is not None
    return out


def logsumexp_(density: Tensor, dim: int = 0) -> Tensor:
    """Compute `density.logsumexp(dim)`, overwriting its argument instead of allocating."""
    # Not -inf, which components not in use have: it cannot be subtracted from itself.
    top = density.amax(dim, keepdim=True).clamp_(min=torch.finfo(density.dtype).min)
    return density.sub_(top).exp_().sum(dim).log_().add_(top.squeeze(dim))


def own_class(density: Tensor, classes: Tensor) -> Tensor:
    """Select the densities `[N, M]` of the components of each row's class out of `[N, C, M]`."""
    return density.gather(1, classes[:, None, None].expand(-1, 1, density.shape[2]))[:, 0]
