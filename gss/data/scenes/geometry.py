"""Labels, depth and world coordinates from the painted part numbers of a generated street scene."""

from dataclasses import dataclass

import numpy as np

from gss.data.scenes.canvas import GROUND, Canvas, Part
from gss.data.scenes.labels import PAVEMENT, ROAD, VEGETATION
from gss.data.scenes.layout import SKY_DEPTH, Street

COLUMN = {name: i for i, name in enumerate(Part._fields)}
ROADWAY, PAINTED, CYCLE, KERB, PAVED, LAWN = range(6)  # kinds of ground


@dataclass(frozen=True)
class Geometry:
    """Parts of a scene that do not depend on light or weather; arrays are `[H, W]`, lengths in metres."""

    parts: np.ndarray  # part numbers, int32
    table: np.ndarray  # part table, float32
    slope_x: np.ndarray  # ray slopes
    slope_y: np.ndarray
    depth: np.ndarray  # float32
    x: np.ndarray
    y: np.ndarray
    ground: np.ndarray  # flat pixel numbers of the ground
    zone: np.ndarray  # kind of ground at these pixels, see `_zones`
    labels: np.ndarray  # uint8
    unknown: np.ndarray  # bool

    def column(self, name: str) -> np.ndarray:
        """Return the value of one column of the part table at each pixel."""
        return self.table[:, COLUMN[name]][self.parts]

    def pixels(self, kind: int) -> np.ndarray:
        """Return the flat numbers of the pixels whose surface is of this kind."""
        return np.flatnonzero((self.table[:, COLUMN["kind"]] == kind)[self.parts])


def measure(canvas: Canvas, street: Street) -> Geometry:
    """Return labels, depth and world coordinates of a painted canvas."""
    camera, table = canvas.camera, canvas.table()
    parts = np.asarray(canvas.image, dtype=np.int32)
    slope_x, slope_y = camera.rays()
    inverse = table[:, COLUMN["plane_x"]][parts] * slope_x + table[:, COLUMN["plane_y"]][parts] * slope_y
    inverse += table[:, COLUMN["plane_1"]][parts]
    depth = 1.0 / np.clip(inverse, 1.0 / SKY_DEPTH, 1.0 / 0.3)
    x, y = slope_x * depth, camera.height + slope_y * depth
    labels = table[:, 0].astype(np.uint8)[parts]
    unknown = table[:, COLUMN["unknown"]].astype(bool)[parts]
    ground = np.flatnonzero(table[:, COLUMN["kind"]][parts] == GROUND)
    zone = _zones(x.ravel()[ground], depth.ravel()[ground], street)
    labels.ravel()[ground] = np.array([ROAD, ROAD, ROAD, PAVEMENT, PAVEMENT, VEGETATION], dtype=np.uint8)[zone]
    return Geometry(parts, table, slope_x, slope_y, depth, x, y, ground, zone, labels, unknown)


def _zones(x: np.ndarray, z: np.ndarray, street: Street) -> np.ndarray:
    """Return the kind of ground at world positions: roadway, its white paint, cycle lane, kerb, paving or grass."""
    u = x - street.center
    d = np.abs(u)
    zone = np.where(np.where(u > 0, *street.grass[::-1]), LAWN, PAVED)
    paved = d < street.half + np.where(u > 0, *street.pavement[::-1])
    road = d < street.half
    kerb = d < street.half + 0.2
    if street.crossing:
        near, far = street.crossing
        road |= (z > near) & (z < far)
        kerb |= (z > near - 0.2) & (z < far + 0.2)
        paved |= (z > near - 2.0) & (z < far + 2.0)
    zone[paved] = PAVED
    zone[kerb] = KERB
    zone[road] = ROADWAY
    junction = (
        np.zeros_like(road) if not street.crossing else (z > street.crossing[0] - 5) & (z < street.crossing[1] + 5)
    )
    dashed = (np.mod(z, 6.0) < 3.0) & ~junction
    lines = np.zeros_like(road)
    for number in range(1, street.lanes):
        lines |= (np.abs(u - (number - street.lanes / 2) * street.lane) < 0.08) & dashed
    lines |= (np.abs(d - street.lanes * street.lane / 2 - 0.12) < 0.06) & ~junction
    if street.cycle_lane:
        way = 1 if street.keep_right else -1
        strip = (way * u > street.half - 1.7) & (way * u < street.half - 0.1) & ~junction
        zone[strip] = CYCLE
    zone[lines & road] = PAINTED
    if street.zebra:
        stripes = (z > street.zebra) & (z < street.zebra + 3.0) & (np.mod(u, 1.0) < 0.5) & (d < street.half - 0.2)
        stop = (z > street.zebra - 1.4) & (z < street.zebra - 1.0) & (d < street.half - 0.2)
        zone[stripes | stop] = PAINTED
    return zone
