"""W-OoD in training: losses of out-of-distribution images, and the centres that these losses need."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gss.config.tags import WeakTagsConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages, ReadableImages
from gss.data.tagged import ImageFolder, fit_longer_side, read_tags
from gss.data.transforms import sample_generator, to_float
from gss.models.tags import TagClassifier, TagOutput
from gss.weak.tags.cam import activation_maps
from gss.weak.tags.clusters import ClassCentres, OoDClusters
from gss.weak.tags.losses import absent_loss, distance_loss, harden
from gss.weak.tags.self_ood import background_crops

_WINDOW_STREAM = 3  # random stream of the windows, other than that of the augmentation


class OoDLosses(nn.Module):
    """Losses of out-of-distribution images, with centres that follow the features; no parameters.

    Args:
        cfg: settings of the stage.
        dim: channels of the pooled features.
        num_classes: K tags.
        train: unaugmented training images, to which the centres are fitted once.
        others: out-of-distribution images; None cuts them from the training images.
    """

    def __init__(
        self, cfg: WeakTagsConfig, dim: int, num_classes: int, train: LabelledImages, others: ImageFolder | None
    ) -> None:
        super().__init__()
        self.cfg, self._train_set, self._others, self._fitted = cfg, train, others, False
        if cfg.wood.distance:
            images = len(train) if others is None else len(others)
            self.clusters = OoDClusters(min(cfg.wood.clusters, images, cfg.wood.survey), dim)
            self.centres = ClassCentres(num_classes, dim)

    def forward(
        self, model: TagClassifier, output: TagOutput, batch: dict[str, Any], tags: Tensor, step: int
    ) -> dict[str, Tensor]:
        """Return `absent` and, if it has a weight, `distance`, both unweighted, and update the centres.

        Args:
            model: classifier.
            output: output of the classifier on the batch; with features if there is no folder of other images.
            batch: `image`, `index`, `exhaustive` and, with a folder, `other`.
            tags: bool `[B, K]`.
            step: optimizer step.
        """
        wood, pooled = self.cfg.wood, cast(Tensor, output.pooled)
        if wood.distance:
            self._fit_once(model)
        if self._others is None:
            images = self._windows(model, batch, tags, cast(Tensor, output.features), step)
        else:
            images = batch["other"]
        absent, features = self._absent(model, images)
        if not wood.distance:
            return {"absent": absent}
        distance = distance_loss(
            pooled,
            tags,
            # Copies: the backward pass needs the centres of before the update below.
            self.centres.centres.clone(),
            self.centres.seen,
            self.clusters.centres.clone(),
            share=wood.share,
            pull=wood.pull,
        )
        self.centres.update(pooled, tags, wood.momentum)
        self.clusters.update(features, wood.momentum)
        return {"absent": absent, "distance": distance}

    def _absent(self, model: TagClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of images without any class, after `harden`, and the pooled features of the images before."""
        if not len(images):
            # Batch statistics of an empty batch are an error.
            return model.classifier.weight.sum() * 0, images.new_zeros(0, model.dim)
        plain: list[Tensor] = []

        def score(pixels: Tensor) -> Tensor:
            output = model(pixels)
            plain.append(cast(Tensor, output.pooled).detach())
            return cast(Tensor, output.logits)

        harder = harden(images, score, step=self.cfg.wood.step)
        return absent_loss(cast(Tensor, model(harder).logits)), plain[0]

    def _windows(
        self, model: TagClassifier, batch: dict[str, Any], tags: Tensor, features: Tensor, step: int
    ) -> Tensor:
        """Return windows of background beside the objects of a batch, `[N, 3, S, S]`."""
        # Where tags may be incomplete, windows avoid the maps of all classes.
        possible = tags | ~batch["exhaustive"][:, None]
        maps = model.class_maps(features.detach()).float().relu()
        maps = everywhere_if_unseen(maps / maps.amax((-2, -1), keepdim=True).clamp_min(1e-6), tags)
        return self._cut(batch["image"], maps.detach(), possible, batch["index"].tolist(), step)

    def _cut(self, images: Tensor, maps: Tensor, tags: Tensor, indices: list[int], epoch: int) -> Tensor:
        seed = self.cfg.train.seed
        generators = [sample_generator(seed, epoch, index, _WINDOW_STREAM) for index in indices]
        # A share of the crop, also for whole images, so that windows have one size.
        size = max(round(self.cfg.wood.size * min(self.cfg.data.crop)), 1)
        size = min(size, *images.shape[-2:])
        return background_crops(images, maps, tags, generators, size=size, threshold=self.cfg.wood.threshold).crops

    def _fit_once(self, model: TagClassifier) -> None:
        """Fit the centres, unless a checkpoint held them."""
        if not self._fitted and not bool((self.clusters.counts > 0).any()):
            self._fit(model)
        self._fitted = True

    @torch.no_grad()
    def _fit(self, model: TagClassifier) -> None:
        """Fit the centres of classes and of out-of-distribution images to the features of (some) whole images."""
        wood = self.cfg.wood
        was_training = model.training
        model.eval()
        pooled, flags, other = [], [], []
        chosen = evenly_spaced(len(self._train_set), wood.survey or None)
        for position in distributed.shard(len(chosen)):
            index = chosen[position]
            image, tags = whole_image(model, self._train_set.read(index)[0]), tags_of(model, self._train_set, index)
            pooled.append(cast(Tensor, model(image).pooled))
            flags.append(tags)
            if self._others is None:
                maps = everywhere_if_unseen(activation_maps(model, image, tags, scales=(1.0,), flip=False), tags)
                other += [model(window).pooled for window in self._cut(image, maps, tags, [index], 0).split(1)]
        if self._others is not None:
            chosen = evenly_spaced(len(self._others), wood.survey or None)
            for position in distributed.shard(len(chosen)):
                other.append(model(whole_image(model, self._others.read(chosen[position]))).pooled)
        self.centres.fit(torch.cat(pooled), torch.cat(flags))
        # Processes may have different numbers of windows; k-means needs them shared evenly.
        rows = torch.cat(other) if other else pooled[0].new_zeros(0, model.dim)
        parts = [part.to(rows.device) for part in distributed.gather_objects(rows)]
        rows = torch.cat(parts)[distributed.process_index() :: distributed.num_processes()]
        try:
            self.clusters.fit(rows, torch.Generator().manual_seed(self.cfg.train.seed))
        except InputError as error:
            more = "; a higher wood.threshold or wood.start gives more windows" if self._others is None else ""
            raise InputError(f"wood.clusters={len(self.clusters.centres)}: {error}{more}") from error
        model.train(was_training)


def whole_image(model: TagClassifier, image: Image.Image) -> Tensor:
    """Return a whole image `[1, 3, h, w]` in 0..1 at the size of the training, on the device of the model."""
    pixels = to_float(np.asarray(fit_longer_side(image, int(model.config["image_size"]))))
    return pixels[None].to(model.pixel_mean.device)


def tags_of(model: TagClassifier, dataset: ReadableImages, index: int) -> Tensor:
    """Return the tags of an image, bool `[1, K]`, on the device of the model."""
    tags = torch.from_numpy(read_tags(dataset, index)[0])[None]
    return model.tags(tags).to(model.pixel_mean.device)


def everywhere_if_unseen(maps: Tensor, tags: Tensor) -> Tensor:
    """Return maps `[B, K, h, w]` with 1 everywhere for a tagged class whose map is 0 everywhere."""
    return torch.where((tags & (maps.amax((-2, -1)) <= 0))[..., None, None], 1.0, maps)
