"""How far apart colours are for people, also for colour-blind ones.

CIEDE2000: Sharma, Wu and Dalal, The CIEDE2000 Color-Difference Formula, Color Research and Application 30(1), 2005.
Deuteranopia and protanopia as 3x3 matrices on linear RGB: Machado, Oliveira and Fernandes, A Physiologically-based
Model for Simulation of Color Vision Deficiency, IEEE TVCG 15(6), 2009 (severity 1.0); Vienot, Brettel and Mollon,
Digital video colourmaps for checking the legibility of displays by dichromats, Color Research and Application 24(4),
1999.
"""

import numpy as np

VISIONS = {
    "usual": np.eye(3),
    "deuteranopia, Machado": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia, Machado": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia, Vienot": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protanopia, Vienot": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
}


def seen(colors, vision: str) -> np.ndarray:
    """Return CIE L*a*b* (D65) of sRGB colours `[N, 3]` of 0..255 as somebody of a vision sees them."""
    unit = np.asarray(colors, dtype=np.float64) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def ciede2000(one, other) -> np.ndarray:
    """Return the difference of L*a*b* colours `[..., 3]`."""
    (l1, a1, b1), (l2, a2, b2) = (
        np.moveaxis(np.asarray(one, float), -1, 0),
        np.moveaxis(np.asarray(other, float), -1, 0),
    )
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    factor = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = np.hypot(factor * a1, b1), np.hypot(factor * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, factor * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    far = np.abs(h1 - h2) > 180
    hue = np.where(grey, h1 + h2, np.where(far, (h1 + h2 + np.where(h1 + h2 < 360, 360, -360)) / 2, (h1 + h2) / 2))
    light, mean = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    t += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.20 * np.cos(np.radians(4 * hue - 63))
    s_l = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    d_l, d_c = (l2 - l1) / s_l, (c2 - c1) / (1 + 0.045 * mean)
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * mean * t)
    rotation = -2 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    rotation *= np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt(d_l**2 + d_c**2 + d_h**2 + rotation * d_c * d_h)


def least_distance(colors, vision: str) -> float:
    """Return the CIEDE2000 difference of the closest two of some colours."""
    lab = seen(colors, vision)
    distances = ciede2000(lab[:, None], lab[None])
    return float(distances[~np.eye(len(lab), dtype=bool)].min())
