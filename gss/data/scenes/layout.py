"""Composition of a generated street scene: the road, buildings and objects beside it, traffic and people."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from gss.data.scenes.canvas import GROUND, SKY, WALL, Camera, Canvas
from gss.data.scenes.cars import car
from gss.data.scenes.domains import Paint
from gss.data.scenes.labels import BUILDING, ROAD, VOID
from gss.data.scenes.labels import SKY as SKY_LABEL
from gss.data.scenes.parts import building, fence, lamp_post, shrub, sign_post, traffic_light, tree
from gss.data.scenes.people import cyclist, person
from gss.data.scenes.strangers import STRANGERS, stranger

SKY_DEPTH = 1000.0  # metres
LOTS = 200.0  # added to the painting order of lots, which stand behind everything in the street
Drawing = tuple[float, Callable[..., None]]  # distance, function of `rng` and `paint`


@dataclass(frozen=True)
class Street:
    """Ground plan. Distances in metres, lateral positions relative to the middle of the road at `center`."""

    center: float  # lateral position of the road's middle relative to the camera
    half: float  # half the road's width
    pavement: tuple[float, float]  # width left, right
    grass: tuple[bool, bool]  # whether grass, not paving, lies beyond the pavement: left, right
    lanes: int
    lane: float  # width of a lane
    crossing: tuple[float, float] | None  # side street between these distances
    zebra: float | None  # distance of a zebra crossing
    cycle_lane: bool  # painted strip at the right kerb
    keep_right: bool


def make_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """Return a random camera of a car that drives along the road."""
    rows, columns = size
    focal = float(rng.uniform(0.78, 1.0)) * max(columns, 0.75 * rows)
    yaw, pitch = float(rng.normal(0, 0.07)), float(rng.uniform(-0.06, 0.03))
    return Camera(
        rows=rows,
        columns=columns,
        focal=focal,
        height=float(rng.uniform(1.3, 2.1)),
        center_x=columns / 2 + focal * max(min(yaw, 0.2), -0.2),
        center_y=rows / 2 + focal * pitch,
        roll=float(rng.normal(0, 0.012)),
    )


def make_street(rng: np.random.Generator, cycle_lane: bool) -> Street:
    """Return a random ground plan."""
    lanes = int(rng.choice([2, 2, 2, 3, 4]))
    lane, keep_right = float(rng.uniform(3.0, 3.7)), bool(rng.random() < 0.75)
    ours = 0.5 if lanes % 2 == 0 else 1.0
    offset = -(ours * lane + float(rng.normal(0, 0.25))) * (1 if keep_right else -1)
    start = float(rng.uniform(14, 42))
    crossing = (start, start + float(rng.uniform(6, 9))) if rng.random() < 0.4 else None
    zebra = start - 5.0 if crossing and rng.random() < 0.6 else None
    if crossing is None and rng.random() < 0.15:
        zebra = start
    return Street(
        center=offset,
        half=lanes * lane / 2 + float(rng.uniform(0.3, 2.2)),
        pavement=(float(rng.uniform(1.6, 4.0)), float(rng.uniform(1.6, 4.0))),
        grass=(bool(rng.random() < 0.55), bool(rng.random() < 0.55)),
        lanes=lanes,
        lane=lane,
        crossing=crossing,
        zebra=zebra,
        cycle_lane=cycle_lane,
        keep_right=keep_right,
    )


class _Plan:
    """Occupied places on the ground, so that objects do not overlap."""

    def __init__(self, street: Street) -> None:
        self.taken: list[tuple[float, float, float, float]] = []
        self.street = street

    def claim(self, x: float, z: float, wide: float, long: float, *, crossing: bool = False) -> bool:
        """Reserve a rectangle; return False if it is occupied, or (unless `crossing`) in the side street."""
        block = self.street.crossing
        if block and not crossing and block[0] - 2.0 < z < block[1] + 2.0:
            return False
        if any(abs(x - u) < wide + w and abs(z - v) < long + d for u, v, w, d in self.taken):
            return False
        self.taken.append((x, z, wide, long))
        return True


def compose(
    canvas: Canvas,
    street: Street,
    rng: np.random.Generator,
    paint: Paint,
    *,
    cyclists: bool | None = None,
    unknown: np.random.Generator | None = None,
    kinds: Sequence[str] = STRANGERS,
) -> None:
    """Paint the whole scene, back to front.

    Args:
        canvas: empty canvas, painted on.
        street: ground plan.
        rng: random generator of the geometry.
        paint: source of all colors.
        cyclists: True for near cyclists, False for none, None for a random choice.
        unknown: random generator of objects of no known class; everything else stays as without them.
        kinds: kinds of these objects.
    """
    camera = canvas.camera
    canvas.part(SKY_LABEL, (0.0, 0.0, 0.0), plane=(0.0, 0.0, 1.0 / SKY_DEPTH), kind=SKY)
    level = (0.0, -1.0 / camera.height, 0.0)
    ground = canvas.part(ROAD, (0.0, 0.0, 0.0), plane=level, normal=(0.0, 1.0, 0.0), kind=GROUND, texels=24.0)
    far, near, wide = 240.0, 0.5, 4000.0
    canvas.polygon([(-wide, 0.0, far), (wide, 0.0, far), (wide, 0.0, near), (-wide, 0.0, near)], ground)

    hood = float(rng.uniform(0.03, 0.09)) if rng.random() < 0.3 else 0.0
    plan, queue = _Plan(street), _backdrop(canvas, rng, paint)
    queue += _traffic(canvas, street, plan, rng, cyclists)
    for side in (-1, 1):
        queue += _roadside(canvas, street, side, plan, rng)
    queue += _people(canvas, street, plan, rng)
    seed = int(rng.integers(2**32))
    if unknown is not None:
        queue += _strangers(canvas, street, plan, unknown, kinds)
    # Every drawing has its own generators, so an additional drawing does not change the others.
    for number in sorted(range(len(queue)), key=lambda i: -queue[i][0]):
        canvas.phase = 37 * number & 255
        queue[number][1](rng=np.random.default_rng([seed, number]), paint=paint.child(number))
    if hood:
        _hood(canvas, hood)


def _backdrop(canvas: Canvas, rng: np.random.Generator, paint: Paint) -> list[Drawing]:
    """Draw woods and towers on the horizon; return a house across the end of the road in some scenes."""
    for _ in range(int(rng.integers(3, 9))):
        x, z, size = float(rng.uniform(-130, 130)), float(rng.uniform(130, 200)), float(rng.uniform(6, 16))
        shrub(canvas, x, z, size, np.random.default_rng(int(rng.integers(2**32))), paint)
    for _ in range(int(rng.integers(0, 5))):
        x, z = float(rng.uniform(-90, 90)), float(rng.uniform(110, 170))
        building(canvas, 1 if x > 0 else -1, x, (z, z + 12), float(rng.uniform(9, 35)), 0.0, paint)
    if rng.random() < 0.3:
        z = float(rng.uniform(95, 120))
        return [(LOTS + z, partial(_closing_house, canvas, z, float(rng.uniform(7, 16))))]
    return []


def _closing_house(canvas: Canvas, z: float, height: float, *, rng: np.random.Generator, paint: Paint) -> None:
    """Draw a house across the end of the road."""
    windows = (3.0, float(rng.uniform(2, 3)), 0.5, 0.5)
    tint = paint.pick(paint.domain.walls)
    wall = canvas.part(BUILDING, tint, z=z, kind=WALL, grain=0.1, texels=12.0, curve=windows)
    canvas.polygon([(-30.0, 0.0, z), (30.0, 0.0, z), (30.0, height, z), (-30.0, height, z)], wall)


def _lot(
    canvas: Canvas,
    side: int,
    span: tuple[float, float],
    front: float,
    house: tuple[float, float] | None,
    border: tuple[float, int, float] | None,
    *,
    rng: np.random.Generator,
    paint: Paint,
) -> None:
    """Draw one lot: a house of (height, gable) or bushes, and towards the street a fence of (x, kind, height)."""
    start, end = span
    if house:
        building(canvas, side, front, span, *house, paint)
    else:
        for _ in range(3):
            z = float(rng.uniform(max(start, 6), max(start, 6) + end - start))
            shrub(canvas, front + side * float(rng.uniform(1.5, 6)), z, float(rng.uniform(1.2, 4)), rng, paint)
    if border and end > 1:
        fence(canvas, border[0], (start, end - 0.8), border[1], border[2], paint)


def _roadside(canvas: Canvas, street: Street, side: int, plan: _Plan, rng: np.random.Generator) -> list[Drawing]:
    """Return the lots, lamps, signs and trees of one side of the road."""
    edge = street.center + side * (street.half + street.pavement[side > 0])
    kerb = street.center + side * (street.half + 0.45)
    suburb, block = bool(rng.random() < 0.6), street.crossing
    front = edge + side * (float(rng.uniform(1.5, 7)) if suburb else 0.2)
    fenced, z = suburb and rng.random() < 0.75, float(rng.uniform(-12, 2))
    border = (edge + side * 0.15, int(rng.integers(3)), float(rng.uniform(0.8, 1.9))) if fenced else None
    lots: list[Drawing] = []
    while z < 110:
        length = float(rng.uniform(7, 20))
        if block and z < block[1] + 2 and z + length > block[0] - 2:
            if block[0] - 2 - z > 4:
                length = block[0] - 2 - z
            else:
                z = block[1] + 2
        floors = int(rng.integers(1, 3)) if suburb else int(rng.integers(2, 7))
        built = rng.random() < (0.72 if suburb else 0.9)
        house = (floors * 3.0 + float(rng.uniform(0.2, 1.2)), 2.8 * suburb) if built else None
        x = front + side * float(rng.uniform(0, 1.5)) * suburb
        # Lots are painted before everything in the street, but after cars in the side street behind them.
        order = block[0] - 1.9 if block and z < block[0] else LOTS + z
        lots.append((order, partial(_lot, canvas, side, (z, z + length), x, house, border)))
        z += length + (float(rng.uniform(1, 6)) if suburb else float(rng.choice([0, 0, 0, 4.0])))
    queue = lots[::-1]

    def stand(tool: Callable[..., None], x: float, z: float, *extra: float, room: float = 0.3) -> None:
        if plan.claim(x, z, room, room):
            queue.append((z, partial(tool, canvas, x, z, *extra)))

    if rng.random() < 0.75:
        for z in np.arange(float(rng.uniform(7, 20)), 90, float(rng.uniform(14, 24))).tolist():
            stand(lamp_post, kerb, z, -side * 1.3)
    for _ in range(int(rng.integers(1, 5))):
        stand(sign_post, kerb + side * 0.1, float(rng.uniform(6, 38)))
    if block:
        corner = kerb + side * 0.1
        if rng.random() < 0.6:
            queue.append((block[0] - 1.6, partial(traffic_light, canvas, corner, block[0] - 1.6)))
    if rng.random() < 0.55:
        inner = rng.random() < 0.5 and street.pavement[side > 0] > 2.4
        x = kerb + side * 0.5 if inner else edge + side * 0.9
        for z in np.arange(float(rng.uniform(6, 16)), 80, float(rng.uniform(6, 13))).tolist():
            if suburb or inner:
                stand(tree, x + float(rng.normal(0, 0.15)), z + float(rng.normal(0, 0.6)), room=0.6)
    return queue


def _traffic(
    canvas: Canvas, street: Street, plan: _Plan, rng: np.random.Generator, cyclists: bool | None
) -> list[Drawing]:
    """Return the cars (ahead, oncoming, parked, crossing) and cyclists."""
    queue: list[Drawing] = []
    way = 1 if street.keep_right else -1

    def drive(x: float, z: float, heading: float, *, crossing: bool = False) -> None:
        wide, long = (2.6, 1.2) if crossing else (1.0, 2.7)
        if plan.claim(x, z, wide, long, crossing=crossing):
            queue.append((z, partial(car, canvas, x, z, heading)))

    bikes = bool(rng.random() < 0.6) if cyclists is None else cyclists
    spots = [(float(rng.uniform(6, 22)), float(rng.random()), float(rng.normal(0, 0.2))) for _ in range(2)]
    if bikes:
        for number, (z, turn, drift) in enumerate(spots):
            if number and turn < 0.5:
                continue
            sideways = number == 1 and turn > 0.72
            x = street.center + way * (street.half - 0.8) + drift
            z = 4 + (z - 6) / 4 if cyclists else z  # forced ones ride near
            z = max(z, abs(x) / 0.4)  # inside the picture
            if sideways:
                x = street.center + street.half * 2 * (turn - 0.86) * 6
            if plan.claim(x, z, 0.9 if sideways else 0.4, 1.0, crossing=True):
                queue.append((z, partial(cyclist, canvas, x, z, sideways)))
    for lane in range(street.lanes):
        x = street.center + (lane - (street.lanes - 1) / 2) * street.lane
        ours = (lane >= street.lanes / 2) == street.keep_right
        z = float(rng.uniform(9, 40)) if abs(x) < 2 else float(rng.uniform(6, 34))
        for _ in range(3):
            if rng.random() < 0.5:
                drive(x + float(rng.normal(0, 0.15)), z, float(rng.normal(0, 0.03)) + (0.0 if ours else math.pi))
            z += float(rng.uniform(8, 25))
    for side in (-1, 1):
        if (
            street.half - street.lanes * street.lane / 2 > 1.0
            and rng.random() < 0.75
            and side != way * street.cycle_lane
        ):
            z, x = float(rng.uniform(5.5, 11)), street.center + side * (street.half - 1.0)
            while z < 60:
                turned = 0.0 if (side == way) != (rng.random() < 0.1) else math.pi
                if rng.random() < 0.7:
                    drive(x + float(rng.normal(0, 0.08)), z, turned + float(rng.normal(0, 0.02)))
                z += float(rng.uniform(5.4, 8))
    if street.crossing:
        middle = sum(street.crossing) / 2
        for sign in (-1, 1):
            if rng.random() < 0.45:
                x = float(rng.uniform(-1, 1)) * (street.half + 9)
                drive(street.center + x, middle + sign * 1.7, sign * math.pi / 2, crossing=True)
    return queue


def _people(canvas: Canvas, street: Street, plan: _Plan, rng: np.random.Generator) -> list[Drawing]:
    """Return people on the pavements, alone or in small groups, and some crossing the road."""
    queue: list[Drawing] = []
    for _ in range(int(rng.integers(1, 6))):
        side, z = (-1, 1)[int(rng.integers(2))], float(rng.uniform(5.5, 32))
        for _ in range(int(rng.choice([1, 1, 2, 3]))):
            width = street.pavement[side > 0]
            x = street.center + side * (street.half + float(rng.uniform(0.5, width - 0.3)))
            spot = z + float(rng.uniform(-0.9, 0.9))
            if plan.claim(x, spot, 0.3, 0.25, crossing=True):
                queue.append((spot, partial(person, canvas, x, spot)))
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.35 or street.zebra else 0):
        z = street.zebra + float(rng.uniform(0.5, 2.5)) if street.zebra else float(rng.uniform(9, 30))
        x = street.center + float(rng.uniform(-1, 1)) * street.half
        if plan.claim(x, z, 0.35, 0.3, crossing=True):
            queue.append((z, partial(person, canvas, x, z)))
    return queue


def _strangers(
    canvas: Canvas, street: Street, plan: _Plan, rng: np.random.Generator, kinds: Sequence[str]
) -> list[Drawing]:
    """Return one to three objects of no known class on the road or the pavement, not hidden by nearer objects."""
    queue: list[Drawing] = []
    camera, wanted = canvas.camera, int(rng.integers(1, 4))
    for _ in range(60):
        z, side = float(rng.uniform(5.0, 18.0)), (-1, 1)[int(rng.integers(2))]
        x = street.center + float(rng.uniform(-0.9, 0.9)) * street.half
        if rng.random() < 0.35:
            x = street.center + side * (street.half + 0.5 * street.pavement[side > 0])
        column = camera.center_x + camera.focal * x / z
        line = camera.center_y + camera.focal * camera.height / z
        visible = 0.06 < column / camera.columns < 0.94 and line < 0.9 * camera.rows
        hidden = any(v < z and abs(u / v - x / z) < (w + 0.3) / v for u, v, w, _ in plan.taken)
        if visible and not hidden and plan.claim(x, z, 0.8, 0.7, crossing=True):
            kind = STRANGERS.index(kinds[int(rng.integers(len(kinds)))])
            queue.append((z, partial(stranger, canvas, x, z, kind)))
        if len(queue) == wanted:
            break
    return queue


def _hood(canvas: Canvas, share: float) -> None:
    """Draw the bonnet of the camera's car along the lower edge: void."""
    rows, columns = canvas.camera.rows, canvas.camera.columns
    steel = canvas.part(VOID, (0.16, 0.17, 0.19), z=0.9, normal=(0.0, 0.9, -0.4), grain=0.02)
    arch = [(columns * i / 16, rows * (1.0 - share * (1.0 - 0.55 * (i / 8 - 1) ** 2))) for i in range(17)]
    canvas.draw.polygon([*arch, (columns + 1, rows + 1), (-1, rows + 1)], fill=steel)
