"""The reconstruction ceiling: the accuracy of a mask that is encoded in tokens and painted again.

A prior cannot segment better than its posterior reconstructs, so this is the first number to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss.core import distributed
from gss.core.progress import tracked
from gss.core.records import Record, plain
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.data.sample import fill_void
from gss.evaluation import checks
from gss.evaluation.images import ImageShare, Unreadable
from gss.evaluation.segmentation.result import ModeMetrics
from gss.labels.space import IGNORE_INDEX
from gss.metrics.domains import DomainMetrics
from gss.metrics.means import averaged_over
from gss.metrics.segmentation import SegmentationMetrics
from gss.posterior.bundle import Posterior
from gss.report.tables import Cell, Table, tables_text
from vqvae import CodebookUsage


@dataclass(frozen=True)
class TokenMetrics(ModeMetrics):
    """Metrics of masks that are painted from their tokens, and the use of the codes.

    Attributes:
        perplexity: perplexity of the codes, 1..V.
        dead_codes: share of the codes that are never used, 0..1.
        dominant_code: share of the tokens with the most frequent code, 0..1.
        domains: metrics by domain; empty for a data set without domains.
    """

    perplexity: float
    dead_codes: float
    dominant_code: float
    domains: dict[str, ModeMetrics] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all fields, without `domains` if there are none."""
        values = super().to_json()
        return values if self.domains else {key: value for key, value in values.items() if key != "domains"}


