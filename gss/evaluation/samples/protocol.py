"""Settings of the evaluation of drawn masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gss.core.errors import InputError, unknown_name
from gss.core.records import Record
from gss.evaluation.checks import check_at_least
from gss.evaluation.samples.names import KINDS, PARTS


@dataclass(frozen=True)
class SampleProtocol(Record):
    """How drawn masks are measured.

    Attributes:
        parts: what is measured, some of `PARTS`.
        n: hypotheses of an image.
        steps: steps of a path.
        orders: draws of the bound on bits per pixel, for each image.
        kinds: kinds of given pixels, some of `gss.evaluation.samples.names.KINDS`.
        shares: shares of the pixels that are given.
        completion_images: largest number of images of the completion curve.
        completion_paths: paths of a completion.
        corrections: corrections of an image.
        correction_images: largest number of images that are corrected.
        generated: masks drawn without image.
        real: largest number of training masks, and of test masks, that they are compared with.
        limit: largest number of images, evenly spaced.
        seed: seed of all draws.

    Raises:
        InputError: a value is out of range.
    """

    parts: tuple[str, ...] = PARTS
    n: int = 16
    steps: int = 8
    orders: int = 8
    kinds: tuple[str, ...] = KINDS
    shares: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5)
    completion_images: int = 10
    completion_paths: int = 2
    corrections: int = 10
    correction_images: int = 5
    generated: int = 64
    real: int = 200
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise unknown_name("part", part, PARTS)
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown_name("kind of given pixels", kind, KINDS)
        if not self.parts:
            raise InputError(f"parts is empty; choose some of {', '.join(PARTS)}")
        check_at_least(1, n=self.n, steps=self.steps, orders=self.orders, limit=self.limit, real=self.real)
        check_at_least(1, completion_images=self.completion_images, completion_paths=self.completion_paths)
        check_at_least(1, corrections=self.corrections, correction_images=self.correction_images)
        check_at_least(1, generated=self.generated)
        check_at_least(0, seed=self.seed)
        for share in self.shares:
            if not 0 < share < 1:
                raise InputError(f"shares holds {share}; shares of given pixels lie between 0 and 1")

    def generator(self, *numbers: int) -> torch.Generator:
        """Return a random source that is a function of the seed and numbers, such as that of the image."""
        return torch.Generator().manual_seed(int(self.random(*numbers).integers(2**62)))

    def random(self, *numbers: int) -> np.random.Generator:
        """Return NumPy's random source of the seed and numbers."""
        return np.random.default_rng([self.seed, *numbers])
