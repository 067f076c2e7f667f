"""Domains of the generated street scenes: colors of things, light and air."""

from dataclasses import dataclass, field

import numpy as np

Color = tuple[float, float, float]


def _colors(*codes: str) -> tuple[Color, ...]:
    """Return reflectances from hexadecimal display colors."""
    return tuple(tuple(int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)) for c in codes)  # type: ignore[misc]


@dataclass(frozen=True)
class Domain:
    """Light, air, sensor and palettes of one visual domain. Colors are about linear RGB factors in 0..1.5."""

    name: str
    sun: Color
    ambient: Color
    sky_top: Color
    sky_low: Color
    clouds: float = 0.5
    fog: tuple[float, float] = (0.0004, 0.0015)  # range of the extinction coefficient, 1/m
    air: Color = (0.80, 0.86, 0.93)  # color of the scattered light
    noise: float = 0.012  # sensor noise (standard deviation, 0..1 scale)
    night: bool = False
    asphalt: tuple[Color, ...] = _colors("706f70", "7d7a76", "63656a", "8a8680")
    paving: tuple[Color, ...] = _colors("a09a92", "8e8c8a", "ada294", "94857a", "7c7c80")
    walls: tuple[Color, ...] = field(
        default=_colors("b98f72", "c9b79a", "a9644e", "d6cfc0", "98796a", "b5b1aa", "c8a36d", "8c8a88", "d9c3a5")
    )
    roofs: tuple[Color, ...] = _colors("8a4a38", "5d5654", "74483c", "4c4f57", "96634c")
    fences: tuple[Color, ...] = _colors("8d6a4c", "a98e6c", "5f5e5c", "c4bfb2", "7b5a44", "50604e", "a9644e")
    leaves: tuple[Color, ...] = _colors("4f7336", "5d7d3c", "3f6636", "77843b", "4a6b45", "8a7d3a")
    grass: tuple[Color, ...] = _colors("6a8544", "7d8a4c", "5a7a3f", "8d8856")
    poles: tuple[Color, ...] = _colors("6a6a6c", "8c8e90", "4a4d4e", "6b5b4b", "a5a5a2", "3d4a44")


DOMAINS = {
    "clear": Domain(
        "clear",
        sun=(1.02, 0.95, 0.82),
        ambient=(0.40, 0.44, 0.52),
        sky_top=(0.33, 0.55, 0.88),
        sky_low=(0.76, 0.86, 0.95),
    ),
    "fog": Domain(
        "fog",
        sun=(0.0, 0.0, 0.0),
        ambient=(0.75, 0.77, 0.79),
        sky_top=(0.74, 0.76, 0.78),
        sky_low=(0.80, 0.81, 0.81),
        clouds=0.15,
        fog=(0.012, 0.030),
        air=(0.79, 0.80, 0.79),
        noise=0.028,
        asphalt=_colors("5c5e62", "66686a", "54575c", "6e6c6a"),
        paving=_colors("85868a", "7b7a78", "918c86", "6d6f74"),
        walls=_colors("94908a", "a39a8c", "7f7a78", "8a6a5c", "b4ada2", "6f7880", "9c8a70"),
        leaves=_colors("4a5f3c", "566642", "3d5640", "6c6c40", "80693a"),
        grass=_colors("5e7048", "6c7450", "767456"),
    ),
    "night": Domain(
        "night",
        sun=(0.0, 0.0, 0.0),
        ambient=(0.075, 0.085, 0.125),
        sky_top=(0.02, 0.025, 0.055),
        sky_low=(0.10, 0.085, 0.09),
        clouds=0.3,
        fog=(0.001, 0.006),
        air=(0.10, 0.085, 0.09),
        noise=0.030,
        night=True,
    ),
}


class Paint:
    """Random colors of the objects of one scene, from a generator of their own."""

    CARS = _colors("8b8d90", "6e7073", "b9bbbd", "2c2e33", "d8d8d6", "8c2a26", "2d4c78", "4d5a52", "a08a62", "3c6e8a")
    CLOTHES = _colors(
        "2f3442",
        "4a4a4d",
        "7a7672",
        "8a3b34",
        "b08a4e",
        "34507a",
        "c9c3b8",
        "5a6b4a",
        "1f2023",
        "a8677a",
        "d0a030",
    )
    SKIN = _colors("e0b195", "c58f6c", "8d5a3c", "5b3a28", "d9a684")
    HAIR = _colors("2a211b", "4a3524", "17151a", "8a6a40", "7d7b78")
    SIGNS = _colors("b5262b", "2456a6", "e0e0dc", "d8b02a", "2c6b46")
    ODD = _colors("d2691e", "6b8e9b", "8c8f3a", "b0552f", "7d7c79", "c7b08c", "5d4a6b", "3f6f68", "a33b52", "e08a2e")

    def __init__(self, seed: list[int], domain: Domain) -> None:
        self._seed, self.domain = seed, domain
        self._generator = np.random.default_rng(seed)

    def child(self, number: int) -> "Paint":
        """Return independent colors for one object."""
        return Paint([*self._seed, number], self.domain)

    def pick(self, colors: tuple[Color, ...], spread: float = 0.06) -> Color:
        """Return one of the colors, with a little variation of brightness and hue."""
        base = colors[int(self._generator.random() * len(colors))]
        light = 1.0 + 1.5 * spread * float(self._generator.uniform(-1, 1))
        hue = self._generator.uniform(-spread, spread, 3) * 0.5
        return tuple(float(min(max(c * light + h, 0.02), 1.0)) for c, h in zip(base, hue, strict=True))  # type: ignore[return-value]

    def uniform(self, low: float, high: float) -> float:
        """Return a uniform random number."""
        return float(self._generator.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self._generator.random() < probability)

    def car(self) -> Color:
        """Return the color of a car body; grey tones like those of asphalt are frequent, as on real streets."""
        return self.pick(self.CARS[:5] if self.chance(0.6) else self.CARS[5:])

    def strange(self) -> Color:
        """Return the color of an object of no known class; half of these have colors of known things."""
        return self.pick(self.ODD if self.chance(0.5) else self.CLOTHES + self.domain.walls + self.domain.fences, 0.12)

    def clothes(self) -> Color:
        """Return the color of a garment."""
        return self.pick(self.CLOTHES, 0.1)
