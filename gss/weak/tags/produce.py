"""Pseudo-masks from image tags: activation maps, a random walk of them, and refinement along edges of the image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gss.config.tags import CamConfig, TagProduceConfig, WalkConfig
from gss.core.lookup.run_folders import PIPELINE_INDEX
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.specs.spec import DataSpec
from gss.data.tagged import read_tags
from gss.data.transforms import to_float
from gss.evaluation.checks import check_classes
from gss.labels.space import IGNORE_INDEX
from gss.models.tags import TagClassifier
from gss.weak.manifest import Manifest
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter, require_labels
from gss.weak.refine.labels import refine_probs
from gss.weak.refine.walks import image_links, random_walk
from gss.weak.tags.cam import activation_maps, seed_probs

# No link of a walk is weaker than this.
_WEAKEST = 1e-4


def is_classifier(folder: str | Path) -> bool:
    """Return whether a folder holds a tag classifier and not a pipeline."""
    path = Path(folder).expanduser()
    if (path / "classifier" / "config.json").is_file():
        return not (path / "pipeline" / PIPELINE_INDEX).is_file()
    alone = (path / "config.json").is_file() and not (path.parent / PIPELINE_INDEX).is_file()
    return alone and not (path / PIPELINE_INDEX).is_file()


def tag_maps(model: TagClassifier, image: Image.Image, tags: Tensor, cfg: CamConfig) -> Tensor:
    """Return activation maps of the tagged classes of an image.

    Args:
        model: in eval mode.
        image: RGB.
        tags: indices of the tagged classes among those of the model, int64 `[T]`.
        cfg: settings.

    Returns:
        float32 `[T, h, w]` in 0..1.
    """
    pixels = to_float(np.asarray(image))[None].to(model.pixel_mean.device)
    # The image itself is resized, so that a scale above 1 shows what a smaller copy has lost.
    unit = (cfg.size or int(model.config["image_size"])) / max(image.size)
    flags = torch.zeros(1, len(model.classes), dtype=torch.bool, device=pixels.device)
    flags[0, tags] = True
    maps = activation_maps(model, pixels, flags, scales=[unit * scale for scale in cfg.scales], flip=cfg.flip)
    return maps[0, tags]


def walked(maps: Tensor, image: np.ndarray, cfg: WalkConfig) -> Tensor:
    """Return activation maps after a random walk over similar pixels (Ahn and Kwak, CVPR 2018), scaled to maximum 1.

    Pixels are linked when no edge lies between them and their colours agree; no network is trained for it. Distances
    of backbone features as a third factor changed nothing.

    Args:
        maps: `[T, h, w]`.
        image: RGB uint8 `[H, W, 3]`.
        cfg: settings.

    Returns:
        float32 `[T, ceil(H / stride), ceil(W / stride)]`.
    """
    pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))  # [3, H, W]
    cells = F.avg_pool2d(pixels[None], cfg.stride, ceil_mode=True)[0].numpy()
    links = image_links(cells, radius=cfg.radius, edge=cfg.edge, color=cfg.color, weakest=_WEAKEST)
    grid = cells.shape[-2:]
    start = F.interpolate(maps[None].cpu(), size=grid, mode="bilinear")[0].flatten(1).t().numpy()  # [h*w, T]
    found = torch.from_numpy(random_walk(links, start, steps=cfg.steps).T.copy()).reshape(-1, *grid).clamp_min(0)
    return found / found.amax((-2, -1), keepdim=True).clamp_min(1e-6)


@torch.no_grad()
def tag_mask(
    model: TagClassifier, image: Image.Image, tags: np.ndarray, exhaustive: bool, cfg: TagProduceConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pseudo-mask of an image from its tags.

    Args:
        model: in eval mode.
        image: RGB.
        tags: labels known to be in the image, bool `[L]`.
        exhaustive: True if the image has no other classes; otherwise no pixel is labelled background.
        cfg: settings.

    Returns:
        Labels uint8 `[H, W]`, 255 where unsure, and confidence float32 `[H, W]`.
    """
    size, background = (image.height, image.width), model.config["background"]
    tagged = np.flatnonzero(tags[list(model.classes)])
    if not len(tagged):
        empty = exhaustive and background is not None
        return np.full(size, background if empty else IGNORE_INDEX, np.uint8), np.full(size, float(empty), np.float32)
    maps = tag_maps(model, image, torch.from_numpy(tagged), cfg.cam)
    picture = np.asarray(image)
    if cfg.walk.steps:
        maps = walked(maps, picture, cfg.walk)
    maps = F.interpolate(maps[None].cpu(), size=size, mode="bilinear")
    probs = seed_probs(maps, torch.ones(1, len(tagged), dtype=torch.bool), background=cfg.background)[0]
    labels = np.array([IGNORE_INDEX if background is None else background, *np.array(model.classes)[tagged]], np.uint8)
    confidence = None
    if background is None:
        # A pixel without a class is unknown, not background: its confidence is 1/2 where the largest map is at the
        # threshold.
        largest = probs[1:].amax(0)
        confidence = (largest / (largest + probs[0])).numpy()
        probs, labels = probs[1:] / probs[1:].sum(0).clamp_min(1e-6), labels[1:]
        probs = torch.where(probs.sum(0) > 0, probs, 1 / len(probs))
    if cfg.refined:
        compact, sure = refine_probs(picture, probs.numpy(), confidence, cfg.refine)
        known = compact != IGNORE_INDEX
        found = np.where(known, labels[np.where(known, compact, 0)], IGNORE_INDEX)
    else:
        sure = probs.amax(0).numpy() if confidence is None else confidence
        least = cfg.abstain if confidence is None else max(cfg.abstain, 0.5)
        found = np.where(sure >= least, labels[probs.argmax(0).numpy()], IGNORE_INDEX)
    if not exhaustive and background is not None:
        found = np.where(found == background, IGNORE_INDEX, found)
    return found.astype(np.uint8), sure.astype(np.float32)


def open_tagged(model: TagClassifier, dataset: LabelledImages) -> LabelledImages:
    """Return a data set, after a check that it has the classes of the model.

    Raises:
        InputError: it has others.
    """
    check_classes(list(model.config["class_names"]), dataset.label_space.names)
    return dataset


def produce_from_tags(
    model: TagClassifier,
    spec: DataSpec,
    split: str,
    out: str | Path,
    cfg: TagProduceConfig,
    *,
    source: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Write pseudo-masks of a split from a tag classifier and the tags of the images.

    Arguments and result are those of `gss.weak.produce.produce_masks`, with a loaded classifier of the same classes in
    eval mode; `source` is its folder, for the manifest.

    Raises:
        InputError: other classes than the classifier's, generated data, or what `PseudoMaskWriter` refuses.
    """
    require_labels(spec)
    dataset = open_tagged(model, open_split(spec, split))

    def produce_mask(index: int) -> PseudoMask:
        tags, exhaustive = read_tags(dataset, index)
        return PseudoMask(dataset.ids[index], *tag_mask(model, dataset.read(index)[0], tags, exhaustive, cfg))

    config = {"classifier": source, **dataclasses.asdict(cfg)}
    writer = PseudoMaskWriter(out, spec, split, producer="tags", config=config, form="tags", overwrite=overwrite)
    with writer:
        writer.add_all(dataset.ids, produce_mask, title="producing")
    return writer.manifest
