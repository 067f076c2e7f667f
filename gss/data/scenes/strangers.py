"""Objects of no known class for the generated street scenes."""

import math
from collections.abc import Sequence

import numpy as np

from gss.core.errors import InputError, quoted, unknown_name
from gss.data.scenes.canvas import BOARDS, LEAVES, Canvas
from gss.data.scenes.cars import DARK, TYRE, box, frame, ground_xz
from gss.data.scenes.domains import Color, Paint
from gss.data.scenes.labels import VOID

STRANGERS = ("crate", "cone", "ball", "sofa", "animal", "tyres", "suitcase", "lump")
"""Kinds of objects of no known class."""


def stranger_kinds(unknown: bool | Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of the option `unknown` of generated scenes: all, none, or those it lists.

    Raises:
        InputError: unknown kind, or not a list.
    """
    if isinstance(unknown, bool):
        return STRANGERS if unknown else ()
    if isinstance(unknown, str) or not isinstance(unknown, Sequence):
        raise InputError(f"unknown is {quoted(unknown)}; give true, false or a list of {', '.join(STRANGERS)}")
    for kind in unknown:
        if kind not in STRANGERS:
            raise unknown_name("kind", kind, STRANGERS, where="unknown")
    return tuple(unknown)


def stranger(canvas: Canvas, x: float, z: float, kind: int, rng: np.random.Generator, paint: Paint) -> None:
    """Draw an object of no known class; `kind` is an index into `STRANGERS`.

    Its pixels have the void label and are marked unknown.
    """
    canvas.unknown = True
    at = frame(x, z, float(rng.uniform(-0.9, 0.9)))
    color, other = paint.strange(), paint.strange()
    size = float(rng.uniform(0.8, 1.3))
    wide = (0.5, 0.25, 0.35, 0.95, 0.6, 0.33, 0.35, 0.55)[kind] * size
    canvas.ground_contact([(x - wide, z - 0.2), (x + wide, z - 0.2), (x + wide, z + 0.3), (x - wide, z + 0.3)])
    canvas.cast([(x - wide, z - 0.2), (x + wide, z - 0.2), (x + wide, z + 0.2), (x - wide, z + 0.2)], 0.75 * size)

    def use(tint: Color, curve: tuple[float, float, float, float] = (0, 0, 0, 0), **surface: float) -> int:
        return canvas.part(VOID, tint, z=z, curve=curve, **surface)  # type: ignore[arg-type]

    if kind == 0:
        box(canvas, at, (0.9 * size, 0.9 * size, 0.8 * size), VOID, color, kind=BOARDS, grain=0.3)
    elif kind == 1:
        tint = (0.95, 0.38, 0.1)
        cone = use(tint, (x, 0.0, 0.25 * size, 0.0))
        box(canvas, at, (0.5 * size, 0.5 * size, 0.05), VOID, tint)
        canvas.limb((x, 0.05, z), (x, 0.8 * size, z), 0.36 * size, cone, 0.06 * size)
        stripe = use((0.95, 0.95, 0.95), (x, 0.0, 0.25 * size, 0.0))
        canvas.limb((x, 0.3 * size, z), (x, 0.46 * size, z), 0.26 * size, stripe, 0.2 * size)
    elif kind == 2:
        radius = 0.33 * size
        canvas.disc((x, radius, z), radius, radius, use(color, (x, radius, 1.05 * radius, 1.05 * radius)))
        canvas.limb(
            (x - 0.9 * radius, radius, z),
            (x + 0.9 * radius, 1.1 * radius, z),
            0.3 * radius,
            use(other, (x, radius, 1.05 * radius, 1.05 * radius)),
        )
    elif kind == 3:
        surface = {"grain": 0.25, "texels": 30.0}
        turned = frame(x, z, math.pi / 2 + float(rng.uniform(-0.4, 0.4)))
        box(
            canvas,
            frame(*ground_xz(turned(0, 0.3, 0)), math.pi / 2),
            (1.9 * size, 0.25, 0.85 * size),
            VOID,
            color,
            **surface,
        )
        box(canvas, turned, (1.9 * size, 0.8, 0.42 * size), VOID, color, **surface)
        for end in (-0.85, 0.85):
            box(
                canvas,
                frame(*ground_xz(turned(end * size, -0.05, 0)), math.pi / 2),
                (0.25 * size, 0.85, 0.62 * size),
                VOID,
                other,
                **surface,
            )
    elif kind == 4:
        facing = 1.0 if rng.random() < 0.5 else -1.0
        fur = use(color, (x, 0.6 * size, 0.7 * size, 0.4 * size), grain=0.35, texels=45.0)
        for leg in (-0.42, -0.28, 0.26, 0.4):
            knee = leg + float(rng.uniform(-0.08, 0.08))
            canvas.limb((x + leg * size, 0.5 * size, z), (x + knee * size, 0.0, z), 0.13 * size, fur, 0.08 * size)
        canvas.limb((x - 0.42 * size, 0.62 * size, z), (x + 0.42 * size, 0.62 * size, z), 0.38 * size, fur, 0.4 * size)
        canvas.disc((x - 0.42 * size, 0.62 * size, z), 0.2 * size, 0.2 * size, fur)
        canvas.limb(
            (x + facing * 0.4 * size, 0.7 * size, z),
            (x + facing * 0.66 * size, 0.98 * size, z),
            0.24 * size,
            fur,
            0.16 * size,
        )
        canvas.disc((x + facing * 0.72 * size, 0.99 * size, z), 0.2 * size, 0.12 * size, fur)
        canvas.limb(
            (x - facing * 0.58 * size, 0.7 * size, z),
            (x - facing * 0.8 * size, 0.95 * size, z),
            0.07 * size,
            fur,
            0.03,
        )
    elif kind == 5:
        for level in range(3):
            y = (0.12 + 0.24 * level) * size
            canvas.limb(
                (x - 0.33 * size, y, z),
                (x + 0.33 * size, y, z),
                0.22 * size,
                use(TYRE if level % 2 else (0.16, 0.16, 0.17), (x, 0, 0.4 * size, 0)),
            )
            canvas.disc((x, y + 0.1 * size, z), 0.33 * size, 0.06 * size, use((0.12, 0.12, 0.13)))
    elif kind == 6:
        box(canvas, at, (0.3 * size, 0.55 * size, 0.75 * size), VOID, color, base=0.06)
        canvas.limb((x - 0.12, 0.8 * size, z), (x - 0.12, 1.0 * size, z), 0.03, use(DARK))
        canvas.limb((x + 0.12, 0.8 * size, z), (x + 0.12, 1.0 * size, z), 0.03, use(DARK))
        canvas.limb((x - 0.14, 1.0 * size, z), (x + 0.14, 1.0 * size, z), 0.04, use(DARK))
    else:
        surface = {"kind": LEAVES, "grain": 0.5}
        lump = use(color, (x, 0.4 * size, 0.6 * size, 0.55 * size), **surface)
        canvas.cloud((x, 0.42 * size, z), 0.52 * size, 0.42 * size, lump, int(rng.integers(256)), rough=0.45)
        spot = use(other, (x, 0.4 * size, 0.6 * size, 0.55 * size))
        for _ in range(4):
            dx, dy = float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.15, 0.25))
            canvas.disc((x + dx * size, (0.42 + dy) * size, z), 0.07 * size, 0.06 * size, spot)
    canvas.unknown = False
