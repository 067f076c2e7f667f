"""Fixed objects of the generated street scenes: buildings, fences, trees, poles, signs and traffic lights."""

import math

import numpy as np

from gss.data.scenes.canvas import BOARDS, LEAVES, NEAR, WALL, Canvas, Color, Point
from gss.data.scenes.domains import Paint
from gss.data.scenes.labels import BUILDING, FENCE, POLE, SIGN, VEGETATION


def building(
    canvas: Canvas, side: int, x: float, z: tuple[float, float], height: float, gable: float, paint: Paint
) -> None:
    """Draw a house along the road: its long wall stands at `x`, side -1 = left of the camera, from z[0] to z[1].

    `gable` > 0 puts a pitched roof of that height on it, ridge along the road.
    """
    z0, z1 = max(z[0], NEAR), z[1]
    if z1 < 1.0:
        return
    far = x + side * 11.0
    wall, roof = paint.pick(paint.domain.walls), paint.pick(paint.domain.roofs)
    inside: Point = (x + side * 5.0, height / 2, (z0 + z1) / 2)
    shape = (
        paint.uniform(2.7, 3.4),
        paint.uniform(1.7, 3.2),
        paint.uniform(0.35, 0.75),
        paint.uniform(0.4, 0.62),
    )
    surface = {
        "kind": WALL,
        "grain": paint.uniform(0.06, 0.2),
        "texels": paint.uniform(10, 22),
        "curve": shape,
    }
    canvas.cast([(x, z0), (far, z0), (far, z1), (x, z1)], height + 0.5 * gable)
    if gable:
        ridge = x + side * 5.5
        slope: list[Point] = [
            (x - side * 0.4, height - 0.2, z0),
            (x - side * 0.4, height - 0.2, z1),
            (ridge, height + gable, z1),
            (ridge, height + gable, z0),
        ]
        canvas.face(slope, BUILDING, roof, grain=0.3, texels=25.0)
    front: list[Point] = [(x, 0.0, z0), (far, 0.0, z0), (far, height, z0), (x, height, z0)]
    if z[0] > NEAR:
        canvas.face(front, BUILDING, wall, inside, **surface)  # type: ignore[arg-type]
        if gable:
            canvas.face(
                [(x, height, z0), (far, height, z0), (x + side * 5.5, height + gable, z0)],
                BUILDING,
                wall,
                grain=0.15,
                texels=14.0,
            )
    long_wall: list[Point] = [(x, 0.0, z0), (x, 0.0, z1), (x, height, z1), (x, height, z0)]
    canvas.face(long_wall, BUILDING, wall, inside, **surface)  # type: ignore[arg-type]
    trim = tuple(min(1.0, 1.2 * c) for c in wall)
    for low, high in ((height - 0.35, height), (0.0, 0.5)):
        canvas.face([(x, low, z0), (x, low, z1), (x, high, z1), (x, high, z0)], BUILDING, trim)  # type: ignore[arg-type]
    if paint.chance(0.35):  # shop front with an awning
        tint, length = paint.pick(paint.SIGNS + paint.domain.walls), min(z1 - z0, paint.uniform(5, 9))
        start = z0 + (z1 - z0 - length) * paint.uniform(0, 1)
        canvas.face(
            [(x, 0.3, start), (x, 0.3, start + length), (x, 2.5, start + length), (x, 2.5, start)],
            BUILDING,
            (0.16, 0.19, 0.21),
            glow=0.5 * paint.domain.night,
            grain=0.5,
            texels=9.0,
        )
        canvas.face(
            [(x, 2.5, start), (x, 2.5, start + length), (x, 3.1, start + length), (x, 3.1, start)],
            BUILDING,
            tint,
        )
    else:
        door = z0 + (z1 - z0) * paint.uniform(0.1, 0.8)
        canvas.face(
            [(x, 0.0, door), (x, 0.0, door + 1.1), (x, 2.2, door + 1.1), (x, 2.2, door)],
            BUILDING,
            paint.pick(paint.domain.fences),
        )


