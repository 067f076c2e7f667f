"""Image tags to pseudo-masks: activation maps, a random walk of them, and refinement along the edges of the image."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gss.config.io import load_config
from gss.config.tags import CamConfig, TagProduceConfig, WalkConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.specs.load import load_spec
from gss.data.tagged import read_tags
from gss.data.transforms import to_float
from gss.evaluation.checks import check_classes
from gss.labels.space import IGNORE_INDEX
from gss.models.tags import TagClassifier
from gss.pipeline.loading import load_classifier
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter, summary
from gss.weak.refine.labels import refine_probs
from gss.weak.refine.walks import edge_affinity, edge_map, feature_affinity, random_walk
from gss.weak.tags.cam import activation_maps, seed_probs

# No link of a walk is weaker than this.
_WEAKEST = 1e-4


def is_classifier(folder: str | Path) -> bool:
    """Whether a folder holds a tag classifier (and not a pipeline)."""
    path = Path(folder)
    return (path / "config.json").is_file() and not (path / "model_index.json").is_file()


def tag_maps(model: TagClassifier, image: Image.Image, tags: Tensor, cfg: CamConfig) -> Tensor:
    """Activation maps of the tagged classes of an image.

    Args:
        model: in eval mode.
        image: RGB.
        tags: numbers of the tagged classes of the model, int64 `[T]`.
        cfg: settings.

    Returns:
        float32 `[T, h, w]` in 0..1.
    """
    pixels = to_float(np.asarray(image))[None].to(model.pixel_mean.device)
    # Of the image as it is: a size above 1 shows what a smaller copy has lost.
    unit = (cfg.size or int(model.config["image_size"])) / max(image.size)
    flags = torch.zeros(1, len(model.classes), dtype=torch.bool, device=pixels.device)
    flags[0, tags] = True
    maps = activation_maps(model, pixels, flags, scales=[unit * scale for scale in cfg.scales], flip=cfg.flip)
    return maps[0, tags]


def walked(maps: Tensor, image: np.ndarray, cfg: WalkConfig) -> Tensor:
    """Activation maps after a random walk over akin pixels (Ahn and Kwak, CVPR 2018), largest value 1 again.

    Pixels are akin when no edge lies between them and their colours agree: no network is trained for it. Distances of
    backbone features as a third factor changed nothing.

    Args:
        maps: `[T, h, w]`.
        image: RGB uint8 `[H, W, 3]`.
        cfg: settings.

    Returns:
        float32 `[T, ceil(H / stride), ceil(W / stride)]`.
    """
    colours = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
    cells = F.avg_pool2d(colours[None], cfg.stride, ceil_mode=True)
    grid = cells.shape[-2:]
    links = edge_affinity(edge_map(cells[0].permute(1, 2, 0).numpy(), smooth=0.7), radius=cfg.radius, power=cfg.edge)
    links = links.multiply(feature_affinity(cells[0].numpy(), radius=cfg.radius, scale=cfg.color))
    links = csr_array(links)
    links.data = np.maximum(links.data, _WEAKEST).astype(np.float32)
    start = F.interpolate(maps[None].cpu(), size=grid, mode="bilinear")[0].flatten(1).t().numpy()
    found = torch.from_numpy(random_walk(links, start, steps=cfg.steps).T.copy()).reshape(-1, *grid).clamp_min(0)
    return found / found.amax((-2, -1), keepdim=True).clamp_min(1e-6)


@torch.no_grad()
def tag_mask(
    model: TagClassifier, image: Image.Image, tags: np.ndarray, exhaustive: bool, cfg: TagProduceConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-mask of an image from its tags.

    Args:
        model: in eval mode.
        image: RGB.
        tags: labels known to be in the image, bool `[L]`.
        exhaustive: whether there are no others. Where there may be, no pixel is called background.
        cfg: settings.

    Returns:
        Labels uint8 `[H, W]`, 255 where unsure, and confidence float32 `[H, W]`.
    """
    size, background = (image.height, image.width), model.config["background"]
    shown = np.flatnonzero(tags[list(model.classes)])
    if not len(shown):
        empty = exhaustive and background is not None
        return np.full(size, background if empty else IGNORE_INDEX, np.uint8), np.full(size, float(empty), np.float32)
    maps = tag_maps(model, image, torch.from_numpy(shown), cfg.cam)
    picture = np.asarray(image)
    if cfg.walk.steps:
        maps = walked(maps, picture, cfg.walk)
    maps = F.interpolate(maps[None].cpu(), size=size, mode="bilinear")
    probs = seed_probs(maps, torch.ones(1, len(shown), dtype=torch.bool), background=cfg.background)[0]
    labels = np.array([IGNORE_INDEX if background is None else background, *np.array(model.classes)[shown]], np.uint8)
    confidence = None
    if background is None:
        # What is no class is not known, and no class of its own: 1/2 where the largest map is at the threshold.
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
    """A data set with the classes of the model.

    Raises:
        ValueError: it has others.
    """
    check_classes(list(model.config["class_names"]), dataset.label_space.names)
    return dataset


def produce(args: argparse.Namespace) -> None:
    """Handle `gss weak produce` of a tag classifier.

    Raises:
        ValueError: other classes than the classifier's, a generated data set, or no pixel kept anywhere.
    """
    cfg = load_config(TagProduceConfig, [], args.settings)
    spec = load_spec(args.data, args.root)
    if spec.generator is not None:
        raise InputError(f"data set {spec.name!r} is generated and has full masks; make weak labels of it first")
    model = load_classifier(args.pipeline)
    dataset = open_tagged(model, open_split(spec, args.split))
    config = {"classifier": str(args.pipeline), **dataclasses.asdict(cfg)}
    writer = PseudoMaskWriter(
        args.out, spec, args.split, producer="tags", config=config, form="tags", overwrite=args.overwrite
    )
    with writer:
        mine = distributed.shard(len(dataset))
        for index in tqdm(mine, desc="producing", unit="img", disable=None if distributed.is_main() else True):
            tags, exhaustive = read_tags(dataset, index)
            found, certain = tag_mask(model, dataset.read(index)[0], tags, exhaustive, cfg)
            writer.add(PseudoMask(dataset.ids[index], found, certain))
    if distributed.is_main():
        print(summary(args.out))
