"""Stage `weak-tags`: a tag classifier, which may learn from out-of-distribution images to tell context from classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gss.config.tags import WeakTagsConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.open import build_dataset
from gss.data.protocols import LabelledImages, ReadableImages
from gss.data.tagged import ImageFolder, TaggedImages, fit_longer_side, read_tags
from gss.data.transforms import JointTransform
from gss.data.weak.names import ClassNames
from gss.evaluation.checks import check_classes
from gss.labels.space import LabelSpace
from gss.models.tags import TagClassifier
from gss.pipeline.loading import load_classifier
from gss.pipeline.store.bars import without_bars
from gss.report.pictures import contact_sheet, heatmap
from gss.training.engine.sources import Source
from gss.training.engine.stage import Say, quiet, report, seed_stage, train_task
from gss.training.engine.task import Task
from gss.training.identity import data_source, files_source, folder_sources
from gss.training.weak.wood import OoDLosses, tags_of, whole_image
from gss.weak.tags.cam import activation_maps

_PICTURES = 6


class TagTask(Task):
    """Training of a tag classifier with the losses of W-OoD (Lee et al., CVPR 2022).

    For a share of the run the classifier learns tags alone. Then centres of the classes and of the out-of-distribution
    images are fitted once to its features, and follow them from batch to batch. The last weights are exported, or
    their average (`train.ema_decay`); full masks do not choose them.

    Args:
        cfg: settings of the stage.
        train: unaugmented training images, for the centres.
        val: images with tags to validate on; without them nothing is validated, and pictures show training images.
        others: out-of-distribution images, if they are in a folder.
    """

    export_name = "classifier"

    def __init__(
        self, cfg: WeakTagsConfig, train: LabelledImages, val: LabelledImages | None, others: ImageFolder | None
    ) -> None:
        super().__init__()
        self.cfg, self._train_set, self._val_set, self._others = cfg, train, val, others
        self.classifier = build_classifier(cfg, train.label_space, background_of(train))
        self.size = int(self.classifier.config["image_size"])
        self.first = round(cfg.wood.start * cfg.train.steps)
        if cfg.wood.ood:
            self.ood = OoDLosses(cfg, self.classifier.dim, len(self.classifier.classes), train, others)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Return the weighted sum of the losses in use, and each of them."""
        wood, on = self.cfg.wood, bool(self.cfg.wood.ood) and step >= self.first
        tags = self.classifier.tags(batch["tags"])
        output = self.classifier(batch["image"], features=on and self._others is None)
        total = tag_loss(cast(Tensor, output.logits), tags, batch["exhaustive"])
        terms = {"tags": total}
        if on:
            terms |= self.ood(self.classifier, output, batch, tags, step)
            total = total + wood.absent * terms["absent"]
            if wood.distance:
                total = total + wood.distance * terms["distance"]
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def validate(self) -> dict[str, float]:
        """Return the mean average precision of the tags, and the mean probability of absent classes."""
        if self._val_set is None:
            return {}
        rows = []
        for index in distributed.shard(len(self._val_set)):
            tags, exhaustive = read_tags(self._val_set, index)
            logits = self.classifier(whole_image(self.classifier, self._val_set.read(index)[0])).logits
            known = tags | exhaustive
            classes = list(self.classifier.classes)
            rows.append((index, logits[0].float().sigmoid().cpu().numpy(), tags[classes], known[classes]))
        rows = sorted((row for part in distributed.gather_objects(rows) for row in part), key=lambda row: row[0])
        probs, tags, known = (np.stack([row[k] for row in rows]) for k in (1, 2, 3))
        absent = known & ~tags
        return {
            "map": mean_average_precision(probs, tags, known),
            "false": float(probs[absent].mean()) if absent.any() else float("nan"),
        }

    def pictures(self) -> dict[str, Image.Image]:
        """Return images with the activation maps of their tags, one row an image."""
        shown: ReadableImages = self._train_set if self._val_set is None else self._val_set
        names, rows, captions = shown.label_space.names, [], []
        for index in evenly_spaced(len(shown), _PICTURES):
            image, tags = fit_longer_side(shown.read(index)[0], self.size), tags_of(self.classifier, shown, index)
            maps = activation_maps(self.classifier, whole_image(self.classifier, image), tags)
            heat = F.interpolate(maps, size=image.size[::-1], mode="bilinear")[0].cpu().numpy()
            found = [k for k in np.flatnonzero(tags[0].cpu().numpy())][:4]
            rows.append([image, *(heatmap(heat[k], low=0, high=1) for k in found)])
            captions.append(", ".join(names[self.classifier.classes[k]] for k in found))
        widest = max(len(row) for row in rows)
        rows = [row + [Image.new("RGB", row[0].size, "white")] * (widest - len(row)) for row in rows]
        return {"maps": contact_sheet(rows, ["image", *[""] * (widest - 1)], captions=captions, width=240)}

    def export(self, folder: Path) -> None:
        """Write the classifier."""
        with without_bars():
            self.classifier.save_pretrained(folder)