@dataclass(frozen=True)
class ReconstructionResult(Record):
    """Result of `reconstruct`.

    Attributes:
        encoder: metrics with the nearest code of the encoded maskige.
        exact: metrics with the best code according to the table p(c | z); `None` without a table.
        unreadable: images that could not be read and are left out.
    """

    schema_version: ClassVar[int] = 1

    encoder: TokenMetrics
    exact: TokenMetrics | None = None
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def ways(self) -> dict[str, TokenMetrics]:
        """Metrics by way of choosing the tokens of a mask: "encoder", and "exact" if there is a table."""
        return {"encoder": self.encoder} | ({} if self.exact is None else {"exact": self.exact})

    @property
    def ceiling(self) -> TokenMetrics:
        """Metrics of the best way."""
        return self.exact or self.encoder

    def to_json(self) -> dict[str, Any]:
        """Return the metrics of the ways that there are, and the images that were left out if there are any."""
        values = {"schema_version": self.schema_version, **plain(self.ways)}
        return values | ({"unreadable": plain(self.unreadable)} if self.unreadable else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReconstructionResult:
        """Read what `to_json` returned."""
        ways = {way: _token_metrics(values[way]) for way in ("encoder", "exact") if way in values}
        return cls(**ways, unreadable=[Unreadable(**image) for image in values.get("unreadable", [])])


@torch.no_grad()
def reconstruct(
    posterior: Posterior,
    dataset: LabelledImages,
    *,
    limit: int | None = None,
    workers: int = 0,
    progress: bool = False,
) -> ReconstructionResult:
    """Encode and paint every mask of a data set; every process takes a share.

    Args:
        posterior: stage 1.
        dataset: images and labels.
        limit: largest number of images, evenly spaced; `None` takes all.
        workers: number of threads that read masks ahead; 0 reads them in turn.
        progress: whether the main process shows a progress bar.
    """
    counts = {"encoder": _TokenCounts(posterior, dataset)}
    if posterior.likelihood is not None:
        counts["exact"] = _TokenCounts(posterior, dataset)
    images = ImageShare(dataset, evenly_spaced(len(dataset), limit), workers=workers)
    for sample in tracked(images, "reconstructing", shown=progress):
        _, filled = padded_pair(sample.labels, posterior.vqvae.token_stride, posterior.vqvae.device)
        for way, part in counts.items():
            part.update(sample.index, _tokens(posterior, filled, way), sample.labels)
    unreadable = images.unreadable()
    return ReconstructionResult(**{way: part.compute() for way, part in counts.items()}, unreadable=unreadable)


def _tokens(posterior: Posterior, labels: Tensor, way: str) -> Tensor:
    """Return the tokens, int64 [1, h, w], of labels int64 [1, H, W] without void."""
    if way == "exact":
        assert posterior.likelihood is not None
        return posterior.likelihood.tokens(labels)
    return posterior.vqvae.encode(posterior.codec.encode(labels).to(posterior.vqvae.dtype)).indices


class _TokenCounts:
    """Counts of one way of choosing tokens."""

    def __init__(self, posterior: Posterior, dataset: LabelledImages) -> None:
        self.codec, self.vqvae = posterior.codec, posterior.vqvae
        self.metrics = SegmentationMetrics(self.codec.num_classes)
        self.domains = DomainMetrics(dataset, self.codec.num_classes)
        self.usage = CodebookUsage(self.vqvae.codebook_size, sync_on_compute=False)

    def update(self, index: int, tokens: Tensor, labels: np.ndarray) -> None:
        """Count one image: tokens int64 [1, h, w] and labels uint8 [H, W], 255 for void."""
        decoded = self.codec.decode(self.vqvae.decode_tokens(tokens))  # int64 [1, padded H, padded W]
        single = SegmentationMetrics(self.codec.num_classes)
        single.update(decoded[0, : labels.shape[0], : labels.shape[1]].cpu(), labels)
        self.metrics.merge(single)
        self.domains.add(index, single)
        self.usage.update(tokens.cpu())

    def compute(self) -> TokenMetrics:
        """Return the metrics of all processes."""
        self.metrics.sum_across()
        self.usage.counts = distributed.sum_across(self.usage.counts)
        domains = {name: ModeMetrics.from_counts(metrics) for name, metrics in self.domains.compute().items()}
        return TokenMetrics.from_counts({**self.metrics.compute(), **self.usage.compute(), "domains": domains})


def label_pair(
    dataset: LabelledImages, index: int, token_stride: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return labels, and labels without void, of one image.

    Args:
        dataset: images and labels.
        index: index of the image.
        token_stride: number of pixels f per side of a cell.
        device: device of the result.

    Returns:
        Two int64 [1, H, W], padded to multiples of f with void and with the nearest label.
    """
    return padded_pair(dataset.read(index)[1], token_stride, device)


def padded_pair(labels: np.ndarray, token_stride: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return what `label_pair` does, from labels uint8 [H, W]."""
    filled = fill_void(labels)
    pad = [(0, -size % token_stride) for size in labels.shape]
    labels = np.pad(labels, pad, constant_values=IGNORE_INDEX)
    filled = np.pad(filled, pad, mode="edge")
    with_void, without = (torch.from_numpy(part.astype(np.int64))[None].to(device) for part in (labels, filled))
    return with_void, without


def to_image(maskige: Tensor) -> Image.Image:
    """Return a maskige, float [3, H, W] in [-1, 1], as a picture."""
    pixels = ((maskige.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(pixels.movedim(0, -1).cpu().numpy())


def check_classes(posterior: Posterior, dataset: LabelledImages, folder: str) -> None:
    """Require that a posterior has the classes of a data set.

    Raises:
        InputError: it has not.
    """
    checks.check_classes(
        posterior.label_space.names,
        dataset.label_space.names,
        model=f"posterior {folder}",
        fix="'gss transfer' gives it those of the data set",
    )


def format_table(rows: Sequence[tuple[str, int, ReconstructionResult]], names: Sequence[str]) -> str:
    """Return tables for the terminal: metrics, and the IoU of each class.

    Args:
        rows: folder, token stride and result of each posterior.
        names: names of the classes.
    """
    lines: list[list[Cell]] = []
    columns: dict[str, list[float | None]] = {}
    for folder, token_stride, result in rows:
        name = Path(folder).name
        for way, metrics in result.ways.items():
            lines.append([name, token_stride, way, *_row(metrics), metrics.perplexity, metrics.dead_codes])
            lines += [[f"  {domain}", None, way, *_row(part), None, None] for domain, part in metrics.domains.items()]
            title = f"{name} {way}" if f"{name} {way}" not in columns else f"{folder} {way}"
            columns[title] = metrics.iou
    header = ["posterior", "cell", "codes by", "mIoU", "boundary F", "accuracy", "codes in use", "dead codes"]
    notes = [
        "How well codes can paint the true masks, in percent. Cell: pixels per side that a code paints. Codes by: "
        "chosen by the encoder, or as those of greatest likelihood for the mask (exact). The row exact, if there is "
        "one, is the ceiling: a prior learns these codes. The encoder can have the higher mIoU after short training: "
        "the likelihood counts pixels, not classes, and is still rough then. mIoU: overlap of painted and true "
        "regions, mean over the classes. Boundary F: share of borders met within 3 pixels. Codes in "
        "use: their effective number (perplexity). Dead codes: share that is never chosen.",
    ]
    fewer = {count for *_, result in rows for m in result.ways.values() if (count := averaged_over(m.iou))}
    notes += [f"Means go over {', '.join(sorted(fewer))}; the others occur nowhere."] if fewer else []
    classes = [list(row) for row in zip(names, *columns.values(), strict=True)]
    formats = dict.fromkeys(("mIoU", "boundary F", "accuracy", "dead codes"), ".1%") | {"codes in use": ".1f"}
    ceiling = Table("Reconstruction", header, lines, notes=notes, formats=formats)
    ious = Table("IoU per class", ["class", *columns], classes, formats=dict.fromkeys(columns, ".1%"))
    return tables_text([ceiling, ious])


def _row(metrics: ModeMetrics) -> list[Cell]:
    return [metrics.miou, metrics.boundary_f, metrics.accuracy]


def _token_metrics(values: Mapping[str, Any]) -> TokenMetrics:
    domains = {name: ModeMetrics.from_counts(part) for name, part in values.get("domains", {}).items()}
    return TokenMetrics.from_counts({**values, "domains": domains})
