"""Camera, part table and painter of the generated street scenes.

A scene is painted once, back to front, into an image of part numbers. Every part is planar, so its inverse depth is
affine in the pixel position. Colors, light and weather are computed later from the part table (deferred shading); this
is fast, and the labels do not depend on the weather.

World frame: X right, Y up, Z forward along the road, metres; the camera stands at (0, camera.height, 0).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SKY, GROUND, PLAIN, WALL, LEAVES, BOARDS, GLASS = range(7)  # kinds of surfaces, for the shader
NEAR = 0.4  # metres; nothing is projected from nearer than this
Point = tuple[float, float, float]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """Pinhole camera with its image plane across the road; yaw and pitch shift the vanishing point."""

    rows: int
    columns: int
    focal: float  # pixels
    height: float  # metres above the road
    center_x: float  # vanishing point, pixels
    center_y: float
    roll: float  # radians

    def __post_init__(self) -> None:
        """Compute the rotation once; a scene projects tens of thousands of points."""
        object.__setattr__(self, "_turn", (math.cos(self.roll), math.sin(self.roll)))

    def project(self, point: Point) -> tuple[float, float]:
        """Return the pixel position (x, y) of a world point."""
        scale = self.focal / (point[2] if point[2] > NEAR else NEAR)
        x = self.center_x + scale * point[0] - self.columns / 2
        y = self.center_y - scale * (point[1] - self.height) - self.rows / 2
        cos, sin = self._turn  # type: ignore[attr-defined]
        return cos * x - sin * y + self.columns / 2, sin * x + cos * y + self.rows / 2

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the slopes X/Z and (Y - height)/Z of the ray through each pixel center, float32 `[H, W]` each."""
        x = np.arange(self.columns, dtype=np.float32)[None, :] - self.columns / 2
        y = np.arange(self.rows, dtype=np.float32)[:, None] - self.rows / 2
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        slope_x = (cos * x + sin * y + (self.columns / 2 - self.center_x)) / self.focal
        slope_y = -(-sin * x + cos * y + (self.rows / 2 - self.center_y)) / self.focal
        return slope_x.astype(np.float32), slope_y.astype(np.float32)


class Part(NamedTuple):
    """One row of the part table; 1/Z = plane_x * X/Z + plane_y * (Y - height)/Z + plane_1."""

    label: float
    red: float  # reflectance 0..1
    green: float
    blue: float
    plane_x: float
    plane_y: float
    plane_1: float
    normal_x: float
    normal_y: float
    normal_z: float
    kind: float
    grain: float  # strength of the texture
    texels: float  # texture cells per metre
    glow: float  # emitted light
    round_x: float  # curved parts: center and radii (metres); radius 0 = flat along that axis
    round_y: float
    radius_x: float
    radius_y: float
    unknown: float
    phase: float  # where in the texture the part begins