def fence(canvas: Canvas, x: float, z: tuple[float, float], kind: int, height: float, paint: Paint) -> None:
    """Draw a fence along the road at `x`: 0 = boards, 1 = low wall with posts, 2 = open railing."""
    z0, z1 = max(z[0], NEAR), z[1]
    if z1 <= z0:
        return
    color = paint.pick(paint.domain.fences)
    canvas.cast([(x - 0.05, z0), (x + 0.05, z0), (x + 0.05, z1), (x - 0.05, z1)], height)

    def strip(low: float, high: float, start: float, end: float, tint: Color = color, **surface: float) -> None:
        canvas.face([(x, low, start), (x, low, end), (x, high, end), (x, high, start)], FENCE, tint, **surface)  # type: ignore[arg-type]

    if kind == 0:
        strip(0.05, height, z0, z1, kind=BOARDS, grain=0.25, texels=20.0)
    elif kind == 1:
        strip(0.0, 0.6 * height, z0, z1, grain=0.25, texels=18.0)
        strip(0.6 * height, 0.66 * height, z0, z1, (0.7, 0.69, 0.66))
    else:
        # Bars too close to tell apart are drawn as one sheet.
        clear = min(z1, 18.0)
        if z1 > clear:
            strip(0.1, height, max(clear, z0), z1)
        if z0 < clear:
            for level in (0.15, height - 0.12):
                strip(level, level + 0.08, z0, clear)
            for bar in np.arange(math.ceil(z0 / 0.45) * 0.45, clear, 0.45).tolist():
                strip(0.0, height, bar, bar + 0.09)
    if kind != 2:
        for post in np.arange(math.ceil(z0 / 2.5) * 2.5, min(z1, 40.0), 2.5).tolist():
            strip(0.0, height + 0.08, post, post + 0.16, tuple(0.8 * c for c in color))  # type: ignore[arg-type]


