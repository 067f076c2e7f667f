"""Movable things of the generated street scenes: cars, people, cyclists, and objects of no known class."""

import math
from collections.abc import Callable

import numpy as np

from gss.data.scene_canvas import BOARDS, GLASS, LEAVES, Canvas, Color, Point
from gss.data.scene_domains import Paint
from gss.data.scene_labels import CAR, CYCLIST, PERSON, VOID

__all__ = ["car", "cyclist", "person", "stranger"]

TYRE, DARK, WINDOW = (0.07, 0.07, 0.075), (0.10, 0.10, 0.11), (0.20, 0.25, 0.29)
Frame = Callable[[float, float, float], Point]


def _frame(x: float, z: float, heading: float) -> Frame:
    """Map from an object's own axes (along, across, up) to the world; heading 0 = along the road, away from us."""
    cos, sin = math.cos(heading), math.sin(heading)
    return lambda a, b, y: (x + a * sin + b * cos, y, z + a * cos - b * sin)


def _shrink(points: list[Point], factor: float, drop: float = 0.0) -> list[Point]:
    """The same face smaller, around its own middle."""
    n = len(points)
    cx, cy, cz = (sum(p[i] for p in points) / n for i in range(3))
    return [(cx + factor * (x - cx), cy + factor * (y - cy) - drop, cz + factor * (z - cz)) for x, y, z in points]


