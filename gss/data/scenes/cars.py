"""Cars of the generated street scenes, and boxes."""

import math
from collections.abc import Callable

import numpy as np

from gss.data.scenes.canvas import GLASS, Canvas, Point
from gss.data.scenes.domains import Color, Paint
from gss.data.scenes.labels import CAR

TYRE, DARK, WINDOW = (0.07, 0.07, 0.075), (0.10, 0.10, 0.11), (0.20, 0.25, 0.29)
Frame = Callable[[float, float, float], Point]


def frame(x: float, z: float, heading: float) -> Frame:
    """Return the map from the axes of an object (along, across, up) to the world; heading 0 = along the road, away."""
    cos, sin = math.cos(heading), math.sin(heading)
    return lambda a, b, y: (x + a * sin + b * cos, y, z + a * cos - b * sin)


def _between(face: list[Point], u0: float, u1: float, v0: float, v1: float) -> list[Point]:
    """Return a rectangle in relative coordinates of a quadrilateral (corners: lower left, lower right, upper ...)."""

    def at(u: float, v: float) -> Point:
        weights = ((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v)
        return tuple(sum(w * p[i] for w, p in zip(weights, face, strict=True)) for i in range(3))  # type: ignore[return-value]

    return [at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]


def box(canvas: Canvas, at: Frame, size: Point, label: int, color: Color, base: float = 0.0, **surface: float) -> None:
    """Draw an upright box of (length, width, height) at height `base`."""
    length, width, height = size[0] / 2, size[1] / 2, size[2]
    middle = at(0.0, 0.0, base + height / 2)
    low, high = base, base + height
    corners = [(-length, -width), (length, -width), (length, width), (-length, width)]
    for (a0, b0), (a1, b1) in zip(corners, corners[1:] + corners[:1], strict=True):
        canvas.face(
            [at(a0, b0, low), at(a1, b1, low), at(a1, b1, high), at(a0, b0, high)],
            label,
            color,
            middle,
            **surface,
        )
    canvas.face([at(a, b, high) for a, b in corners], label, color, middle, **surface)


def footprint(at: Frame, length: float, width: float) -> list[tuple[float, float]]:
    """Return the ground outline (X, Z) of a box."""
    corners = [
        (-length / 2, -width / 2),
        (length / 2, -width / 2),
        (length / 2, width / 2),
        (-length / 2, width / 2),
    ]
    return [(p[0], p[2]) for p in (at(a, b, 0.0) for a, b in corners)]


def ground_xz(point: Point) -> tuple[float, float]:
    """Return the place (X, Z) on the ground below a point."""
    return point[0], point[2]


def car(canvas: Canvas, x: float, z: float, heading: float, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a hatchback, saloon or van: a lower body, a cabin and wheels."""
    style = int(rng.integers(4))
    length = (3.9, 4.5, 4.4, 5.0)[style] + float(rng.uniform(-0.15, 0.25))
    height = (1.48, 1.43, 1.70, 2.15)[style] + float(rng.uniform(-0.05, 0.08))
    belt = (0.92, 0.90, 1.02, 1.12)[style]
    rear, rear_top, front_top, front = (
        (0.02, 0.14, 0.58, 0.75),
        (0.16, 0.28, 0.60, 0.76),
        (0.02, 0.07, 0.60, 0.74),
        (0.01, 0.03, 0.72, 0.88),
    )[style]
    half, inset = (1.76 + float(rng.uniform(0, 0.12))) / 2, 0.16
    at = frame(x, z, heading)
    body, shine = paint.car(), {"grain": 0.03, "texels": 12.0}
    night = paint.domain.night
    fine = canvas.camera.focal * 1.5 / z > 11  # details smaller than a pixel are left out

    def along(share: float) -> float:
        return (share - 0.5) * length

    outline = footprint(at, length, 2 * half)
    canvas.cast(outline, belt)
    canvas.cast(
        footprint(frame(*ground_xz(at(along((rear + front) / 2), 0, 0)), heading), 0.5 * length, 2 * half), height
    )
    canvas.ground_contact(footprint(at, length * 1.04, 2.1 * half), 215)
    box(canvas, at, (0.93 * length, 1.84 * half, 0.2), CAR, (0.05, 0.05, 0.055), base=0.14)
    for a in (-0.31, 0.31):
        box(canvas, frame(*ground_xz(at(a * length, 0, 0)), heading), (0.5, 1.9 * half, 0.5), CAR, TYRE)

    middle = at(0.0, 0.0, belt / 2)
    low, nose = 0.26, belt - 0.16
    sides = [
        [
            at(along(0), s * half, low),
            at(along(1), s * half, low),
            at(along(1), s * half, nose),
            at(along(front), s * half, belt),
            at(along(0), s * half, belt),
        ]
        for s in (-1, 1)
    ]
    back = [
        at(along(0), -half, low),
        at(along(0), half, low),
        at(along(0), half, belt),
        at(along(0), -half, belt),
    ]
    nose_face = [
        at(along(1), half, low),
        at(along(1), -half, low),
        at(along(1), -half, nose),
        at(along(1), half, nose),
    ]
    hood = [
        at(along(1), -half, nose),
        at(along(1), half, nose),
        at(along(front), half, belt),
        at(along(front), -half, belt),
    ]
    boot = [
        at(along(0), -half, belt),
        at(along(0), half, belt),
        at(along(rear), half, belt),
        at(along(rear), -half, belt),
    ]
    for lid in (hood, boot):
        canvas.face(lid, CAR, body, middle, **shine)
    for side, s in zip(sides, (-1, 1), strict=True):
        if canvas.face(side, CAR, body, middle, **shine) and fine:
            sill = [
                at(along(0), s * half, low),
                at(along(1), s * half, low),
                at(along(1), s * half, low + 0.14),
                at(along(0), s * half, low + 0.14),
            ]
            canvas.face(sill, CAR, DARK)
            for a in (-0.31 * length, 0.31 * length):
                for radius, color in ((0.37, TYRE), (0.21, (0.5, 0.5, 0.52))):
                    turn = [i * math.pi / 6 for i in range(12)]
                    rim = [at(a + radius * math.cos(t), s * half * 1.01, 0.35 + radius * math.sin(t)) for t in turn]
                    canvas.face(rim, CAR, color)

    cabin = at(along(0.45), 0.0, (belt + height) / 2)
    top = half - inset
    panes = [
        [
            at(along(front), half, belt),
            at(along(front), -half, belt),
            at(along(front_top), -top, height),
            at(along(front_top), top, height),
        ],
        [
            at(along(rear), -half, belt),
            at(along(rear), half, belt),
            at(along(rear_top), top, height),
            at(along(rear_top), -top, height),
        ],
    ]
    flanks = [
        [
            at(along(rear), s * half, belt),
            at(along(front), s * half, belt),
            at(along(front_top), s * top, height),
            at(along(rear_top), s * top, height),
        ]
        for s in (-1, 1)
    ]
    roof = [
        at(along(a), b, height) for a, b in ((rear_top, -top), (rear_top, top), (front_top, top), (front_top, -top))
    ]
    canvas.face(roof, CAR, body, cabin, **shine)
    for flank in flanks:
        if canvas.face(flank, CAR, body, cabin, **shine) and fine:
            for u0, u1 in ((0.10, 0.47), (0.53, 0.92)):
                canvas.face(_between(flank, u0, u1, 0.08, 0.84), CAR, WINDOW, kind=GLASS)
    for pane in panes:
        if canvas.face(pane, CAR, body, cabin, **shine):
            canvas.face(_between(pane, 0.07, 0.93, 0.08, 0.88), CAR, WINDOW, kind=GLASS)

    if canvas.face(back, CAR, body, middle, **shine):
        canvas.face(_between(back, 0.0, 1.0, 0.0, 0.28), CAR, DARK)
        for u0, u1 in ((0.02, 0.17), (0.83, 0.98)):
            canvas.face(_between(back, u0, u1, 0.55, 0.85), CAR, (0.62, 0.06, 0.06), glow=1.1 if night else 0.12)
        if fine:
            canvas.face(_between(back, 0.36, 0.64, 0.36, 0.53), CAR, (0.85, 0.84, 0.74))
    if canvas.face(nose_face, CAR, body, middle, **shine):
        canvas.face(_between(nose_face, 0.22, 0.78, 0.30, 0.72), CAR, DARK)
        canvas.face(_between(nose_face, 0.0, 1.0, 0.0, 0.2), CAR, DARK)
        for u0, u1 in ((0.03, 0.2), (0.8, 0.97)):
            canvas.face(_between(nose_face, u0, u1, 0.6, 0.92), CAR, (0.95, 0.95, 0.88), glow=2.2 if night else 0.2)