def tree(canvas: Canvas, x: float, z: float, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a tree: a trunk with branches and a crown of fractal clouds of leaves."""
    tall, phase = float(rng.uniform(4.5, 9.5)), int(rng.integers(256))
    slim = rng.random() < 0.2
    radius = tall * float(rng.uniform(0.13, 0.17) if slim else rng.uniform(0.24, 0.34))
    crown = tall - radius * (2.2 if slim else 1.0)
    bark = paint.pick(paint.domain.poles if paint.chance(0.5) else ((0.36, 0.29, 0.22), (0.30, 0.25, 0.21)))
    leaf, lean = paint.pick(paint.domain.leaves, 0.1), float(rng.uniform(-0.3, 0.3))
    thick = 0.045 * tall * float(rng.uniform(0.7, 1.1))
    trunk = canvas.part(VEGETATION, bark, z=z, grain=0.35, texels=35.0, curve=(x, 0.0, 0.6 * thick, 0.0))
    canvas.limb((x, 0.0, z), (x + 0.6 * lean, crown, z), thick, trunk, 0.5 * thick)
    for fork in (-1, 1):
        tip = (x + lean + fork * 0.55 * radius, crown + 0.2 * radius, z)
        canvas.limb((x + 0.4 * lean, 0.62 * crown, z), tip, 0.5 * thick, trunk, 0.2 * thick)
    canvas.cast([(x - thick / 2, z), (x + thick / 2, z)], crown)
    around = [(x + lean + radius * math.cos(t), z + radius * math.sin(t)) for t in np.arange(0, 6.2, 0.6).tolist()]
    canvas.cast(around, crown + 0.4 * radius, crown - 0.5 * radius)
    canvas.ground_contact(
        [(x - thick, z - thick), (x + thick, z - thick), (x + thick, z + thick), (x - thick, z + thick)], 130
    )
    high = radius * (2.3 if slim else 1.0)
    leaves = canvas.part(
        VEGETATION,
        leaf,
        z=z,
        kind=LEAVES,
        grain=0.85,
        texels=26.0,
        curve=(x + lean, crown, 1.15 * radius, 1.15 * high),
    )
    canvas.cloud((x + lean, crown, z), radius, high, leaves, phase)


def shrub(canvas: Canvas, x: float, z: float, size: float, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a bush or a distant wood: leaves down to the ground."""
    leaf, wide = paint.pick(paint.domain.leaves, 0.1), size * float(rng.uniform(0.9, 1.5))
    leaves = canvas.part(
        VEGETATION,
        leaf,
        z=z,
        kind=LEAVES,
        grain=0.8,
        texels=30.0 / max(size, 1.0),
        curve=(x, 0.4 * size, 1.2 * wide, 1.1 * size),
    )
    canvas.cloud((x, 0.35 * size, z), wide, 0.62 * size, leaves, int(rng.integers(256)), rough=0.8)
    canvas.ground_contact([(x - wide, z - 0.2), (x + wide, z - 0.2), (x + wide, z + 0.4), (x - wide, z + 0.4)], 120)


def _mast(canvas: Canvas, x: float, z: float, height: float, width: float, color: Color) -> int:
    """Draw a vertical pole with its shadow; return the part for things fixed to it."""
    part = canvas.part(POLE, color, z=z, grain=0.08, texels=30.0, curve=(x, 0.0, 0.55 * width, 0.0))
    canvas.limb((x, 0.0, z), (x, height, z), width, part)
    canvas.cast([(x - width / 2, z), (x + width / 2, z)], height)
    return part


def lamp_post(canvas: Canvas, x: float, z: float, reach: float, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a street lamp whose arm reaches towards the road by `reach` metres (signed)."""
    height, color = float(rng.uniform(4.8, 7.5)), paint.pick(paint.domain.poles)
    mast = _mast(canvas, x, z, height, 0.15, color)
    canvas.limb((x, 0.0, z), (x, 0.9, z), 0.24, mast)
    canvas.limb((x, height, z), (x + reach, height + 0.25, z), 0.09, mast)
    night = paint.domain.night
    head = canvas.part(POLE, (1.0, 0.82, 0.55) if night else color, z=z, glow=2.5 if night else 0.0)
    canvas.limb((x + 0.75 * reach, height + 0.2, z), (x + 1.2 * reach, height + 0.3, z), 0.2, head)
    canvas.lamps.append((x + reach, height, z))


def sign_post(canvas: Canvas, x: float, z: float, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a traffic sign on a thin pole: disc, warning triangle, rectangle, give-way or octagon."""
    height, kind, radius = float(rng.uniform(2.1, 2.9)), int(rng.integers(5)), float(rng.uniform(0.34, 0.46))
    turned = rng.random() < 0.15  # seen from behind: grey
    _mast(canvas, x, z, height, 0.075, paint.pick(paint.domain.poles[:4]))
    canvas.cast([(x - radius, z), (x + radius, z)], height + radius, height - radius)
    rim = (0.55, 0.56, 0.57) if turned else (0.74, 0.10, 0.12)
    field = (0.55, 0.56, 0.57) if turned else (0.92, 0.92, 0.90)
    z -= 0.08

    def use(color: Color) -> int:
        return canvas.part(SIGN, color, z=z, grain=0.02, glow=0.12)

    def ring(n: int, turn: float, r: float) -> list[Point]:
        return [
            (
                x + r * math.cos(turn + 2 * math.pi * i / n),
                height + r * math.sin(turn + 2 * math.pi * i / n),
                z,
            )
            for i in range(n)
        ]

    if kind == 2:
        plate = field if turned else paint.pick(paint.SIGNS)
        wide = radius * 1.3
        canvas.polygon(
            [
                (x - wide, height - radius, z),
                (x + wide, height - radius, z),
                (x + wide, height + radius, z),
                (x - wide, height + radius, z),
            ],
            use(plate),
        )
        for line in (-0.3, 0.25):
            canvas.limb(
                (x - 0.7 * wide, height + line * radius, z),
                (x + 0.6 * wide, height + line * radius, z),
                0.2 * radius,
                use(field),
            )
    else:
        n, turn = {0: (14, 0.0), 1: (3, math.pi / 2), 3: (3, -math.pi / 2), 4: (8, math.pi / 8)}[kind]
        canvas.polygon(ring(n, turn, radius * (1.25 if n == 3 else 1.0)), use(rim))
        if kind == 4 and not turned:
            canvas.limb((x - 0.6 * radius, height, z), (x + 0.6 * radius, height, z), 0.35 * radius, use(field))
        else:
            inner = (0.14, 0.33, 0.65) if kind == 0 and not turned and paint.chance(0.35) else field
            canvas.polygon(ring(n, turn, radius * (0.8 if n == 3 else 0.72)), use(inner))
            if not turned:
                canvas.limb(
                    (x, height - 0.3 * radius, z),
                    (x, height + 0.35 * radius, z),
                    0.2 * radius,
                    use((0.08, 0.08, 0.09)),
                )


def traffic_light(canvas: Canvas, x: float, z: float, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a traffic light: pole, black box and three lamps, one of them on."""
    height, lit = float(rng.uniform(2.6, 3.2)), int(rng.integers(3))
    _mast(canvas, x, z, height, 0.12, paint.pick(paint.domain.poles))
    z -= 0.1
    housing = canvas.part(SIGN, (0.07, 0.075, 0.08), z=z, grain=0.02)
    canvas.limb((x, height - 0.15, z), (x, height + 0.95, z), 0.4, housing)
    colors = ((0.9, 0.12, 0.1), (0.95, 0.65, 0.1), (0.15, 0.85, 0.4))
    for lamp, color in enumerate(colors):
        shine = 1.4 if lamp == lit else 0.0
        tint = color if lamp == lit else tuple(0.3 * c for c in color)
        canvas.disc((x, height + 0.72 - 0.32 * lamp, z), 0.13, 0.13, canvas.part(SIGN, tint, z=z, glow=shine))  # type: ignore[arg-type]
