"""Deferred shading of the generated street scenes: surfaces, light, air and sensor.

Colors are planar float32 `[3, H, W]` (or `[3, N]` for a subset of pixels) until the last line.
"""

import numpy as np
from PIL import Image, ImageFilter

from gss.data.scenes.canvas import BOARDS, GLASS, LEAVES, SKY, WALL, Camera, Canvas, Point, noise_tiles
from gss.data.scenes.domains import Color, Domain, Paint
from gss.data.scenes.geometry import COLUMN, LAWN, PAINTED, PAVED, Geometry


def _planar(color: Color) -> np.ndarray:
    """Return a color as a column that broadcasts over pixels, `[3, 1]`."""
    return np.array(color, dtype=np.float32)[:, None]


def _tile(tile: np.ndarray, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Look up a periodic tile at whole coordinates."""
    return tile[v.astype(np.int32) & 255, u.astype(np.int32) & 255]


def _texture(geometry: Geometry, camera: Camera, shift: np.ndarray) -> np.ndarray:
    """Return the texture of every pixel, in about -1..1, faded where a pixel covers many cells."""
    normal_x, normal_y = geometry.column("normal_x"), geometry.column("normal_y")
    texels, depth = geometry.column("texels"), geometry.depth
    along = np.where(np.abs(normal_x) > 0.8, depth, geometry.x)  # walls beside the road run away from the camera
    up = np.where(np.abs(normal_y) > 0.8, depth, geometry.y)
    start = geometry.column("phase").astype(np.int32)
    u = (along * texels).astype(np.int32) + start + np.int32(shift[0])
    v = (up * texels).astype(np.int32) + start + np.int32(shift[1])
    coarse, fine = noise_tiles()
    footprint = np.maximum(depth * texels / camera.focal, 0.5)
    footprint *= np.where(normal_y > 0.8, np.sqrt(np.maximum(depth / camera.height, 1.0)), 1.0)
    sharp = np.minimum(1.0, 1.0 / footprint)
    broad = coarse[v & 255, u & 255] + 0.7 * coarse[(v >> 4) & 255, (u >> 4) & 255]
    return 0.6 * broad * np.sqrt(sharp) + 0.7 * fine[(3 * v) & 255, (3 * u) & 255] * sharp


def _ground_color(geometry: Geometry, paint: Paint, camera: Camera) -> np.ndarray:
    """Return the reflectance of the ground pixels `[3, N]`: patched asphalt, worn paint, slabs with joints, grass."""
    domain, zone = paint.domain, geometry.zone
    x, z = geometry.x.ravel()[geometry.ground], geometry.depth.ravel()[geometry.ground]
    road, slab, lawn = paint.pick(domain.asphalt), paint.pick(domain.paving), paint.pick(domain.grass)
    stone = tuple(1.15 * c for c in slab)
    lane = (0.52, 0.22, 0.18) if paint.chance(0.5) else (0.22, 0.42, 0.26)
    color = np.array([road, (0.86, 0.86, 0.82), lane, stone, slab, lawn], dtype=np.float32).T[:, zone]
    coarse, fine = noise_tiles()
    # Wheel tracks, tar patches and stains at the scale of metres.
    broad = _tile(coarse, z * 6, x * 10 + paint.uniform(0, 255))
    light = 1.0 + 0.10 * broad
    patch = _tile(coarse, z * 1.5, x * 3 + paint.uniform(0, 255)) > 0.55
    light -= 0.13 * (patch & (zone <= PAINTED))
    fade = np.minimum(1.0, 0.15 * camera.focal * camera.height / np.maximum(z * z, 1.0))
    slabs, lawns = np.flatnonzero(zone == PAVED), np.flatnonzero(zone == LAWN)
    size, u, v = paint.uniform(0.45, 0.9), x[slabs], z[slabs]
    row = np.floor(u / size)
    joint = (u - row * size < 0.05) | (np.mod(v + 0.5 * size * np.mod(row, 2.0), 1.5 * size) < 0.05)
    light[slabs] -= 0.22 * fade[slabs] * joint
    light[lawns] += 0.35 * fade[lawns] * _tile(fine, z[lawns] * 18, x[lawns] * 40) + 0.12 * broad[lawns]
    return color * light


def _windows(geometry: Geometry, albedo: np.ndarray, glow: np.ndarray, paint: Paint) -> None:
    """Draw rows of windows on the facades, in place in the buffers `albedo` `[3, H * W]` and `glow` `[H, W]`."""
    pixels = geometry.pixels(WALL)
    part = geometry.parts.ravel()[pixels]
    floor, bay, wide, high = (geometry.table[part, COLUMN[n]] for n in ("round_x", "round_y", "radius_x", "radius_y"))
    y, z = geometry.y.ravel()[pixels], geometry.depth.ravel()[pixels]
    along = np.where(np.abs(geometry.table[part, COLUMN["normal_x"]]) > 0.8, z, geometry.x.ravel()[pixels])
    column, level = along / bay, y / floor
    number, storey = np.floor(column), np.floor(level)
    u, v = np.abs(column - number - 0.5), np.abs(level - storey - 0.52)
    inside = (u < wide / 2) & (v < high / 2)
    frame = (u < wide / 2 + 0.05) & (v < high / 2 + 0.04) & ~inside
    bars = inside & ((u < 0.025) | (v < 0.02))
    albedo[:, pixels[frame]] *= 1.18
    albedo[:, pixels[bars]] *= 0.55
    pane = inside & ~bars
    glass = pixels[pane]
    chance = np.mod(np.sin(number[pane] * 12.9898 + storey[pane] * 78.233 + part[pane]) * 43758.55, 1.0)
    chance = chance.astype(np.float32)  # one random number per window
    curtain = chance > 0.72
    behind = _planar((0.95, 0.75, 0.45)) if paint.domain.night else _planar((0.62, 0.58, 0.52)) * (0.5 + 0.5 * chance)
    albedo[:, glass] = np.where(curtain, behind, _planar((0.20, 0.24, 0.28)) * (0.6 + 0.9 * chance))
    if paint.domain.night:
        glow.ravel()[glass] = curtain * 0.9 * chance


def _sky(geometry: Geometry, pixels: np.ndarray, paint: Paint, sun: Point | None) -> np.ndarray:
    """Return the color of the sky `[3, N]`: gradient, clouds in perspective, glare around the sun."""
    domain = paint.domain
    sx, sy = geometry.slope_x.ravel()[pixels], np.maximum(geometry.slope_y.ravel()[pixels], 0.0)
    rise = np.sqrt(np.minimum(sy * 1.6, 1.0))
    color = _planar(domain.sky_low) * (1.0 - rise) + _planar(domain.sky_top) * rise
    far = 42.0 / (sy + 0.22)
    drift = paint.uniform(0, 255)
    cloud = _tile(noise_tiles()[0], far + drift, sx * far + 3 * drift)
    cover = np.clip((cloud + paint.uniform(-0.35, 0.25)) * 1.6, 0.0, 1.0) * domain.clouds
    color += (_planar(domain.sky_low) * 1.12 - color) * cover
    if sun is not None and sun[2] > 0:
        glare = np.exp(-6.0 * ((sx - sun[0] / sun[2]) ** 2 + (sy - sun[1] / sun[2]) ** 2))
        color += 0.35 * _planar(domain.sun) * glare
    return color


def _blurred(image: Image.Image, radius: float) -> np.ndarray:
    """Return a shadow image in 0..1 with soft edges, flat `[H * W]`."""
    return np.asarray(image.filter(ImageFilter.BoxBlur(radius)), dtype=np.float32).ravel() / 255.0


def _normals(geometry: Geometry, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the surface normals, `[H, W]` each; curved parts are round, leaves also follow their texture."""
    nx, ny, nz = (geometry.column(f"normal_{axis}") for axis in "xyz")
    curved = (geometry.table[:, COLUMN["radius_x"]] > 0) & (geometry.table[:, COLUMN["kind"]] != WALL)
    pixels = np.flatnonzero(curved[geometry.parts])
    part = geometry.parts.ravel()[pixels]
    center_x, center_y, wide, tall = (
        geometry.table[part, COLUMN[n]] for n in ("round_x", "round_y", "radius_x", "radius_y")
    )
    bump = 0.5 * texture.ravel()[pixels] * (geometry.table[part, COLUMN["kind"]] == LEAVES)
    across = np.clip((geometry.x.ravel()[pixels] - center_x) / wide + bump, -1.0, 1.0)
    rise = (geometry.y.ravel()[pixels] - center_y) / np.maximum(tall, 1e-3)
    rise = np.clip(np.where(tall > 0, rise, 0.15) + bump, -1.0, 1.0)
    length = np.maximum(np.sqrt(across**2 + rise**2), 1.0)
    across, rise = across / length, rise / length
    nx.ravel()[pixels], ny.ravel()[pixels] = across, rise
    nz.ravel()[pixels] = -np.sqrt(np.maximum(1.0 - across**2 - rise**2, 0.0))
    return nx, ny, nz


def _light(canvas: Canvas, geometry: Geometry, domain: Domain, texture: np.ndarray) -> np.ndarray:
    """Return the light on every pixel `[3, H * W]`: sky, sun with shadows, at night headlights and street lamps."""
    sun, soft = canvas.sun, canvas.camera.columns / 400
    nx, ny, nz = (component.ravel() for component in _normals(geometry, texture))
    ground = geometry.ground
    sky = 0.78 + 0.22 * ny
    # Walls, trunks and people darken a little towards the ground.
    sky *= 1.0 - 0.22 * np.exp(-2.0 * np.maximum(geometry.y.ravel(), 0.0))
    sky[ground] = 1.0 - 0.75 * _blurred(canvas.contact, 1.5 * soft)[ground]
    light = _planar(domain.ambient) * sky
    if sun is not None:
        direct = np.maximum(nx * sun[0] + ny * sun[1] + nz * sun[2], 0.0)
        direct[ground] *= 1.0 - 0.92 * _blurred(canvas.shadow, soft)[ground]
        light += _planar(domain.sun) * direct
    if domain.night:
        slope_x, slope_y, depth = geometry.slope_x.ravel(), geometry.slope_y.ravel(), geometry.depth.ravel()
        facing = np.maximum(-nz, np.where(ny > 0.8, 0.55, 0.0))
        beam = np.exp(-((slope_x / 0.45) ** 2) - 14.0 * np.maximum(slope_y + 0.01, 0.0))
        light += _planar((1.5, 1.46, 1.32)) * (facing * beam / (1.0 + (depth / 16.0) ** 2))
        x, y, lamps = geometry.x.ravel(), geometry.y.ravel(), np.zeros_like(depth)
        for lamp in canvas.lamps[:10]:
            dx, dy, dz = lamp[0] - x, lamp[1] - y, lamp[2] - depth
            square = dx * dx + dy * dy + dz * dz + 0.01
            lamps += np.maximum(nx * dx + ny * dy + nz * dz, 0.0) / (np.sqrt(square) * (square + 8.0))
        light += _planar((14.0, 11.2, 7.3)) * lamps
    return light


def _boards(geometry: Geometry, grain: np.ndarray, camera: Camera) -> None:
    """Darken the gaps between the boards of wooden things, in place in `grain` `[H * W]`."""
    pixels = geometry.pixels(BOARDS)
    part, depth = geometry.parts.ravel()[pixels], geometry.depth.ravel()[pixels]
    beside = np.abs(geometry.table[part, COLUMN["normal_x"]]) > 0.8
    along = np.where(beside, depth, geometry.x.ravel()[pixels])
    grain[pixels] -= 0.5 * (np.mod(along, 0.16) < 0.03) * np.minimum(1.0, 0.05 * camera.focal / depth)


def shade(canvas: Canvas, geometry: Geometry, paint: Paint, rng: np.random.Generator) -> np.ndarray:
    """Return the picture uint8 `[H, W, 3]` of a measured scene in the domain of `paint`."""
    domain, camera, shape = paint.domain, canvas.camera, geometry.parts.shape
    texture = _texture(geometry, camera, rng.integers(0, 256, 2))
    grain = (geometry.column("grain") * texture).ravel()
    grain[geometry.ground] = 0.16 * texture.ravel()[geometry.ground]
    _boards(geometry, grain, camera)
    albedo = np.ascontiguousarray(geometry.table[:, 1:4].T)[:, geometry.parts.ravel()]
    albedo[:, geometry.ground] = _ground_color(geometry, paint, camera)
    albedo *= np.clip(1.0 + grain, 0.15, 2.0)
    glow = geometry.column("glow")
    _windows(geometry, albedo, glow, paint)

    color = albedo * (_light(canvas, geometry, domain, texture) + glow.ravel())
    glass = geometry.pixels(GLASS)
    tilt = geometry.table[geometry.parts.ravel()[glass], COLUMN["normal_y"]]
    color[:, glass] += _planar(domain.sky_low) * np.clip(0.05 + 0.4 * tilt + 0.06 * texture.ravel()[glass], 0.0, 0.4)

    extinction = domain.fog[0] + (domain.fog[1] - domain.fog[0]) * paint.uniform(0, 1)
    through = np.exp(-extinction * geometry.depth.ravel())
    color *= through
    color += _planar(domain.air) * (1.0 - through)
    sky = geometry.pixels(SKY)
    color[:, sky] = _sky(geometry, sky, paint, canvas.sun)
    if domain.night:
        lit = np.clip(albedo * (glow.ravel() * through) * 160.0, 0, 255).astype(np.uint8).reshape(3, *shape)
        halo = Image.fromarray(lit.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(camera.columns / 45))
        color += np.asarray(halo, dtype=np.float32).transpose(2, 0, 1).reshape(3, -1) / 80.0
    return _expose(color.reshape(3, *shape), domain, rng)


def _expose(color: np.ndarray, domain: Domain, rng: np.random.Generator) -> np.ndarray:
    """Apply the camera: exposure, white balance, a lens that softens pixel edges, noise that grows with the signal."""
    gain = np.exp(rng.normal(0.0, 0.10)) * (1.0 + 0.025 * rng.standard_normal(3))
    color = color * gain.astype(np.float32)[:, None, None]
    # Blur by (1, 5, 1) / 7 along both axes: anti-aliasing, which painting by part numbers does not have.
    for axis in (1, 2):
        padded = np.pad(color, [(int(axis == i), int(axis == i)) for i in range(3)], mode="edge")
        first, last = (padded[:, :-2], padded[:, 2:]) if axis == 1 else (padded[:, :, :-2], padded[:, :, 2:])
        color = (first + last + 5.0 * color) * np.float32(1 / 7)
    np.maximum(color, 0.0, out=color)
    color = np.minimum(color, 1.0 - 0.2 * np.exp(np.minimum(4.0 - 5.0 * color, 0.0)))  # shoulder instead of clipping
    noise = rng.standard_normal(color.shape, dtype=np.float32)
    color += noise * (domain.noise * (0.4 + 0.6 * np.sqrt(color)))
    return np.ascontiguousarray((np.clip(color, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0))