def tag_loss(logits: Tensor, tags: Tensor, exhaustive: Tensor) -> Tensor:
    """Return the binary cross-entropy of what is known: a class without a tag is absent only if tags are exhaustive.

    Args:
        logits: `[B, K]`.
        tags: bool `[B, K]`.
        exhaustive: bool `[B]`.
    """
    known = (tags | exhaustive[:, None]).float()
    each = F.binary_cross_entropy_with_logits(logits.float(), tags.float(), reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)


def mean_average_precision(scores: np.ndarray, tags: np.ndarray, known: np.ndarray) -> float:
    """Return the mean over classes of the average precision; NaN without any true image.

    Args:
        scores: `[N, K]`.
        tags: bool `[N, K]`.
        known: bool `[N, K]`, True where the class has a tag or is known to be absent.
    """
    found = []
    for k in range(scores.shape[1]):
        rows = np.flatnonzero(known[:, k])
        right = tags[rows[np.argsort(-scores[rows, k], kind="stable")], k]
        if right.any():
            found.append(float((right.cumsum() / np.arange(1, len(right) + 1))[right].mean()))
    return float(np.mean(found)) if found else float("nan")


def background_of(dataset: ReadableImages) -> int | None:
    """Return the label without a tag: that of the weak labels, or the class called background."""
    if isinstance(dataset, SegmentationDataset) and dataset.weak is not None:
        return dataset.weak.reader.options.background
    return ClassNames(dataset.label_space).background()


def build_classifier(cfg: WeakTagsConfig, space: LabelSpace, background: int | None) -> TagClassifier:
    """Build the classifier of a configuration.

    Raises:
        InputError: settings that `TagClassifier` refuses, or a `tags.init_from` of other classes or shape.
    """
    model = cfg.tags
    built = TagClassifier.from_backbone(
        model.backbone,
        backbone_config=model.backbone_config,
        pretrained=model.pretrained and not model.init_from,
        output_stride=model.output_stride,
        class_names=list(space.names),
        background=background,
        levels=model.levels,
        freeze_batch_norm=model.freeze_batch_norm,
        image_size=max(cfg.data.crop),
    )
    if model.init_from:
        start = load_classifier(model.init_from, device="cpu")
        check_classes(list(start.config["class_names"]), list(space.names))
        try:
            built.load_state_dict(start.state_dict())
        except RuntimeError as error:
            raise InputError(
                f"tags.init_from={model.init_from} does not fit: {' '.join(str(error).split())[:200]}; give "
                "tags.backbone, tags.output_stride and tags.levels as they were"
            ) from error
    return built


def check_tags(dataset: LabelledImages, *, allow: bool) -> None:
    """Require that every class but the background is the tag of some image.

    Raises:
        InputError: one is not; names all such classes.
    """
    names, background = dataset.label_space.names, background_of(dataset)
    seen = np.arange(len(names)) == background
    for index in range(len(dataset)):
        seen |= read_tags(dataset, index)[0]
        if seen.all():
            return
    absent = ", ".join(name for name, found in zip(names, seen, strict=True) if not found)
    if not allow:
        raise InputError(
            f"no image of the training split has the tag {absent}: tag some, or set tags.allow_missing=true to train "
            "without these classes"
        )


def train_weak_tags(
    cfg: WeakTagsConfig, out: str | Path, *, resume: bool = False, say: Say = quiet
) -> dict[str, float]:
    """Train a tag classifier; the product is `out/classifier`.

    Arguments and result are those of `gss.training.run.train`; without `data.val_split` nothing is validated.

    Raises:
        InputError: no image has the tag of some class, the splits have different classes, or the folder of
            out-of-distribution images is empty or shares images with the training data.
    """
    data = cfg.data
    seed_stage(cfg)
    plain = build_dataset(data, data.train_split, train=False)
    check_tags(plain, allow=cfg.tags.allow_missing)
    others = None
    if cfg.wood.ood not in ("", "self"):
        others = ImageFolder(cfg.wood.ood, cache=data.cache)
        if isinstance(plain, SegmentationDataset):
            others.check_apart([sample.image for sample in plain.samples], "the training images")
    transform = JointTransform.from_config(data, cfg.train.seed)
    val = None
    if data.val_split:
        val = build_dataset(dataclasses.replace(data, cache=False), data.val_split, train=False)
        check_classes(plain.label_space.names, val.label_space.names)
    task = TagTask(cfg, plain, val, others)
    samples = TaggedImages(plain, transform, others=others)

    def sources() -> list[Source]:
        keys = ("data.spec", "data.root", "data.train_split")
        read = [data_source("training images", keys, plain)]
        if val is not None:
            read.append(data_source("validation images", ("data.val_split",), val))
        if others is not None:
            read.append(files_source("out-of-distribution images", ("wood.ood",), others.ids, others.files))
        return [
            *read,
            *folder_sources("weights of tags.init_from", "tags.init_from", cfg.tags.init_from),
            *folder_sources("weights of tags.backbone", "tags.backbone", cfg.tags.backbone),
        ]

    figures = train_task(cfg, task, samples, out, sources=sources, resume=resume)
    report(say, figures)
    return figures
