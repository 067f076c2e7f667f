"""People and cyclists of the generated street scenes."""

import math

import numpy as np

from gss.data.scenes.canvas import Canvas, Point
from gss.data.scenes.cars import TYRE
from gss.data.scenes.domains import Color, Paint
from gss.data.scenes.labels import CYCLIST, PERSON


def person(canvas: Canvas, x: float, z: float, rng: np.random.Generator, paint: Paint, base: float = 0.0) -> None:
    """Draw a person standing or walking, seen from any side."""
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
    """Draw a bicycle with its rider, from behind or from the side."""
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
