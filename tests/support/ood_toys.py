"""Pictures, features and heads for tests of scores."""

import json
import math

import numpy as np
import torch
from PIL import Image
from tiny_pipeline import NAMES
from torch.nn import functional as F

from gss.labels.space import LabelSpace
from gss.models.density import GMMDensityHead
from gss.models.gaussians import Gaussians
from gss.ood.survey import Survey

K, D = 5, 32


class Images:
    """Labelled pictures of blocks of colour."""

    label_space = LabelSpace(names=tuple(NAMES), colors=tuple((30 * k, 0, 0) for k in range(K)))

    def __init__(self, count=4):
        self.ids = [f"image{i}" for i in range(count)]

    def __len__(self):
        return len(self.ids)

    def read(self, index):
        random = np.random.default_rng(index)
        blocks = random.integers(0, K, (6, 8))
        labels = blocks.repeat(8, 0).repeat(8, 1).astype(np.uint8)
        shades = np.array([[20, 40, 60], [200, 30, 30], [30, 200, 30], [240, 240, 90], [90, 90, 240]])
        image = (shades[labels] + random.integers(0, 30, (*labels.shape, 3))).clip(0, 255).astype(np.uint8)
        labels[:8] = 255
        return Image.fromarray(image), labels


def pipeline_and_data(root, pipeline):
    """Save a pipeline in `pipeline`, and six of the pictures as a data set in `data`."""
    images = Images(6)
    for split, indices in (("train", range(4)), ("val", range(4, 6))):
        for kind in ("images", "masks"):
            (root / "data" / kind / split).mkdir(parents=True)
        for index in indices:
            image, labels = images.read(index)
            image.save(root / "data" / "images" / split / f"{index}.png")
            Image.fromarray(labels).save(root / "data" / "masks" / split / f"{index}.png")
    (root / "data" / "classes.json").write_text(json.dumps({"classes": dict(enumerate(NAMES))}))
    pipeline.save_pretrained(root / "pipeline", training_data="blocks of colour")
    return root


def filled_survey(n=3000, scale=1.0):
    """Five clusters of features; returns the survey and all that went in."""
    survey = Survey(K, D, pixels_per_class=10**6, pixels_per_image=10**6, bank_size=500)
    labels = torch.randint(0, K, (2, 30, n // 60))
    means, mixing = 4 * torch.randn(K, D), torch.randn(D, D) / D**0.5
    features = (means[labels] + torch.randn(*labels.shape, D) @ mixing).movedim(-1, 1) * scale
    logits = 5 * F.one_hot(labels, K).movedim(-1, 1) + torch.randn(2, K, *labels.shape[1:])
    weight, bias = torch.randn(K, D), torch.randn(K)
    survey.classifier = weight, bias
    for number, one in enumerate(zip(features, logits, labels, strict=True)):
        survey.add(*one, seeds=(number,))
    rows = features.movedim(1, -1).flatten(0, 2).double()
    return survey.finish(), rows, labels.flatten(), logits.movedim(1, -1).flatten(0, 2)


def density_head():
    head = GMMDensityHead(K, 2, D, outlier_components=3)
    head.set_outliers(
        Gaussians(F.normalize(torch.randn(3, D), dim=1), torch.full((3, D), 0.05)), torch.full((3,), -1.1)
    )
    head.set_mixture(
        Gaussians(F.normalize(torch.randn(2 * K, D), dim=1), torch.full((2 * K, D), 0.02)),
        torch.full((K, 2), -math.log(2)),
    )
    return head