def _between(face: list[Point], u0: float, u1: float, v0: float, v1: float) -> list[Point]:
    """Rectangle in the relative coordinates of a quadrilateral (corner order: lower left, lower right, upper ...)."""

    def at(u: float, v: float) -> Point:
        weights = ((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v)
        return tuple(sum(w * p[i] for w, p in zip(weights, face, strict=True)) for i in range(3))  # type: ignore[return-value]

    return [at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]


def box(canvas: Canvas, at: Frame, size: Point, label: int, color: Color, base: float = 0.0, **surface: float) -> None:
    """Upright box of (length, width, height) standing at height `base`."""
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
    """Ground outline (X, Z) of a box."""
    corners = [
        (-length / 2, -width / 2),
        (length / 2, -width / 2),
        (length / 2, width / 2),
        (-length / 2, width / 2),
    ]
    return [(p[0], p[2]) for p in (at(a, b, 0.0) for a, b in corners)]


def car(canvas: Canvas, x: float, z: float, heading: float, rng: np.random.Generator, paint: Paint) -> None:
    """Hatchback, saloon or van made of a lower body, a cabin and wheels."""
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
    at = _frame(x, z, heading)
    body, shine = paint.car(), {"grain": 0.03, "texels": 12.0}
    night = paint.domain.night
    fine = canvas.camera.focal * 1.5 / z > 11  # details smaller than a pixel are left out

    def along(share: float) -> float:
        return (share - 0.5) * length

    outline = footprint(at, length, 2 * half)
    canvas.cast(outline, belt)
    canvas.cast(footprint(_frame(*_xz(at(along((rear + front) / 2), 0, 0)), heading), 0.5 * length, 2 * half), height)
    canvas.ground_contact(footprint(at, length * 1.04, 2.1 * half), 215)
    box(canvas, at, (0.93 * length, 1.84 * half, 0.2), CAR, (0.05, 0.05, 0.055), base=0.14)
    for a in (-0.31, 0.31):
        box(canvas, _frame(*_xz(at(a * length, 0, 0)), heading), (0.5, 1.9 * half, 0.5), CAR, TYRE)

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


def _xz(point: Point) -> tuple[float, float]:
    return point[0], point[2]


def person(canvas: Canvas, x: float, z: float, rng: np.random.Generator, paint: Paint, base: float = 0.0) -> None:
    """Someone standing or walking, seen from any side."""
    tall = float(rng.uniform(1.2, 1.35) if rng.random() < 0.12 else rng.uniform(1.58, 1.9))
    s, stride = tall / 1.75, float(rng.uniform(-1, 1)) * (rng.random() < 0.8)
    sideways = float(rng.random()) < 0.5
    swing, skirt, bag = float(rng.uniform(0.2, 1)), rng.random() < 0.2, rng.random() < 0.3
    width = (0.13 if sideways else 0.21) * s * float(rng.uniform(0.92, 1.18))
    curve = (x, 0.0, 1.35 * width, 0.0)
    top, legs, skin, hair = paint.clothes(), paint.clothes(), paint.pick(paint.SKIN), paint.pick(paint.HAIR)
    shoes = paint.pick(paint.HAIR)

    def cloth(color: Color) -> int:
        return canvas.part(PERSON, color, z=z, grain=0.14, texels=60.0, curve=curve)

    def at(dx: float, y: float) -> Point:
        return x + dx * s, base + y * s, z

    canvas.cast([(x - width, z - 0.1), (x + width, z - 0.1), (x + width, z + 0.1), (x - width, z + 0.1)], tall)
    canvas.ground_contact([(x - 0.25, z - 0.15), (x + 0.25, z - 0.15), (x + 0.25, z + 0.2), (x - 0.25, z + 0.2)], 120)
    spread = 0.30 * stride if sideways else 0.05
    hip = 0.02 if sideways else 0.09
    trousers, sole = cloth(legs), cloth(shoes)
    for sign in (-1, 1):
        foot = sign * (hip + spread) if sideways else sign * 0.10
        lift = 0.10 * max(0.0, sign * stride) * (not sideways)
        knee = (sign * hip + foot) / 2 + (0.05 if sideways else 0.0)
        canvas.limb(at(foot - 0.03, 0.05 + lift), at(foot + 0.09, 0.05 + lift), 0.10 * s, sole)
        canvas.limb(at(knee, 0.47 + lift / 2), at(foot, 0.07 + lift), 0.14 * s, trousers, 0.10 * s)
        canvas.limb(at(sign * hip, 0.90), at(knee, 0.45 + lift / 2), 0.18 * s, trousers, 0.14 * s)
    if skirt:
        canvas.polygon([at(-0.14, 0.98), at(0.14, 0.98), at(0.24, 0.48), at(-0.24, 0.48)], cloth(legs))
    jacket, flesh = cloth(top), cloth(skin)
    w = width / s
    for sign in (-1, 1):
        hand = sign * (w + 0.10) if not sideways else -sign * 0.28 * swing * (stride or 0.2)
        elbow = sign * (w + 0.07) if not sideways else hand * 0.4 - 0.04
        shoulder = sign * (w - 0.02) if not sideways else 0.0
        canvas.limb(at(elbow, 1.12), at(hand, 0.86), 0.09 * s, jacket, 0.07 * s)
        canvas.limb(at(shoulder, 1.40), at(elbow, 1.10), 0.11 * s, jacket, 0.09 * s)
        canvas.disc(at(hand, 0.83), 0.05 * s, 0.06 * s, flesh)
    canvas.polygon(
        [
            at(-w * 0.86, 0.86),
            at(w * 0.86, 0.86),
            at(w * 0.9, 1.1),
            at(w, 1.38),
            at(w * 0.6, 1.47),
            at(-w * 0.6, 1.47),
            at(-w, 1.38),
            at(-w * 0.9, 1.1),
        ],
        jacket,
    )
    if bag:
        canvas.polygon(
            [at(w * 0.7, 0.78), at(w * 0.7 + 0.2, 0.78), at(w * 0.7 + 0.2, 1.05), at(w * 0.7, 1.05)],
            cloth(paint.clothes()),
        )
    canvas.limb(at(0, 1.42), at(0, 1.56), 0.11 * s, flesh)
    canvas.disc(at(0.01, 1.63), 0.10 * s, 0.125 * s, flesh)
    canvas.disc(at(-0.015, 1.68), 0.105 * s, 0.09 * s, cloth(hair))


def cyclist(canvas: Canvas, x: float, z: float, sideways: bool, rng: np.random.Generator, paint: Paint) -> None:
    """Bicycle with its rider, from behind or from the side."""
    s = float(rng.uniform(0.95, 1.1))
    facing = 1.0 if rng.random() < 0.5 else -1.0
    pedal, helmet = float(rng.uniform(0, math.pi)), rng.random() < 0.6
    shirt, legs, skin, hair = paint.clothes(), paint.clothes(), paint.pick(paint.SKIN), paint.pick(paint.HAIR)
    frame_color, cap = paint.car(), paint.pick(paint.ODD)

    def use(color: Color, grain: float = 0.1) -> int:
        return canvas.part(CYCLIST, color, z=z, grain=grain, texels=60.0, curve=(x, 0.0, 0.9 if sideways else 0.3, 0.0))

    def at(dx: float, y: float) -> Point:
        return x + facing * dx * s, y * s, z

    reach = 0.85 if sideways else 0.12
    canvas.cast([(x - reach, z - 0.05), (x + reach, z - 0.05), (x + reach, z + 0.05), (x - reach, z + 0.05)], 0.7)
    canvas.cast([(x - 0.2, z - 0.1), (x + 0.2, z - 0.1), (x + 0.2, z + 0.1), (x - 0.2, z + 0.1)], 1.7, 0.7)
    canvas.ground_contact([(x - reach, z - 0.1), (x + reach, z - 0.1), (x + reach, z + 0.1), (x - reach, z + 0.1)], 120)
    tyre, metal, cloth, trousers, flesh = use(TYRE), use(frame_color, 0.03), use(shirt), use(legs), use(skin)
    lamp = canvas.part(CYCLIST, (0.7, 0.08, 0.06), z=z, glow=1.6 if paint.domain.night else 0.15)
    if sideways:
        for wheel in (-0.52, 0.52):
            canvas.disc(at(wheel, 0.34), 0.34 * s, 0.34 * s, tyre, ring=0.05)
            for angle in (0.3, 1.3, 2.3):
                dx, dy = 0.3 * math.cos(angle), 0.3 * math.sin(angle)
                if canvas.camera.focal / z > 25:
                    canvas.limb(at(wheel - dx, 0.34 - dy), at(wheel + dx, 0.34 + dy), 0.01, metal)
        crank = (-0.05, 0.32)
        for a, b in (
            ((-0.52, 0.34), crank),
            (crank, (0.36, 0.78)),
            ((-0.2, 0.85), (0.36, 0.8)),
            (crank, (-0.2, 0.88)),
            ((-0.52, 0.34), (-0.2, 0.8)),
            ((0.52, 0.34), (0.34, 0.95)),
        ):
            canvas.limb(at(*a), at(*b), 0.05 * s, metal)
        canvas.limb(at(0.34, 0.97), at(0.2, 1.0), 0.05 * s, tyre)
        for phase in (pedal + math.pi, pedal):
            foot = (crank[0] + 0.17 * math.cos(phase), crank[1] + 0.17 * math.sin(phase))
            knee = ((foot[0] - 0.2) / 2 + 0.22, (foot[1] + 0.92) / 2 + 0.06)
            canvas.limb(at(*knee), at(*foot), 0.12 * s, trousers, 0.09 * s)
            canvas.limb(at(-0.2, 0.95), at(*knee), 0.17 * s, trousers, 0.13 * s)
            canvas.limb(at(foot[0] - 0.05, foot[1]), at(foot[0] + 0.12, foot[1]), 0.08 * s, tyre)
        canvas.limb(at(-0.2, 0.93), at(0.08, 1.42), 0.28 * s, cloth, 0.30 * s)
        canvas.limb(at(0.08, 1.40), at(0.14, 1.14), 0.10 * s, cloth, 0.08 * s)
        canvas.limb(at(0.14, 1.14), at(0.31, 1.01), 0.08 * s, flesh)
        head = (0.17, 1.62)
        canvas.limb(at(0.10, 1.45), at(*head), 0.10 * s, flesh)
    else:
        canvas.limb(at(0, 0.0), at(0, 0.66), 0.06 * s, tyre)
        canvas.limb(at(0, 0.6), at(0, 0.92), 0.05 * s, metal)
        canvas.limb(at(-0.3, 1.03), at(0.3, 1.03), 0.04 * s, tyre)
        for sign in (-1, 1):
            rise = 0.16 * math.cos(pedal + (sign > 0) * math.pi)
            canvas.limb(at(sign * 0.14, 0.62 + rise), at(sign * 0.12, 0.26 + rise), 0.12 * s, trousers, 0.09 * s)
            canvas.limb(at(sign * 0.10, 0.95), at(sign * 0.14, 0.62 + rise), 0.18 * s, trousers, 0.13 * s)
            canvas.limb(at(sign * 0.12, 0.24 + rise), at(sign * 0.12, 0.17 + rise), 0.11 * s, tyre)
            canvas.limb(at(sign * 0.2, 1.4), at(sign * 0.31, 1.06), 0.11 * s, cloth, 0.08 * s)
        canvas.polygon(
            [at(-0.17, 0.9), at(0.17, 0.9), at(0.24, 1.4), at(0.1, 1.5), at(-0.1, 1.5), at(-0.24, 1.4)], cloth
        )
        canvas.disc(at(0, 0.72), 0.04, 0.04, lamp)
        head = (0.0, 1.62)
    canvas.disc(at(*head), 0.10 * s, 0.125 * s, flesh)
    canvas.disc(at(head[0] - 0.01, head[1] + 0.05), 0.115 * s, 0.09 * s, use(cap if helmet else hair))


def stranger(canvas: Canvas, x: float, z: float, kind: int, rng: np.random.Generator, paint: Paint) -> None:
    """Object of no known class: crate, traffic cone, ball, sofa, animal, tyre stack, suitcase or textured lump.

    Its pixels carry the void label and are marked unknown.
    """
    canvas.unknown = True
    at = _frame(x, z, float(rng.uniform(-0.9, 0.9)))
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
        turned = _frame(x, z, math.pi / 2 + float(rng.uniform(-0.4, 0.4)))
        box(
            canvas,
            _frame(*_xz(turned(0, 0.3, 0)), math.pi / 2),
            (1.9 * size, 0.25, 0.85 * size),
            VOID,
            color,
            **surface,
        )
        box(canvas, turned, (1.9 * size, 0.8, 0.42 * size), VOID, color, **surface)
        for end in (-0.85, 0.85):
            box(
                canvas,
                _frame(*_xz(turned(end * size, -0.05, 0)), math.pi / 2),
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


STRANGER_KINDS = 8
