"""`gss weak seeds`: precision and recall of activation maps over all thresholds, and classifiers at equal recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from gss.config.tags import CamConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.specs.spec import DataSpec
from gss.data.tagged import read_tags
from gss.labels.space import IGNORE_INDEX
from gss.models.tags import TagClassifier
from gss.pipeline.loading import load_classifier
from gss.report.pictures import contact_sheet, heatmap, overlay
from gss.weak.tags.produce import open_tagged, tag_maps

BINS = 100
_SHEET = 12


@dataclass(frozen=True)
class SeedQuality:
    """Seeds at one threshold; means are over the classes that occur, without the background.

    Attributes:
        threshold: pixels whose largest map reaches it have a class, the others are background.
        precision, recall, iou: means over classes.
        miou: mean IoU with the background, if there is one.
        per_class: `precision`, `recall` and `iou` of every class by its label; None where undefined.
    """

    threshold: float
    precision: float
    recall: float
    iou: float
    miou: float
    per_class: dict[str, list[float | None]]


class SeedCurve:
    """Streaming counts for all thresholds in one pass over the images.

    Args:
        num_labels: L.
        background: label of what has no class; None if there is none.
    """

    def __init__(self, num_labels: int, background: int | None) -> None:
        self.num_labels, self.background = num_labels, background
        # Pixels by truth, label of the largest map, and that map's value.
        self.counts = np.zeros((num_labels, num_labels, BINS + 1), np.int64)

    def update(self, labels: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> None:
        """Count an image.

        Args:
            labels: class of the largest map `[H, W]`, never the background.
            scores: its value `[H, W]` in 0..1.
            truth: uint8 `[H, W]`, 255 where void.
        """
        known, L = truth != IGNORE_INDEX, self.num_labels
        level = np.clip(np.floor(scores[known] * BINS + 1e-6), 0, BINS).astype(np.int64)
        place = (truth[known].astype(np.int64) * L + labels[known]) * (BINS + 1) + level
        self.counts += np.bincount(place, minlength=self.counts.size).reshape(self.counts.shape)

    def sum_across(self) -> None:
        """Replace the counts by their sum over all processes."""
        self.counts = distributed.sum_across(torch.from_numpy(self.counts)).numpy()

    def compute(self) -> list[SeedQuality]:
        """Quality at every threshold, from 1 % to 100 %."""
        total = self.counts.sum()
        kept = self.counts[..., ::-1].cumsum(-1)[..., ::-1]
        true = self.counts.sum((1, 2))
        classes = [k for k in range(self.num_labels) if k != self.background and true[k] > 0]
        result = []
        for level in range(1, BINS + 1):
            table = kept[..., level]
            hits, found = table.diagonal().astype(float), table.sum(0).astype(float)
            with np.errstate(invalid="ignore", divide="ignore"):
                precision, recall, iou = hits / found, hits / true, hits / (true + found - hits)
            precision[found == 0] = np.nan
            overlaps = [iou[k] for k in classes]
            if self.background is not None and true[self.background] > 0:
                rest = true[self.background] - table[self.background].sum()
                overlaps.append(rest / (true[self.background] + (total - table.sum()) - rest))
            listed = {
                name: [None if k not in classes or np.isnan(values[k]) else float(values[k]) for k in range(len(true))]
                for name, values in (("precision", precision), ("recall", recall), ("iou", iou))
            }
            # A class without a single seed has no wrong one, and none that is right.
            precision, recall, iou = (
                float(np.nan_to_num(values[classes]).mean()) if classes else 0.0 for values in (precision, recall, iou)
            )
            miou = float(np.mean(overlaps or [0.0]))
            result.append(SeedQuality(level / BINS, precision, recall, iou, miou, listed))
        return result


def best(curve: list[SeedQuality]) -> SeedQuality:
    """The threshold of the largest mean IoU."""
    return max(curve, key=lambda quality: quality.miou)


def precision_at(curve: list[SeedQuality], recall: float) -> float:
    """Mean precision at a mean recall: the highest where several thresholds share it, linear in between."""
    highest: dict[float, float] = {}
    for quality in curve:
        highest[quality.recall] = max(quality.precision, highest.get(quality.recall, 0.0))
    levels = sorted(highest)
    return float(np.interp(recall, levels, [highest[level] for level in levels]))


def measure_seeds(
    model: TagClassifier, dataset: LabelledImages, truth: LabelledImages, cfg: CamConfig, *, progress: bool = False
) -> tuple[SeedCurve, dict[int, np.ndarray]]:
    """Counts over a data set, whose images the processes share.

    Args:
        model: in eval mode.
        dataset: images with tags; those without a tag of the classifier are left out.
        truth: full masks of the same images, found by id.
        cfg: settings of the maps.
        progress: show a bar.

    Returns:
        The counts, and the largest map of some images, float32 `[H, W]` by index.

    Raises:
        ValueError: images without truth, or with masks of another size.
    """
    where = {id: index for index, id in enumerate(truth.ids)}
    absent = [id for id in dataset.ids if id not in where]
    if absent:
        raise InputError(
            f"{len(absent)} images have no truth, first: {absent[0]!r}; give the --truth-split that has them"
        )
    curve = SeedCurve(len(model.config["class_names"]), model.config["background"])
    drawn, shown = set(evenly_spaced(len(dataset), _SHEET)), {}
    for index in tqdm(distributed.shard(len(dataset)), desc="maps", unit="img", disable=not progress):
        tags = np.flatnonzero(read_tags(dataset, index)[0][list(model.classes)])
        if not len(tags):
            continue
        mask = truth.read(where[dataset.ids[index]])[1]
        maps = tag_maps(model, dataset.read(index)[0], torch.from_numpy(tags), cfg)
        score, label = F.interpolate(maps[None].cpu(), size=mask.shape, mode="bilinear")[0].max(0)
        curve.update(np.array(model.classes)[tags][label.numpy()], score.numpy(), mask)
        if index in drawn:
            shown[index] = score.numpy()
    curve.sum_across()
    return curve, {index: scores for part in distributed.gather_objects(shown) for index, scores in part.items()}


def compare_seeds(
    folders: Sequence[str],
    spec: DataSpec,
    split: str,
    truth: LabelledImages,
    cfg: CamConfig,
    *,
    recall: float | None = None,
    progress: bool = False,
) -> tuple[list[dict[str, Any]], list[dict[int, np.ndarray]], list[str]]:
    """Measure tag classifiers on one data set, and compare their precision at one recall.

    Args:
        folders: folders of tag classifiers.
        spec: data set with tags.
        split: split of it.
        truth: full masks of the same images.
        cfg: settings of the maps.
        recall: recall at which precisions are compared, 0..1; that of the first classifier at its best mIoU if None.
        progress: show a bar.

    Returns:
        Per classifier its curve, best threshold and precision at the recall; its largest maps of some images, see
        `measure_seeds`; and the ids of the images.
    """
    rows: list[dict[str, Any]] = []
    shown: list[dict[int, np.ndarray]] = []
    for folder in folders:
        model = load_classifier(folder)
        open_tagged(model, truth)
        dataset = open_tagged(model, open_split(spec, split))
        curve, maps = measure_seeds(model, dataset, truth, cfg, progress=progress)
        shown.append(maps)
        rows.append({"classifier": str(folder), "curve": curve.compute()})
    level = best(rows[0]["curve"]).recall if recall is None else recall
    for row in rows:
        equal = {"recall": level, "precision": precision_at(row["curve"], level)}
        row |= {"best": best(row["curve"]), "precision_at_recall": equal}
    return rows, shown, dataset.ids


def format_seeds(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the classifiers of `compare_seeds` as a table."""
    width = max(len(row["classifier"]) for row in rows)
    level = rows[0]["precision_at_recall"]["recall"]
    lines = [
        f"{'classifier':<{width}}  threshold  precision  recall    IoU   mIoU  precision at recall {100 * level:.1f}"
    ]
    for row in rows:
        top, equal = row["best"], row["precision_at_recall"]["precision"]
        lines.append(
            f"{row['classifier']:<{width}}  {top.threshold:9.2f}  {100 * top.precision:9.1f}  {100 * top.recall:6.1f}"
            f"  {100 * top.iou:5.1f}  {100 * top.miou:5.1f}  {100 * equal:22.1f}"
        )
    return "\n".join(lines)


def draw_seeds(
    folders: Sequence[str], shown: Sequence[Mapping[int, np.ndarray]], truth: LabelledImages, ids: Sequence[str]
) -> Image.Image:
    """Draw some images with the maps of every classifier; arguments as `compare_seeds` returned them."""
    where, pictures = {id: index for index, id in enumerate(truth.ids)}, []
    for index in sorted(shown[0]):
        image, mask = truth.read(where[ids[index]])
        heat = [heatmap(maps[index], low=0, high=1) for maps in shown]
        pictures.append([image, overlay(image, mask, truth.label_space.colors), *heat])
    titles = ["image", "truth", *(Path(folder).parent.name for folder in folders)]
    captions = [ids[index] for index in sorted(shown[0])]
    return contact_sheet(pictures, titles, captions=captions, width=200)
