"""The reconstruction ceiling: how much of a mask survives the trip through the tokens.

No prior can segment better than its posterior reconstructs, so this is the first figure to look at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.data.sample import fill_void
from gss.labels.space import IGNORE_INDEX
from gss.metrics.domains import DomainMetrics
from gss.metrics.segmentation import SegmentationMetrics
from gss.posterior.bundle import Posterior
from vqvae import CodebookUsage


def label_pair(
    dataset: LabelledImages, index: int, downsample: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Labels and void-filled labels `[1, H, W]` of one image, padded to multiples of f (void and nearest label)."""
    return padded_pair(dataset.read(index)[1], downsample, device)


def padded_pair(labels: np.ndarray, downsample: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """`label_pair` of labels `[H, W]` that are read already."""
    filled = fill_void(labels)
    pad = [(0, -size % downsample) for size in labels.shape]
    labels = np.pad(labels, pad, constant_values=IGNORE_INDEX)
    filled = np.pad(filled, pad, mode="edge")
    a, b = (torch.from_numpy(x.astype(np.int64))[None].to(device) for x in (labels, filled))
    return a, b


def to_image(maskige: Tensor) -> Image.Image:
    """Maskige `[3, H, W]` in [-1, 1] as a picture."""
    pixels = ((maskige.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(pixels.movedim(0, -1).cpu().numpy())


@torch.no_grad()
def reconstruct(
    posterior: Posterior, dataset: LabelledImages, *, limit: int | None = None, progress: bool = False
) -> dict[str, Any]:
    """Encodes and paints every mask of a data set; sharded over processes.

    Args:
        posterior: what to measure.
        dataset: masks at the size they are measured at.
        limit: number of images, evenly spread; None takes all.
        progress: show a bar.

    Returns:
        Per way of choosing tokens ("encoder": nearest code of the encoded maskige; "exact": best code under the
        table, for local decoders): `SegmentationMetrics.compute` plus perplexity, dead and dominant codes; for a
        mixture also "domains", the metrics of each.
    """
    vqvae, codec = posterior.vqvae, posterior.codec
    ways = ["encoder"] + (["exact"] if posterior.likelihood is not None else [])
    metrics = {way: SegmentationMetrics(codec.num_classes) for way in ways}
    domains = {way: DomainMetrics(dataset, codec.num_classes) for way in ways}
    usage = {way: CodebookUsage(vqvae.codebook_size, sync_on_compute=False) for way in ways}
    chosen = evenly_spaced(len(dataset), limit)
    mine = [chosen[i] for i in distributed.shard(len(chosen))]
    for index in tqdm(mine, desc="reconstructing", unit="img", disable=not (progress and distributed.is_main())):
        original = dataset.read(index)[1]
        H, W = original.shape
        labels, filled = padded_pair(original, vqvae.token_stride, vqvae.device)
        for way in ways:
            if way == "exact":
                assert posterior.likelihood is not None
                tokens = posterior.likelihood.tokens(filled)  # so that void cells have a token too
            else:
                tokens = vqvae.encode(codec.encode(filled).to(vqvae.dtype)).indices
            decoded = codec.decode(vqvae.decode_tokens(tokens))
            single = SegmentationMetrics(codec.num_classes)
            single.update(decoded[:, :H, :W].cpu(), labels[:, :H, :W].cpu())
            metrics[way].merge(single)
            domains[way].add(index, single)
            usage[way].update(tokens.cpu())
    result: dict[str, Any] = {}
    for way in ways:
        metrics[way].sum_across()
        usage[way].counts = distributed.sum_across(usage[way].counts)
        result[way] = {**metrics[way].compute(), **usage[way].compute()}
        if found := domains[way].compute():
            result[way]["domains"] = found
    return result


def check_classes(posterior: Posterior, dataset: LabelledImages, folder: str) -> None:
    """Requires that a posterior and a data set name the same classes.

    Raises:
        ValueError: they do not.
    """
    ours, theirs = posterior.label_space.names, dataset.label_space.names
    if ours != theirs:
        odd = [a for a, b in zip(ours, theirs, strict=False) if a != b] or [
            f"{len(ours)} against {len(theirs)} classes"
        ]
        raise InputError(
            f"posterior {folder} has other classes than the data set (first difference: {odd[0]}); "
            "'gss transfer' gives it those of the data set"
        )


def format_table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    """Text table: one line per posterior and way of choosing tokens, then IoU per class."""
    head = f"{'posterior':28} {'f':>3} {'tokens':8} {'mIoU':>7} {'bound.F':>8} {'acc':>7} {'perpl.':>8} {'dead':>6}"
    lines, classes = [head], [f"{'IoU per class':28} " + " ".join(f"{n[:10]:>10}" for n in names)]
    for row in rows:
        for way in ("encoder", "exact"):
            if way not in row:
                continue
            r, label = row[way], Path(row["posterior"]).name[-28:]
            lines.append(
                f"{label:28} {row['downsample']:>3} {way:8} {_percent(r['miou'])} {_percent(r['boundary_f']):>8}"
                f" {_percent(r['accuracy'])} {r['perplexity']:8.1f} {_percent(r['dead_codes'])}"
            )
            classes.append(f"{label + ' ' + way:28} " + " ".join(f"{_percent(v):>10}" for v in r["iou"]))
            for domain, own in r.get("domains", {}).items():
                lines.append(
                    f"{'  ' + domain:28} {'':>3} {way:8} {_percent(own['miou'])} {_percent(own['boundary_f']):>8}"
                    f" {_percent(own['accuracy'])}"
                )
    return "\n".join([*lines, "", *classes])


def _percent(value: float | None) -> str:
    return "      -" if value is None else f"{100 * value:7.2f}"
