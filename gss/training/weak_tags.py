"""Stage `weak-tags`: a tag classifier, which out-of-distribution images keep from seeing context as its classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gss import distributed
from gss.config_tags import WeakTagsConfig
from gss.data.datasets import LabelledImages, ReadableImages, SegmentationDataset, build_dataset
from gss.data.tagged import ImageFolder, TaggedImages, fit_longer_side, read_tags
from gss.data.transforms import JointTransform, sample_generator, to_float
from gss.evaluation import check_classes
from gss.labels import LabelSpace
from gss.loading import load_classifier
from gss.models.tags import TagClassifier
from gss.ood.fitting import spread_indices
from gss.training.base import Task
from gss.training.loop import fit
from gss.visualize import contact_sheet, heatmap
from gss.weak.cam import activation_maps
from gss.weak.clusters import ClassCentres, OoDClusters
from gss.weak.names import ClassNames
from gss.weak.ood_loss import absent_loss, distance_loss, harden
from gss.weak.self_ood import background_crops

__all__ = ["TagTask", "background_of", "check_tags", "mean_average_precision", "train_weak_tags"]

_PICTURES = 6
_WINDOW_STREAM = 3  # windows draw apart from the augmentation of their images


class TagTask(Task):
    """Trains a tag classifier with the losses of W-OoD (Lee et al., CVPR 2022).

    For a share of the run it learns tags alone. Then, once, centres of the classes and of the out-of-distribution
    images are fitted to the features it has by then, and follow them from batch to batch. What is exported are the last
    weights, or their average (`train.ema_decay`): no pixel truth chooses them.

    Args:
        cfg: the run's configuration.
        train: unaugmented training images, for the centres.
        val: images with tags to validate on; None goes without, and pictures show training images.
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
        dim, wood, self._fitted = self.classifier.dim, cfg.wood, False
        self.first = round(wood.start * cfg.train.steps)
        if wood.ood:
            images = len(train) if others is None else len(others)
            self.clusters = OoDClusters(min(wood.clusters, images, wood.survey), dim)
            self.centres = ClassCentres(len(self.classifier.classes), dim)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """The weighted sum of the losses that are on, and each of them."""
        wood, on = self.cfg.wood, bool(self.cfg.wood.ood) and step >= self.first
        tags = self.classifier.tags(batch["tags"])
        output = self.classifier(batch["image"], features=on and self._others is None)
        pooled, logits = cast(Tensor, output.pooled), cast(Tensor, output.logits)
        total = tag_loss(logits, tags, batch["exhaustive"])
        terms = {"tags": total}
        if on:
            self._fit_centres_once()
            if self._others is None:
                windows = self._windows(batch, tags, cast(Tensor, output.features), step)
            else:
                windows = batch["other"]
            absent, strange = self._absent(windows)
            distance = distance_loss(
                pooled,
                tags,
                # The backward pass needs them as they are, and they go on before it.
                self.centres.centres.clone(),
                self.centres.seen,
                self.clusters.centres.clone(),
                share=wood.share,
                pull=wood.pull,
            )
            self.centres.update(pooled, tags, wood.momentum)
            self.clusters.update(strange, wood.momentum)
            terms |= {"absent": absent, "distance": distance}
            total = total + wood.absent * absent + wood.distance * distance
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def _absent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of images without any class, made harder first, and the pooled features of the images as they are."""
        if not len(images):
            # Batch statistics of nothing are an error.
            nothing = images.new_zeros(0, self.classifier.dim)
            return self.classifier.classifier.weight.sum() * 0, nothing
        plain: list[Tensor] = []

        def score(pixels: Tensor) -> Tensor:
            output = self.classifier(pixels)
            plain.append(cast(Tensor, output.pooled).detach())
            return cast(Tensor, output.logits)

        harder = harden(images, score, step=self.cfg.wood.step)
        return absent_loss(cast(Tensor, self.classifier(harder).logits)), plain[0]

    def _windows(self, batch: dict[str, Any], tags: Tensor, features: Tensor, step: int) -> Tensor:
        """Background beside the objects of a batch, `[N, 3, S, S]`."""
        # Of classes that may be there without a tag, the maps are kept away from too.
        doubted = tags | ~batch["exhaustive"][:, None]
        maps = self.classifier.class_maps(features.detach()).float().relu()
        maps = everywhere_if_unseen(maps / maps.amax((-2, -1), keepdim=True).clamp_min(1e-6), tags)
        return self._cut(batch["image"], maps.detach(), doubted, batch["index"].tolist(), step)

    def _cut(self, images: Tensor, maps: Tensor, tags: Tensor, indices: list[int], epoch: int) -> Tensor:
        seed = self.cfg.train.seed
        generators = [sample_generator(seed, epoch, index, _WINDOW_STREAM) for index in indices]
        # Of the crop, also where a whole image is shown: windows are alike in size.
        size = max(round(self.cfg.wood.size * min(self.cfg.data.crop)), 1)
        size = min(size, *images.shape[-2:])
        return background_crops(images, maps, tags, generators, size=size, threshold=self.cfg.wood.threshold).crops

    def _fit_centres_once(self) -> None:
        """Fit the centres, unless a checkpoint has brought them along."""
        if not self._fitted and not bool((self.clusters.counts > 0).any()):
            self._fit_centres()
        self._fitted = True

    @torch.no_grad()
    def _fit_centres(self) -> None:
        """Centres of classes and of out-of-distribution images, from the features of (some) whole images."""
        wood, model = self.cfg.wood, self.classifier
        was_training = model.training
        model.eval()
        own, flags, strange = [], [], []
        chosen = spread_indices(len(self._train_set), wood.survey)
        for position in distributed.shard(len(chosen)):
            index = chosen[position]
            image, tags = self._image(self._train_set.read(index)[0]), self._tags(self._train_set, index)
            own.append(cast(Tensor, model(image).pooled))
            flags.append(tags)
            if self._others is None:
                maps = everywhere_if_unseen(activation_maps(model, image, tags, scales=(1.0,), flip=False), tags)
                strange += [model(window).pooled for window in self._cut(image, maps, tags, [index], 0).split(1)]
        if self._others is not None:
            chosen = spread_indices(len(self._others), wood.survey)
            for position in distributed.shard(len(chosen)):
                strange.append(model(self._image(self._others.read(chosen[position]))).pooled)
        self.centres.fit(torch.cat(own), torch.cat(flags))
        # Windows come as they are found: dealt out anew, as k-means wants its rows.
        rows = torch.cat(strange) if strange else own[0].new_zeros(0, model.dim)
        parts = [part.to(rows.device) for part in distributed.gather_objects(rows)]
        rows = torch.cat(parts)[distributed.process_index() :: distributed.num_processes()]
        try:
            self.clusters.fit(rows, torch.Generator().manual_seed(self.cfg.train.seed))
        except ValueError as error:
            more = "; more windows come from a higher wood.threshold or wood.start" if self._others is None else ""
            raise ValueError(f"wood.clusters={len(self.clusters.centres)}: {error}{more}") from error
        model.train(was_training)

    def _image(self, image: Image.Image) -> Tensor:
        """A whole image `[1, 3, h, w]` at the size of the training."""
        pixels = to_float(np.asarray(fit_longer_side(image, self.size)))
        return pixels[None].to(self.classifier.pixel_mean.device)

    def _tags(self, dataset: ReadableImages, index: int) -> Tensor:
        tags = torch.from_numpy(read_tags(dataset, index)[0])[None]
        return self.classifier.tags(tags).to(self.classifier.pixel_mean.device)

    def validate(self) -> dict[str, float]:
        """Mean average precision of the tags, and mean probability of classes that are not there."""
        if self._val_set is None:
            return {}
        rows = []
        for index in distributed.shard(len(self._val_set)):
            tags, exhaustive = read_tags(self._val_set, index)
            logits = self.classifier(self._image(self._val_set.read(index)[0])).logits
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
        """Images with the activation map of each of their tags, one row an image."""
        shown: ReadableImages = self._train_set if self._val_set is None else self._val_set
        names, rows, captions = shown.label_space.names, [], []
        for index in spread_indices(len(shown), _PICTURES):
            image, tags = fit_longer_side(shown.read(index)[0], self.size), self._tags(shown, index)
            maps = activation_maps(self.classifier, self._image(image), tags)
            heat = F.interpolate(maps, size=image.size[::-1], mode="bilinear")[0].cpu().numpy()
            found = [k for k in np.flatnonzero(tags[0].cpu().numpy())][:4]
            rows.append([image, *(heatmap(heat[k], low=0, high=1) for k in found)])
            captions.append(", ".join(names[self.classifier.classes[k]] for k in found))
        widest = max(len(row) for row in rows)
        rows = [row + [Image.new("RGB", row[0].size, "white")] * (widest - len(row)) for row in rows]
        return {"maps": contact_sheet(rows, ["image", *[""] * (widest - 1)], captions=captions, width=240)}

    def export(self, folder: Path) -> None:
        """Writes the classifier."""
        self.classifier.save_pretrained(folder)


def everywhere_if_unseen(maps: Tensor, tags: Tensor) -> Tensor:
    """Maps `[B, K, h, w]` with 1 all over for a tagged class that is 0 all over: nobody knows where it is not."""
    return torch.where((tags & (maps.amax((-2, -1)) <= 0))[..., None, None], 1.0, maps)


def tag_loss(logits: Tensor, tags: Tensor, exhaustive: Tensor) -> Tensor:
    """Binary cross-entropy over what is known: a class without a tag is absent only where the tags are all.

    Args:
        logits: `[B, K]`.
        tags: bool `[B, K]`.
        exhaustive: bool `[B]`.
    """
    known = (tags | exhaustive[:, None]).float()
    each = F.binary_cross_entropy_with_logits(logits.float(), tags.float(), reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)


def mean_average_precision(scores: np.ndarray, tags: np.ndarray, known: np.ndarray) -> float:
    """Mean over classes of the precision at every true image, in order of falling score; nan without any.

    Args:
        scores: `[N, K]`.
        tags: bool `[N, K]`.
        known: bool `[N, K]`, where a missing tag means absence.
    """
    found = []
    for k in range(scores.shape[1]):
        rows = np.flatnonzero(known[:, k])
        right = tags[rows[np.argsort(-scores[rows, k], kind="stable")], k]
        if right.any():
            found.append(float((right.cumsum() / np.arange(1, len(right) + 1))[right].mean()))
    return float(np.mean(found)) if found else float("nan")


def background_of(dataset: ReadableImages) -> int | None:
    """Label that stands for no tag: what the weak labels say, or the class called background."""
    if isinstance(dataset, SegmentationDataset) and dataset.weak is not None:
        return dataset.weak.reader.options.background
    return ClassNames(dataset.label_space).background()


def build_classifier(cfg: WeakTagsConfig, space: LabelSpace, background: int | None) -> TagClassifier:
    """The classifier a configuration asks for.

    Raises:
        ValueError: what `TagClassifier` refuses, or `tags.init_from` is of other classes or shape.
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
            raise ValueError(
                f"tags.init_from={model.init_from} does not fit: {' '.join(str(error).split())[:200]}; give "
                "tags.backbone, tags.output_stride and tags.levels as they were"
            ) from error
    return built


