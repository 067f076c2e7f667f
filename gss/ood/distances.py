"""Scores of the distance of features from those of the training data."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.models.gaussians import full_precision
from gss.ood.base import FittedScore, ScoreInputs
from gss.ood.survey import Survey

# Share of the mean variance added to a covariance before it is inverted.
_RIDGE = 1e-4
# Numbers in one block of a distance matrix (64 MB), and in one that is read twice and has to fit into a CPU's cache.
BLOCK = 2**24
CACHED_BLOCK = 2**21
_NEIGHBORS = 3
_GROUP = 100


def rows_of(features: Tensor) -> Tensor:
    """Return features [B, D, h, w] as rows, float32 [B * h * w, D]."""
    return features.movedim(1, -1).flatten(0, -2).float()


def inverse_root(covariance: Tensor) -> Tensor:
    """Return W [D, D] with W^T covariance W = I, by Cholesky: rows x W have unit covariance."""
    ridge = _RIDGE * covariance.diagonal().mean().clamp(min=1e-30)
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    lower = torch.linalg.cholesky(covariance + ridge * eye)
    return torch.linalg.solve_triangular(lower, eye, upper=False).t()


def min_squared_distance(rows: Tensor, points: Tensor) -> Tensor:
    """Return the smallest squared distance [N] of rows [N, D] to points [P, D], without N x P x D numbers."""
    offset = points.mean(0)
    rows, points = rows - offset, points - offset
    half = 0.5 * points.square().sum(1)
    block = max(1, BLOCK // len(points))
    nearest = torch.cat([(half - part @ points.t()).amin(1) for part in rows.split(block)])
    return (2 * nearest + rows.square().sum(1)).clamp(min=0)


def largest_products(rows: Tensor, points: Tensor, count: int) -> Tensor:
    """Return the largest inner products of unit rows with unit points, descending.

    The points are split into groups: only the `count` groups with the largest maxima can contain one of the largest
    products, and maxima are cheap to compute.

    Args:
        rows: float32 [N, D].
        points: float32 [P, D].
        count: number of products of each row.

    Returns:
        float32 [N, min(count, P)].
    """
    groups = -(-len(points) // _GROUP)
    block = max(1, (CACHED_BLOCK if rows.device.type == "cpu" else BLOCK) // (groups * _GROUP))
    out = rows.new_empty(len(rows), min(count, len(points)))
    # The last group is filled up with a value below all products.
    products = rows.new_full((min(block, len(rows)), groups * _GROUP), -math.inf)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        filled = products[: len(part)]
        torch.mm(part, points.t(), out=filled[:, : len(points)])
        grouped = filled.view(len(part), groups, _GROUP)
        chosen = grouped.amax(2).topk(min(count, groups), dim=1).indices
        members = grouped.gather(1, chosen[:, :, None].expand(-1, -1, _GROUP))
        out[start : start + block] = members.flatten(1).topk(out.shape[1], dim=1).values
    return out


class Mahalanobis(FittedScore):
    """min_c (x - mu_c)^T S^-1 (x - mu_c), one covariance for all classes (Lee et al., 2018)."""

    name = "mahalanobis"
    cellwise = True
    unit = False
    whitening: Tensor
    centres: Tensor

    @classmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Return the whitening matrix and the whitened means of the classes that occur."""
        whitening = inverse_root(survey.covariance(within=True, unit=cls.unit))
        means = (survey.unit_means if cls.unit else survey.means)[survey.count > 0]
        return {"whitening": whitening.float().contiguous(), "centres": (means @ whitening).float()}

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return squared distances, at least 0."""
        B, _, h, w = inputs.features.shape
        rows = rows_of(inputs.features)
        if self.unit:
            rows = F.normalize(rows, dim=1)
        with full_precision(rows.device):
            return min_squared_distance(rows @ self.whitening, self.centres).view(B, h, w)


class MahalanobisUnit(Mahalanobis):
    """Mahalanobis distance of features of unit length (Mahalanobis++; Mueller and Hein, 2025)."""

    name = "mahalanobis++"
    unit = True


class NearestNeighbors(FittedScore):
    """Mean distance of unit features to the 3 nearest training pixels (Sun et al., 2022; Galesso et al., 2023)."""

    name = "knn"
    cellwise = True
    bank: Tensor

    @classmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Return a class-balanced bank of unit features."""
        present = int((survey.count > 0).sum())
        sample = survey.gathered(max(1, survey.bank_size // present))
        return {"bank": F.normalize(sample["features"], dim=1)}

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return distances in 0..2."""
        B, _, h, w = inputs.features.shape
        rows = F.normalize(rows_of(inputs.features), dim=1)
        with full_precision(rows.device):
            nearest = largest_products(rows, self.bank, _NEIGHBORS)
        return (2 - 2 * nearest).clamp(min=0).sqrt().mean(1).view(B, h, w)


class VirtualLogit(FittedScore):
    """Feature norm outside the principal subspace, scaled to a logit, minus logsumexp (ViM; Wang et al., 2022)."""

    name = "vim"
    origin: Tensor
    residual: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Return the origin, a basis of the complement of the D/2 leading directions, and the scale.

        At the origin all logits of the linear classifier are zero. Without such a classifier it is the mean feature.
        """
        if survey.classifier is None:
            origin = survey.first.sum(0) / survey.count.sum()
        else:
            weight, bias = (part.double().cpu() for part in survey.classifier)
            origin = -torch.linalg.pinv(weight) @ bias
        total, first = survey.count.sum(), survey.first.sum(0)
        cross = first[:, None] * origin
        gram = survey.second.sum(0) - cross - cross.t() + total * origin[:, None] * origin
        residual = torch.linalg.eigh(gram / total).eigenvectors[:, : max(1, survey.dim // 2)]
        sample = survey.gathered(1000)
        norm = ((sample["features"].double() - origin) @ residual).norm(dim=1).mean()
        scale = sample["max_logit"].double().mean() / norm.clamp(min=1e-12)
        return {"origin": origin.float(), "residual": residual.float().contiguous(), "scale": scale.float()}

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return logits."""
        B, _, h, w = inputs.features.shape
        rows = rows_of(inputs.features)
        with full_precision(rows.device):
            norm = ((rows - self.origin) @ self.residual).norm(dim=1).view(B, h, w)
        return self.scale * norm - inputs.logits.logsumexp(1)


class OneGaussian(FittedScore):
    """-log p(x) of one Gaussian with full covariance per class and class frequencies (DDU; Mukhoti et al., 2023)."""

    name = "ddu"
    cellwise = True
    means: Tensor
    whitening: Tensor
    constant: Tensor

    @classmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Return mean, whitening and log normalizer of each class that occurs."""
        present = (survey.count > 0).nonzero()[:, 0].tolist()
        pooled = survey.covariance(within=True)
        whitenings, constants = [], []
        for c in present:
            count, mean = survey.count[c], survey.means[c]
            covariance = survey.second[c] / count - mean[:, None] * mean
            # The fewer pixels a class has, the more its covariance is replaced by the pooled one.
            share = count / (count + survey.dim)
            whitening = inverse_root(share * covariance + (1 - share) * pooled)
            whitenings.append(whitening)
            prior = (count / survey.count.sum()).log()
            constants.append(prior + whitening.diagonal().log().sum() - 0.5 * survey.dim * math.log(2 * math.pi))
        return {
            "means": survey.means[present].float(),
            "whitening": torch.stack(whitenings).float().contiguous(),
            "constant": torch.stack(constants).float(),
        }

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats."""
        B, D, h, w = inputs.features.shape
        rows = rows_of(inputs.features)
        out = []
        with full_precision(rows.device):
            for part in rows.split(max(1, BLOCK // (D + len(self.means)))):
                each = [
                    constant - 0.5 * ((part - mean) @ whitening).square().sum(1)
                    for mean, whitening, constant in zip(self.means, self.whitening, self.constant, strict=True)
                ]
                out.append(-torch.stack(each, 1).logsumexp(1))
        return torch.cat(out).view(B, h, w)