@dataclass
class Canvas:
    """Canvas with the image of part numbers, the part table, and the two shadow images of the ground."""

    camera: Camera
    sun: Point | None  # unit vector towards the sun; None: nothing casts a shadow
    rows: list[Part] = field(default_factory=list)
    lamps: list[Point] = field(default_factory=list)
    phase: int = 0  # of the parts added from here on
    unknown: bool = False  # parts added while True belong to objects of no known class

    def __post_init__(self) -> None:
        """Create the images; part 0 is the sky."""
        size = (self.camera.columns, self.camera.rows)
        self.image = Image.new("I", size, 0)
        self.draw = ImageDraw.Draw(self.image)
        self.shadow, self.contact = Image.new("L", size, 0), Image.new("L", size, 0)
        self._shadow_draw, self._contact_draw = ImageDraw.Draw(self.shadow), ImageDraw.Draw(self.contact)

    def part(
        self,
        label: int,
        color: Color,
        *,
        plane: Point | None = None,
        z: float = 1.0,
        normal: Point = (0.0, 0.25, -0.97),
        kind: int = PLAIN,
        grain: float = 0.06,
        texels: float = 40.0,
        glow: float = 0.0,
        curve: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    ) -> int:
        """Add a part (upright at depth `z` unless `plane` is given) and return its number."""
        plane = plane or (0.0, 0.0, 1.0 / z)
        row = Part(label, *color, *plane, *normal, kind, grain, texels, glow, *curve, self.unknown, self.phase)
        self.rows.append(row)
        return len(self.rows) - 1

    def polygon(self, points: Sequence[Point], part: int) -> None:
        """Fill the polygon through world points."""
        self.draw.polygon([self.camera.project(p) for p in points], fill=part)

    def face(self, points: Sequence[Point], label: int, color: Color, inside: Point | None = None, **kw: float) -> bool:
        """Fill a planar face, lit by its normal; return False if it faces away from the camera.

        `inside` is any point behind the face (it orients the normal); without it the face is seen from both sides.
        """
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[0], points[1], points[2]
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = math.sqrt(nx * nx + ny * ny + nz * nz) or 1.0
        nx, ny, nz = nx / length, ny / length, nz / length
        distance = nx * ax + ny * (ay - self.camera.height) + nz * az
        if inside is not None and nx * (inside[0] - ax) + ny * (inside[1] - ay) + nz * (inside[2] - az) > 0:
            nx, ny, nz, distance = -nx, -ny, -nz, -distance
        if inside is not None and distance >= -1e-4:
            return False
        if inside is None and distance > 0:
            nx, ny, nz, distance = -nx, -ny, -nz, -distance
        distance = min(distance, -1e-4)
        plane = (nx / distance, ny / distance, nz / distance)
        self.polygon(points, self.part(label, color, plane=plane, normal=(nx, ny, nz), **kw))  # type: ignore[arg-type]
        return True

    def limb(self, a: Point, b: Point, width: float, part: int, end_width: float | None = None) -> None:
        """Draw a straight stroke in the picture plane, from `width` to `end_width` metres wide, at least one pixel."""
        (ax, ay), (bx, by) = self.camera.project(a), self.camera.project(b)
        scale = self.camera.focal / max(a[2], NEAR)
        wa = max(width * scale, 1.0) / 2
        wb = max((width if end_width is None else end_width) * scale, 1.0) / 2
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = (ay - by) / length, (bx - ax) / length
        if wa <= 0.75 and wb <= 0.75:
            self.draw.line([(ax, ay), (bx, by)], fill=part, width=1)
        else:
            corners = [(ax + nx * wa, ay + ny * wa), (bx + nx * wb, by + ny * wb)]
            self.draw.polygon([*corners, (bx - nx * wb, by - ny * wb), (ax - nx * wa, ay - ny * wa)], fill=part)

    def disc(self, center: Point, radius_x: float, radius_y: float, part: int, ring: float = 0.0) -> None:
        """Draw a filled ellipse in the picture plane, or with `ring` > 0 its outline of that width in metres."""
        x, y = self.camera.project(center)
        scale = self.camera.focal / max(center[2], NEAR)
        rx, ry = max(radius_x * scale, 0.5), max(radius_y * scale, 0.5)
        box = (x - rx, y - ry, x + rx, y + ry)
        if ring:
            self.draw.ellipse(box, outline=part, width=max(1, round(ring * scale)))
        else:
            self.draw.ellipse(box, fill=part)

    def cloud(self, center: Point, radius_x: float, radius_y: float, part: int, phase: int, rough: float = 0.9) -> None:
        """Draw an ellipse with a fractal outline and holes, from noise of many octaves."""
        x, y = self.camera.project(center)
        scale = self.camera.focal / max(center[2], NEAR)
        rx, ry = max(radius_x * scale, 1.0), max(radius_y * scale, 1.0)
        left, right = max(int(x - 1.3 * rx), 0), min(int(x + 1.3 * rx) + 2, self.camera.columns)
        top, bottom = max(int(y - 1.3 * ry), 0), min(int(y + 1.3 * ry) + 2, self.camera.rows)
        if left >= right or top >= bottom:
            return
        u = (np.arange(left, right, dtype=np.float32) - x) / rx
        v = (np.arange(top, bottom, dtype=np.float32) - y) / ry
        # 90 cells across the crown: leaf clusters keep their size relative to the tree, whatever the distance
        columns = (u * 45 + phase).astype(np.int64) & 255
        lines = (v * 45 + 7 * phase).astype(np.int64) & 255
        noise = noise_tiles()[0][lines[:, None], columns[None, :]]
        mask = (1.0 - u[None, :] ** 2 - v[:, None] ** 2 + rough * (noise - 0.12)) > 0.0
        self.image.paste(part, (left, top, right, bottom), Image.fromarray(mask))

    def cast(self, outline: Sequence[tuple[float, float]], top: float, bottom: float = 0.0) -> None:
        """Draw the shadow of an upright prism with a ground outline (X, Z) between two heights."""
        if self.sun is None:
            return
        sx, sy, sz = self.sun
        kx, kz = sx / sy, sz / sy
        points = [(x - kx * y, z - kz * y) for x, z in outline for y in (bottom, top)]
        self._shadow_draw.polygon([self.camera.project((x, 0.0, max(z, NEAR))) for x, z in _hull(points)], fill=255)

    def ground_contact(self, outline: Sequence[tuple[float, float]], strength: int = 170) -> None:
        """Darken the ground under an object, in every weather."""
        points = [self.camera.project((x, 0.0, max(z, NEAR))) for x, z in _hull(outline)]
        self._contact_draw.polygon(points, fill=strength)

    def table(self) -> np.ndarray:
        """Return the part table, float32 `[parts, len(Part._fields)]`."""
        return np.array(self.rows, dtype=np.float32)


def _hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the convex hull (monotone chain)."""
    ordered = sorted(set(points))
    chains: list[list[tuple[float, float]]] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sequence:
            while len(chain) > 1 and (
                (chain[-1][0] - chain[-2][0]) * (p[1] - chain[-2][1])
                <= (chain[-1][1] - chain[-2][1]) * (p[0] - chain[-2][0])
            ):
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    return chains[0] + chains[1]


@functools.lru_cache(maxsize=1)
def noise_tiles() -> np.ndarray:
    """Return two periodic noise tiles, float32 `[2, 256, 256]` in about -1..1: all octaves, and fine speckle."""
    generator = np.random.default_rng(20240)
    frequency = np.hypot(np.fft.fftfreq(256)[:, None] * 256, np.fft.fftfreq(256)[None, :] * 256)
    tiles = []
    for slope, lowest in ((1.25, 2.0), (0.35, 12.0)):
        spectrum = np.fft.fft2(generator.standard_normal((256, 256)))
        spectrum *= np.where(frequency < lowest, 0.0, 1.0 / np.maximum(frequency, 1.0) ** slope)
        tile = np.fft.ifft2(spectrum).real
        tiles.append(np.clip(tile / (2.2 * tile.std()), -1.0, 1.0))
    return np.stack(tiles).astype(np.float32)
