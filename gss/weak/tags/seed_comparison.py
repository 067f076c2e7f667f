"""Tag classifiers compared by their seeds on one data set (`gss weak seeds`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from gss.evaluation.images import ImageShare, Unreadable
from gss.models.tags import TagClassifier
from gss.pipeline.loading import load_classifier
from gss.report.pictures import contact_sheet, heatmap, overlay
from gss.report.tables import Cell, Table
from gss.weak.tags.produce import open_tagged, tag_maps
from gss.weak.tags.seed_curve import SeedCurve, SeedQuality, best, precision_at

_PICTURES = 12


@dataclass(frozen=True)
class ClassifierSeeds:
    """Seeds of one tag classifier.

    Attributes:
        classifier: folder.
        curve: quality at all thresholds.
        maps: largest map of some images, float32 `[H, W]` in 0..1, by id.
        unreadable: images that are left out because a file of theirs cannot be read.
    """

    classifier: str
    curve: list[SeedQuality]
    maps: Mapping[str, np.ndarray] = field(repr=False)
    unreadable: list[Unreadable] = field(default_factory=list)


@dataclass(frozen=True)
class SeedComparison:
    """Seeds of several tag classifiers on the same images.

    Attributes:
        data: name of the data set.
        split: split of the images.
        classes: names of the classes.
        cam: settings of the maps.
        recall: recall at which precisions are compared, 0..1.
        classifiers: results by classifier.
    """

    data: str
    split: str
    classes: tuple[str, ...]
    cam: CamConfig
    recall: float
    classifiers: tuple[ClassifierSeeds, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the maps."""
        rows = [
            {
                "classifier": seeds.classifier,
                "unreadable": [image.to_json() for image in seeds.unreadable],
                "curve": [dataclasses.asdict(quality) for quality in seeds.curve],
                "best": dataclasses.asdict(best(seeds.curve)),
                "precision_at_recall": {"recall": self.recall, "precision": precision_at(seeds.curve, self.recall)},
            }
            for seeds in self.classifiers
        ]
        facts = {"schema_version": 1, "data": self.data, "split": self.split, "classes": list(self.classes)}
        return {**facts, "cam": dataclasses.asdict(self.cam), "classifiers": rows}

    def table(self) -> Table:
        """Return each classifier at the threshold of its best mIoU, in percent."""
        columns = ["classifier", "threshold", "precision", "recall", "IoU", "mIoU"]
        rows: list[list[Cell]] = []
        for seeds in self.classifiers:
            top = best(seeds.curve)
            shares = (top.precision, top.recall, top.iou, top.miou, precision_at(seeds.curve, self.recall))
            rows.append([seeds.classifier, f"{top.threshold:.2f}", *(100 * share for share in shares)])
        return Table("", [*columns, f"precision at recall {100 * self.recall:.1f}"], rows, digits=1)

    def picture(self, truth: LabelledImages) -> Image.Image:
        """Draw some images with their masks and the maps of every classifier.

        Args:
            truth: full masks of the images.
        """
        ids = sorted(self.classifiers[0].maps)
        rows, space = [], truth.label_space
        for id in ids:
            image, mask = truth.read(truth.ids.index(id))
            heat = [heatmap(seeds.maps[id], low=0, high=1) for seeds in self.classifiers]
            rows.append([image, overlay(image, mask, space.colors, clear=space.background), *heat])
        titles = ["image", "truth", *(Path(seeds.classifier).parent.name for seeds in self.classifiers)]
        return contact_sheet(rows, titles, captions=ids, width=200)


def measure_seeds(
    model: TagClassifier, dataset: LabelledImages, truth: LabelledImages, cfg: CamConfig, *, progress: bool = False
) -> tuple[SeedCurve, dict[str, np.ndarray], list[Unreadable]]:
    """Count the seeds of a classifier over a data set; processes share the images.

    Args:
        model: classifier in eval mode.
        dataset: images with tags; those without a tag of the classifier are left out.
        truth: full masks of the same images, found by id.
        cfg: settings of the maps.
        progress: True shows a bar.

    Returns:
        The counts, the largest map of some images, float32 `[H, W]` by id, and the images that could not be read.

    Raises:
        InputError: images without full masks, or no image that can be read.
    """
    positions = {id: index for index, id in enumerate(truth.ids)}
    absent = [id for id in dataset.ids if id not in positions]
    if absent:
        raise InputError(
            f"{len(absent)} images have no truth, first: {absent[0]!r}; give the --truth-split that has them"
        )
    curve = SeedCurve(len(model.config["class_names"]), model.config["background"])
    drawn, pictures = set(evenly_spaced(len(dataset), _PICTURES)), {}
    # 1. Images with the masks of the truth; tags come from the data set.
    images = ImageShare(
        dataset,
        range(len(dataset)),
        read=lambda index: (dataset.read(index)[0], truth.read(positions[dataset.ids[index]])[1]),
    )
    for sample in tqdm(images, desc="maps", unit="img", disable=not progress):
        id = dataset.ids[sample.index]
        try:
            tags = np.flatnonzero(read_tags(dataset, sample.index)[0][list(model.classes)])
        except (InputError, OSError) as error:
            images.leave_out(sample.index, error)
            continue
        if not len(tags):
            continue
        # 2. The largest of the maps and its class, at the size of the mask.
        maps = tag_maps(model, sample.image, torch.from_numpy(tags), cfg)  # [T, h, w]
        score, label = F.interpolate(maps[None].cpu(), size=sample.labels.shape, mode="bilinear")[0].max(0)  # [H, W]
        curve.update(np.array(model.classes)[tags][label.numpy()], score.numpy(), sample.labels)
        if sample.index in drawn:
            pictures[id] = score.numpy()
    # 3. Sum over the processes.
    curve.sum_across()
    everywhere = {id: score for part in distributed.gather_objects(pictures) for id, score in part.items()}
    return curve, everywhere, images.unreadable()


def compare_seeds(
    folders: Sequence[str],
    spec: DataSpec,
    split: str,
    truth: LabelledImages,
    cfg: CamConfig,
    *,
    recall: float | None = None,
    progress: bool = False,
) -> SeedComparison:
    """Measure tag classifiers on one data set.

    Args:
        folders: folders of tag classifiers.
        spec: data set with tags.
        split: split of the images.
        truth: full masks of the same images.
        cfg: settings of the maps.
        recall: recall at which precisions are compared, above 0 and at most 1; that of the first classifier at its
            best mIoU by default.
        progress: True shows a bar.

    Raises:
        InputError: no classifier, a recall out of range, other classes, or what `measure_seeds` refuses.
    """
    if not folders:
        raise InputError("no classifier is named: give one or more folders that 'gss train weak-tags' wrote")
    if recall is not None and not 0 < recall <= 1:
        raise InputError(f"--recall is {recall}; it must be above 0 and at most 1")
    results = []
    for folder in folders:
        model = load_classifier(folder)
        open_tagged(model, truth)
        dataset = open_tagged(model, open_split(spec, split))
        curve, maps, unreadable = measure_seeds(model, dataset, truth, cfg, progress=progress)
        results.append(ClassifierSeeds(str(folder), curve.compute(), maps, unreadable))
    return SeedComparison(
        data=spec.name,
        split=split,
        classes=truth.label_space.names,
        cam=cfg,
        recall=best(results[0].curve).recall if recall is None else recall,
        classifiers=tuple(results),
    )
