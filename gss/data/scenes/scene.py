"""Render one generated street scene and its labels."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gss.core.errors import InputError, unknown_name
from gss.data.scenes.canvas import Canvas
from gss.data.scenes.domains import DOMAINS, Paint
from gss.data.scenes.geometry import measure
from gss.data.scenes.layout import compose, make_camera, make_street
from gss.data.scenes.shading import shade
from gss.data.scenes.strangers import stranger_kinds

Trap = Literal["off", "paired", "context"]
TRAPS: tuple[Trap, ...] = ("off", "paired", "context")
_SHADING = 1_000_000  # number of the colors of the shading; objects count from 0


@dataclass(frozen=True)
class Scene:
    """One generated scene; every array is `[H, W]`, the image `[H, W, 3]`."""

    image: np.ndarray  # uint8 RGB
    labels: np.ndarray  # uint8, 255 = void (bonnet of the camera's car, unknown objects)
    depth: np.ndarray  # float32, metres along the road; the sky has 1000
    unknown: np.ndarray  # bool, pixels of objects of no known class


def render(
    seed: int,
    index: int,
    *,
    size: tuple[int, int] = (192, 256),
    domain: str = "clear",
    unknown: bool | Sequence[str] = False,
    trap: Trap = "off",
) -> Scene:
    """Generate one scene; it depends on the arguments alone.

    Args:
        seed: seed of the series of scenes, at least 0.
        index: number in the series, at least 0.
        size: (H, W) of the picture, at least 16 each.
        domain: `clear`, `fog` or `night`; the labels do not depend on it.
        unknown: whether to add one to three objects of no known class, or the kinds of these objects (see
            `STRANGERS`); everything else stays as without them.
        trap: co-occurrence of cyclists and the painted cycle lane. `off`: independent. `paired`: half of the
            scenes have both, half neither; cyclists ride near. `context`: all scenes have the lane, none has cyclists.

    Raises:
        InputError: an argument out of range.
    """
    if domain not in DOMAINS:
        raise unknown_name("domain", domain, DOMAINS)
    if trap not in TRAPS:
        raise unknown_name("trap", trap, TRAPS)
    if len(size) != 2 or min(size) < 16:
        raise InputError(f"size is {size}; it must be (height, width) of at least 16 pixels")
    if seed < 0 or index < 0:
        raise InputError(f"seed and index are {seed} and {index}; they must be 0 or more")
    plan, light = np.random.default_rng([seed, index, 0]), np.random.default_rng([seed, index, 1])
    chance = float(plan.random())
    cyclists = {"off": None, "paired": chance < 0.5, "context": False}[trap]
    lane = {"off": chance < 0.25, "paired": chance < 0.5, "context": True}[trap]
    camera, street = make_camera(plan, size), make_street(plan, cycle_lane=lane)

    azimuth, height = float(light.uniform(-math.pi, math.pi)), float(light.uniform(0.45, 1.0))
    sun = (math.sin(azimuth) * math.cos(height), math.sin(height), math.cos(azimuth) * math.cos(height))
    paint = Paint([seed, index, 2], DOMAINS[domain])
    canvas = Canvas(camera, sun if max(paint.domain.sun) > 0 else None)
    kinds = stranger_kinds(unknown)
    strange = np.random.default_rng([seed, index, 3]) if kinds else None
    compose(canvas, street, plan, paint, cyclists=cyclists, unknown=strange, kinds=kinds)
    geometry = measure(canvas, street)
    image = shade(canvas, geometry, paint.child(_SHADING), light)
    return Scene(image, geometry.labels, geometry.depth, geometry.unknown)


def split_seed(seed: int, split: str) -> int:
    """Return the seed of the scenes of a split; no two splits and no two seeds share a scene."""
    return (seed << 32) | zlib.crc32(split.encode())
