"""Objects of one data set on the images of another, as examples of what does not belong there."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from gss.data.datasets import LabelledImages
from gss.data.ood import OOD_LABELS, OODDataset

__all__ = ["PastedOutliers"]


class PastedOutliers:
    """One image per image of `objects`: its outlier pixels, resized, somewhere on a random scene.

    Everything random is a function of (seed, index).

    Args:
        objects: images with outlier pixels.
        scenes: images to paste on.
        scale: smallest and largest size of what is pasted (its longer side, as a share of the scene's shorter side);
            the logarithm is drawn evenly.
        seed: of object sizes, places and scenes.
    """

    label_space = OOD_LABELS

    def __init__(
        self, objects: OODDataset, scenes: LabelledImages, *, scale: tuple[float, float], seed: int = 0
    ) -> None:
        self.objects, self.scenes, self.scale, self.seed = objects, scenes, scale, seed
        self.ids = objects.ids

    def __len__(self) -> int:
        return len(self.objects)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """PIL RGB and truth uint8 `[H, W]`: 1 on what was pasted, 0 elsewhere."""
        rng = np.random.default_rng([self.seed, index])
        scene = self.scenes.read(int(rng.integers(len(self.scenes))))[0].copy()
        image, truth = self.objects.read(index)
        mask = Image.fromarray((truth == 1).astype(np.uint8))
        box = mask.getbbox()
        if box is not None:
            low, high = (math.log(bound) for bound in self.scale)
            side = math.exp(rng.uniform(low, high)) * min(scene.size)
            factor = side / max(box[2] - box[0], box[3] - box[1])
            # At most the scene, whatever the scale and the aspect.
            factor = min(factor, scene.width / (box[2] - box[0]), scene.height / (box[3] - box[1]))
            width, height = max(1, int((box[2] - box[0]) * factor)), max(1, int((box[3] - box[1]) * factor))
            image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
            mask = mask.crop(box).resize((width, height), Image.Resampling.NEAREST)
            place = int(rng.integers(scene.width - width + 1)), int(rng.integers(scene.height - height + 1))
            scene.paste(image, place, mask.point(lambda value: 255 * value))
            pasted = Image.new("L", scene.size)
            pasted.paste(mask, place)
            return scene, np.array(pasted)
        return scene, np.zeros((scene.height, scene.width), np.uint8)
