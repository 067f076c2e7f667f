"""`gss weak report`: how much of a data set is labelled, and how good weak labels or pseudo-masks are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gss import distributed
from gss.data.datasets import LabelledImages, SegmentationDataset, open_split
from gss.data.specs import load_spec
from gss.files import write_json
from gss.labels import IGNORE_INDEX
from gss.sampling import evenly_spaced
from gss.visualize import colorize, error_map, heatmap
from gss.weak.folder import open_labelled
from gss.weak.report_page import build_report, format_report

__all__ = ["LabelQuality", "main", "measure"]

BINS = 20
_PICTURES = 6


class LabelQuality:
    """Streaming counts of labels, which may abstain, against full masks.

    Pixels whose truth is void never count where truth is given. Counts are integers, so any split of the images gives
    the same result.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # Rows: truth, K where there is none. Columns: label, K where it abstains.
        self.confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        # Pixels, correct pixels, and confidences in units of 1 / 65535, of labelled pixels with truth.
        self.bins = np.zeros((3, BINS), np.int64)
        self.images, self.unlabelled_images = 0, 0

    def update(self, labels: np.ndarray, confidence: np.ndarray | None, truth: np.ndarray | None) -> None:
        """Count one image.

        Args:
            labels: uint8 `[H, W]`, 255 where they abstain.
            confidence: `[H, W]` in 0..1, if there is one.
            truth: uint8 `[H, W]`, 255 where void, if there is one.

        Raises:
            ValueError: the sizes differ.
        """
        K = self.num_classes
        if truth is not None and truth.shape != labels.shape:
            raise ValueError(
                f"labels are {labels.shape}, their truth is {truth.shape}: give the data set they were made for"
            )
        known = labels != IGNORE_INDEX
        self.images += 1
        self.unlabelled_images += not known.any()
        rows = np.full(labels.shape, K) if truth is None else np.minimum(truth, K).astype(np.int64)
        pairs = rows * (K + 1) + np.minimum(labels, K)
        self.confusion += np.bincount(pairs.ravel(), minlength=(K + 1) ** 2).reshape(K + 1, K + 1)
        if truth is not None and confidence is not None:
            counted = known & (truth != IGNORE_INDEX)
            units = np.round(confidence[counted] * 65535).astype(np.int64)
            place = np.clip((units * BINS - 1) // 65535, 0, BINS - 1)
            right = (labels == truth)[counted]
            self.bins += np.stack(
                [
                    np.bincount(place, minlength=BINS),
                    np.bincount(place[right], minlength=BINS),
                    np.bincount(place, units, minlength=BINS).round().astype(np.int64),
                ]
            )

    def sum_across(self) -> None:
        """Replace the counts by their sum over all processes."""
        flat = np.concatenate([self.confusion.ravel(), self.bins.ravel(), [self.images, self.unlabelled_images]])
        flat = distributed.sum_across(torch.from_numpy(flat)).numpy()
        cells = self.confusion.size
        self.confusion, self.bins = flat[:cells].reshape(self.confusion.shape), flat[cells:-2].reshape(3, BINS)
        self.images, self.unlabelled_images = int(flat[-2]), int(flat[-1])

    def compute(self) -> dict[str, Any]:
        """Divide the counts.

        Returns:
            `images`, `unlabelled_images`, `coverage` (share of labelled pixels), `pixels` per class; and where truth
            was given, of pixels with truth: `precision` (labelled pixels that are right), `recall` (pixels that are
            labelled and right), `iou` and `miou` with abstention counted as a miss, all of them also per class (None
            for a class that is nowhere); `ece` and `reliability` where there was confidence, and `curve`: coverage and
            precision when only labels of at least each confidence are kept.
        """
        K, confusion = self.num_classes, self.confusion
        total = int(confusion.sum())
        result: dict[str, Any] = {
            "images": self.images,
            "unlabelled_images": self.unlabelled_images,
            "coverage": float(confusion[:, :K].sum() / total) if total else None,
            "pixels": confusion[:, :K].sum(0).tolist(),
        }
        valid = confusion[:K]
        if not valid.sum():
            return result
        hits, labelled, true = valid[:, :K].diagonal(), valid[:, :K].sum(0), valid.sum(1)
        iou = _ratios(hits, true + labelled - hits)
        seen = [value for value in iou if value is not None]
        result |= {
            "precision": float(hits.sum() / labelled.sum()) if labelled.sum() else None,
            "recall": float(hits.sum() / true.sum()),
            "miou": float(np.mean(seen)),
            "iou": iou,
            "precision_per_class": _ratios(hits, labelled),
            "recall_per_class": _ratios(hits, true),
            "mean_precision": _mean(_ratios(hits, labelled)),
            "mean_recall": _mean(_ratios(hits, true)),
        }
        pixels, right, units = self.bins.astype(np.float64)
        if pixels.sum():
            sure = units / 65535
            result["ece"] = float(np.abs(right - sure).sum() / pixels.sum())
            result["reliability"] = [
                {"confidence": c, "accuracy": a, "pixels": int(n)}
                for c, a, n in zip(_ratios(sure, pixels), _ratios(right, pixels), pixels, strict=True)
            ]
            kept, good = pixels[::-1].cumsum()[::-1], right[::-1].cumsum()[::-1]
            result["curve"] = [
                {"confidence": k / BINS, "coverage": float(kept[k] / true.sum()), "precision": float(good[k] / kept[k])}
                for k in range(BINS)
                if kept[k]
            ]
        return result


def measure(
    dataset: LabelledImages, truth: LabelledImages | None = None, *, pictures: int = _PICTURES, progress: bool = False
) -> tuple[dict[str, Any], list[tuple[str, list[Image.Image]]]]:
    """Measure the labels of a data set; sharded over processes.

    Args:
        dataset: labels to judge.
        truth: full masks of the same images, found by id.
        pictures: number of images to draw.
        progress: show a bar.

    Returns:
        `LabelQuality.compute`, and (caption, pictures) of images evenly spread, on the main process.

    Raises:
        ValueError: other classes, or images without truth.
    """
    space = dataset.label_space
    where: dict[str, int] = {}
    if truth is not None:
        if truth.label_space.names != space.names:
            mine, theirs = (", ".join(names[:8]) for names in (space.names, truth.label_space.names))
            raise ValueError(f"the classes differ: labels have {mine}; their truth has {theirs}")
        where = {id: index for index, id in enumerate(truth.ids)}
        absent = [id for id in dataset.ids if id not in where]
        if absent:
            raise ValueError(
                f"{len(absent)} images have no truth, first: {absent[0]!r}; give the --truth-split that has them"
            )
    quality = LabelQuality(space.num_classes)
    drawn = set(evenly_spaced(len(dataset), pictures))
    rows = []
    for index in tqdm(distributed.shard(len(dataset)), desc="reading labels", unit="img", disable=not progress):
        image, labels = dataset.read(index)
        confidence = dataset.read_weak(index)[1] if isinstance(dataset, SegmentationDataset) else None
        true = None if truth is None else truth.read(where[dataset.ids[index]])[1]
        try:
            quality.update(labels, confidence, true)
        except ValueError as error:
            raise ValueError(f"image {dataset.ids[index]!r}: {error}") from error
        if index in drawn and distributed.is_main():
            row = [image, colorize(labels, space.colors, void=(255, 255, 255))]
            if confidence is not None:
                row.append(heatmap(confidence, low=0, high=1))
            if true is not None:
                judged = np.where(labels == IGNORE_INDEX, IGNORE_INDEX, true).astype(np.uint8)
                row += [
                    colorize(true, space.colors),
                    error_map(np.where(labels == IGNORE_INDEX, 0, labels), judged, image),
                ]
            rows.append((dataset.ids[index], row))
    quality.sum_across()
    return quality.compute(), rows


def main(args: argparse.Namespace) -> None:
    """Handle `gss weak report`."""
    spec = load_spec(args.spec, args.root)
    dataset, truth = open_split(spec, args.split), None
    if args.truth:
        truth = open_labelled(load_spec(args.truth, args.truth_root), args.truth_split or args.split)
    result, rows = measure(dataset, truth, pictures=_PICTURES if args.html else 0, progress=distributed.is_main())
    if not distributed.is_main():
        return
    print(format_report(result, dataset.label_space.names))
    facts = {"data": spec.name, "split": args.split, "classes": list(dataset.label_space.names), "truth": args.truth}
    if args.json:
        write_json(Path(args.json), {**facts, **result})
    if args.html:
        build_report(result, rows, dataset, title=f"{spec.name} · {args.split}").save(args.html)


def _ratios(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [float(p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