def check_tags(dataset: LabelledImages, *, allow: bool) -> None:
    """Require that every class but the background is the tag of some image.

    Raises:
        ValueError: one is not; names all such classes.
    """
    names, background = dataset.label_space.names, background_of(dataset)
    seen = np.arange(len(names)) == background
    for index in range(len(dataset)):
        seen |= read_tags(dataset, index)[0]
        if seen.all():
            return
    absent = ", ".join(name for name, found in zip(names, seen, strict=True) if not found)
    if not allow:
        raise ValueError(
            f"no image of the training split has the tag {absent}: tag some, or set tags.allow_missing=true to train "
            "without these classes"
        )


def train_weak_tags(cfg: WeakTagsConfig, out: str | Path, *, resume: bool = False) -> dict[str, float]:
    """Trains a tag classifier; the product is `out/classifier`.

    Args:
        cfg: its configuration; an empty `data.val_split` goes without validation.
        out: run folder.
        resume: go on from the newest checkpoint.

    Returns:
        Validation figures of the last weights.

    Raises:
        ValueError: a class that is no image's tag, other classes in the splits, a folder of out-of-distribution images
            that is empty or shares images with the training data.
    """
    distributed.num_processes()
    torch.manual_seed(cfg.train.seed)
    data = cfg.data
    plain = build_dataset(data, data.train_split, train=False)
    check_tags(plain, allow=cfg.tags.allow_missing)
    others = None
    if cfg.wood.ood not in ("", "self"):
        others = ImageFolder(cfg.wood.ood, cache=data.cache)
        if isinstance(plain, SegmentationDataset):
            others.check_apart([sample.image for sample in plain.samples], "the training images")
    transform = JointTransform(
        crop=(data.crop[0], data.crop[1]),
        scale=(data.scale[0], data.scale[1]),
        flip=data.flip,
        photometric=data.photometric,
        shift=data.shift,
        shifts=tuple(data.shifts),
        seed=cfg.train.seed,
    )
    val = None
    if data.val_split:
        val = build_dataset(dataclasses.replace(data, cache=False), data.val_split, train=False)
        check_classes(plain.label_space.names, val.label_space.names)
    metrics = fit(
        TagTask(cfg, plain, val, others),
        TaggedImages(plain, transform, others=others),
        optim=cfg.optim,
        train=cfg.train,
        out=Path(out),
        workers=data.workers,
        resume=resume,
        config=cfg,
    )
    if metrics and distributed.is_main():
        print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return metrics
