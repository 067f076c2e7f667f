"""Draw the pictures of the documentation into docs/pictures: one command for all of them.

python scripts/draw_docs.py                       # the drawings of the concepts, from shapes and text
python scripts/draw_docs.py --pipeline PIPELINE   # also the pictures, from generated scenes; it needs a density

The pictures are made with the pipeline of `gss quickstart` and that of the zoo, so they need no data of others.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from draw_readme import draw as draw_segmentation
from draw_readme import scene
from PIL import Image

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.data import open_ood
from gss.data.scenes import LABELS, render
from gss.pipeline import GSSPipeline, load_pipeline
from gss.report import colorize, contact_sheet, heatmap, overlay
from gss.report.pictures import save_picture

REPO = Path(__file__).resolve().parents[1]
PICTURES = REPO / "docs" / "pictures"
ZOO = REPO / "zoo" / "camvid-lite0"

INK, SOFT, PAPER = "#1b2530", "#5d6b7a", "#ffffff"
SKY, HOUSE, ROAD, CAR = "#7fb2e5", "#c98b6b", "#8d6fb5", "#e2b33c"
STRANGE = "#d1495b"
FONT = "Helvetica, Arial, sans-serif"


@dataclass
class Canvas:
    """A drawing that is built from shapes; coordinates in pixels from the upper left."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, w: float, h: float, fill: str, *, line: str = "none", round: float = 0) -> None:
        """Add a rectangle."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{round:g}" fill="{fill}" stroke="{line}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 13,
        fill: str = INK,
        at: str = "middle",
        bold: bool = False,
    ) -> None:
        """Add one line of text whose baseline is at y."""
        style = f'font-size="{size:g}" fill="{fill}" text-anchor="{at}"' + (' font-weight="bold"' if bold else "")
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>')

    def arrow(self, x: float, y: float, to_x: float, to_y: float, *, fill: str = SOFT) -> None:
        """Add an arrow from one point to another."""
        angle = math.atan2(to_y - y, to_x - x)
        tip = [(to_x - 9 * math.cos(angle + turn), to_y - 9 * math.sin(angle + turn)) for turn in (-0.4, 0.4)]
        corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in ((to_x, to_y), *tip))
        end_x, end_y = to_x - 7 * math.cos(angle), to_y - 7 * math.sin(angle)
        self.parts.append(
            f'<line x1="{x:g}" y1="{y:g}" x2="{end_x:.1f}" y2="{end_y:.1f}" stroke="{fill}" stroke-width="1.8"/>'
        )
        self.parts.append(f'<polygon points="{corners}" fill="{fill}"/>')

    def ellipse(self, x: float, y: float, rx: float, ry: float, turn: float, fill: str, opacity: float) -> None:
        """Add an ellipse that is turned by so many degrees."""
        self.parts.append(
            f'<ellipse cx="{x:g}" cy="{y:g}" rx="{rx:g}" ry="{ry:g}" fill="{fill}" fill-opacity="{opacity:g}" '
            f'transform="rotate({turn:g} {x:g} {y:g})"/>'
        )

    def grid(self, x: float, y: float, cell: float, rows: Sequence[Sequence[str]], *, gap: float = 0) -> None:
        """Add squares of these colours, row by row."""
        for i, row in enumerate(rows):
            for j, fill in enumerate(row):
                self.box(x + j * cell, y + i * cell, cell - gap, cell - gap, fill)

    def svg(self) -> str:
        """Return the drawing as an SVG file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
                f'font-family="{FONT}">',
                f"<title>{escape(self.title)}</title>",
                f'<rect width="{self.width}" height="{self.height}" rx="10" fill="{PAPER}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


# A street of 8x8 pixels: s sky, h house, r road, c car.
STREET = ("ssssssss", "sshhssss", "shhhhsss", "shhhhssh", "hhhhhhhh", "rrrccrrr", "rrccccrr", "rrrrrrrr")
TOKENS = (("41", "41", "41", "41"), ("12", "7", "88", "30"), ("5", "63", "63", "9"), ("22", "90", "90", "22"))
COLORS = {"s": SKY, "h": HOUSE, "r": ROAD, "c": CAR}
PAINT = {"s": "#2aa7c9", "h": "#d94f70", "r": "#5b3fd0", "c": "#f0d43a"}


def draw_maskige() -> Canvas:
    """Draw the way of a mask: classes, colours, tokens and back; and the photograph that predicts the tokens."""
    canvas = Canvas(
        760, 330, "A label map becomes a maskige, the maskige becomes tokens; a photograph predicts the tokens"
    )
    labels = [[COLORS[name] for name in row] for row in STREET]
    colors = [[PAINT[name] for name in row] for row in STREET]
    # 1. stage 1, from left to right
    for x, title, rows in ((30, "label map", labels), (300, "maskige", colors)):
        canvas.text(x + 64, 30, title, bold=True)
        canvas.grid(x, 42, 16, rows)
    canvas.text(634, 30, "tokens", bold=True)
    for i, row in enumerate(TOKENS):
        for j, token in enumerate(row):
            canvas.box(570 + j * 32, 42 + i * 32, 30, 30, "#eef2f6", line="#c3ccd6")
            canvas.text(585 + j * 32, 62 + i * 32, token, size=12)
    for x, above, below in ((168, "palette", "inverse"), (438, "VQ encoder", "VQ decoder")):
        canvas.arrow(x, 88, x + 122, 88)
        canvas.text(x + 60, 80, above, size=12, fill=SOFT)
        canvas.arrow(x + 122, 124, x, 124)
        canvas.text(x + 60, 142, below, size=12, fill=SOFT)
    canvas.text(94, 190, "one number a pixel", size=12, fill=SOFT)
    canvas.text(364, 190, "one colour a pixel", size=12, fill=SOFT)
    canvas.text(634, 190, "one code a cell", size=12, fill=SOFT)
    # 2. stage 2, from the photograph up to the tokens
    canvas.box(30, 232, 128, 72, "#dfe7d8", round=6)
    canvas.text(94, 264, "photograph", bold=True)
    canvas.text(94, 284, "H × W × 3", size=12, fill=SOFT)
    canvas.arrow(162, 268, 266, 268)
    canvas.box(270, 232, 190, 72, "#dbe9f4", round=6)
    canvas.text(365, 264, "prior: a network", bold=True)
    canvas.text(365, 284, "p(token | photograph)", size=12, fill=SOFT)
    canvas.parts.append(f'<path d="M464 268 H634 V210" fill="none" stroke="{SOFT}" stroke-width="1.8"/>')
    canvas.arrow(634, 220, 634, 198)
    canvas.text(548, 260, "predicts", size=12, fill=SOFT)
    canvas.text(750, 22, "stage 1", size=12, fill=SOFT, at="end")
    canvas.text(750, 272, "stage 2", size=12, fill=SOFT, at="end")
    return canvas


def draw_decoding() -> Canvas:
    """Draw the exact sum over tokens in one cell."""
    canvas = Canvas(
        760, 330, "Class probabilities of a cell are the sum over all tokens of token probability times painting"
    )
    canvas.text(160, 30, "p(z | x): what the network says", bold=True)
    canvas.text(430, 30, "p(c | z): what a token paints", bold=True)
    canvas.text(656, 30, "p(c | x): their sum", bold=True)
    shown = ((0.55, "z = 12", ("ss", "hh")), (0.30, "z = 7", ("sh", "hh")), (0.10, "z = 41", ("ss", "ss")))
    for row, (share, name, cell) in enumerate(shown):
        y = 58 + row * 72
        canvas.text(92, y + 28, name, at="end")
        canvas.box(104, y + 8, 230 * share, 30, "#4c86b8")
        canvas.text(110 + 230 * share, y + 29, f"{share:.2f}", size=12, at="start")
        canvas.text(330, y + 30, "×", size=18, fill=SOFT)
        canvas.grid(402, y, 26, [[COLORS[c] for c in line] for line in cell], gap=1)
        canvas.arrow(478, y + 26, 566, 132 + (y - 130) * 0.25)
    canvas.text(92, 296, "all others", at="end", fill=SOFT)
    canvas.box(104, 276, 230 * 0.05, 30, "#4c86b8")
    canvas.text(124, 297, "0.05", size=12, at="start")
    # 2. the result: share of sky in each of the four pixels, the rest house
    house = ((0.0, 0.30), (0.85, 0.85))
    for i, row_of_shares in enumerate(house):
        for j, share in enumerate(row_of_shares):
            x, y = 580 + j * 78, 62 + i * 78
            canvas.box(x, y, 74, 74, SKY)
            canvas.box(x, y + 74 * (1 - share), 74, 74 * share, HOUSE)
            canvas.text(x + 37, y + 42, f"{share:.2f}", size=14, bold=True)
    canvas.text(656, 244, "probability of house", size=12, fill=SOFT)
    canvas.text(656, 276, "exact: nothing is sampled,", size=12, fill=SOFT)
    canvas.text(656, 294, "V tokens are V terms", size=12, fill=SOFT)
    return canvas


def draw_density() -> Canvas:
    """Draw features of two classes, their Gaussians, and a feature that belongs to none."""
    canvas = Canvas(
        760, 330, "Gaussians of the features of each class; an unknown object lies where the density is low"
    )
    canvas.box(30, 44, 440, 256, "#f5f7f9", round=8)
    canvas.text(250, 30, "features of pixels", bold=True)
    rng = np.random.default_rng(0)
    clusters = ((150, 120, 46, 22, 25.0, ROAD), (200, 226, 40, 24, -20.0, ROAD), (352, 122, 44, 24, -35.0, SKY))
    for x, y, rx, ry, turn, fill in clusters:
        for scale, opacity in ((1.9, 0.10), (1.3, 0.16), (0.7, 0.24)):
            canvas.ellipse(x, y, rx * scale, ry * scale, turn, fill, opacity)
        angle = math.radians(turn)
        points = np.clip(rng.normal(size=(26, 2)), -1.7, 1.7) * (rx * 0.8, ry * 0.8)  # [26, 2]
        for u, v in points:
            px, py = x + u * math.cos(angle) - v * math.sin(angle), y + u * math.sin(angle) + v * math.cos(angle)
            canvas.ellipse(px, py, 2.4, 2.4, 0, fill, 0.9)
    canvas.text(96, 72, "road", fill=ROAD, bold=True)
    canvas.text(410, 72, "sky", fill="#3b7fc0", bold=True)
    canvas.ellipse(402, 244, 6, 6, 0, STRANGE, 1)
    canvas.text(402, 270, "a sofa on the road", fill=STRANGE, bold=True)
    # 2. the two questions that one density answers
    canvas.text(614, 78, "Which class?", bold=True)
    canvas.text(614, 100, "largest π p(feature | class)", fill=SOFT)
    canvas.text(614, 122, "a second classifier", size=12, fill=SOFT)
    canvas.text(614, 180, "Known at all?", bold=True)
    canvas.text(614, 202, "score = − log p(feature)", fill=SOFT)
    canvas.text(614, 224, "high: no training pixel", size=12, fill=SOFT)
    canvas.text(614, 241, "had such features", size=12, fill=SOFT)
    return canvas


def draw_residual() -> Canvas:
    """Draw the branch beside the frozen prior, and logits of a known and of an unknown pixel."""
    canvas = Canvas(760, 330, "A branch beside the frozen prior lowers the logits where an unknown object is")
    canvas.box(30, 62, 118, 64, "#dfe7d8", round=6)
    canvas.text(89, 98, "photograph", bold=True)
    canvas.arrow(152, 94, 196, 94)
    canvas.box(200, 62, 180, 64, "#dbe9f4", round=6)
    canvas.text(290, 90, "prior, frozen", bold=True)
    canvas.text(290, 110, "logits, masks", size=12, fill=SOFT)
    canvas.arrow(290, 130, 290, 196)
    canvas.text(300, 168, "features, read only", size=12, fill=SOFT, at="start")
    canvas.box(200, 200, 180, 64, "#f6dfe2", round=6)
    canvas.text(290, 228, "residual head", bold=True, fill=STRANGE)
    canvas.text(290, 248, "learns from pasted objects", size=12, fill=SOFT)
    canvas.arrow(384, 94, 462, 94)
    canvas.text(424, 84, "masks", size=12, fill=SOFT)
    canvas.arrow(384, 232, 462, 232)
    canvas.text(424, 222, "score", size=12, fill=SOFT)
    # 2. logits of two pixels, before and after
    columns = (
        (478, "known pixel", (0.9, 0.2, 0.3), (0.9, 0.2, 0.3)),
        (624, "unknown", (0.3, 0.8, 0.5), (0.1, 0.2, 0.12)),
    )
    for x, name, before, after in columns:
        canvas.text(x + 58, 44, name, bold=True)
        for top, heights in ((62, before), (200, after)):
            canvas.box(x, top, 116, 86, "#f5f7f9", round=4)
            for index, (height, fill) in enumerate(zip(heights, (ROAD, CAR, HOUSE), strict=True)):
                canvas.box(x + 12 + index * 34, top + 80 - 70 * height, 24, 70 * height, fill)
    canvas.text(608, 168, "logits of the classes", size=12, fill=SOFT)
    canvas.text(608, 306, "with the residual: − log Σ exp(logits)", size=12, fill=SOFT)
    return canvas


DRAWINGS: dict[str, Callable[[], Canvas]] = {
    "maskige.svg": draw_maskige,
    "decoding.svg": draw_decoding,
    "density.svg": draw_density,
    "residual.svg": draw_residual,
}
"""File in docs/pictures to the function that draws it."""


def domains() -> Image.Image:
    """Return a sheet of one generated street in three domains, its labels, and with unknown objects."""
    size = (192, 256)
    pictures = [Image.fromarray(render(0, 7, size=size, domain=name).image) for name in ("clear", "fog", "night")]
    labels = colorize(render(0, 7, size=size).labels, LABELS.colors)
    strange = Image.fromarray(render(0, 7, size=size, unknown=True).image)
    titles = ["clear", "fog", "night", "labels", "with unknown objects"]
    return contact_sheet([[*pictures, labels, strange]], titles, width=240)


def unknown(pipeline: GSSPipeline, number: int = 4) -> Image.Image:
    """Return a sheet about an image with objects of no known class: mask, confidence and score."""
    picture, _ = open_ood("scenes_unknown", "val").read(number)
    output = pipeline(picture, return_ood=True)
    assert output.confidence is not None and output.ood_scores is not None
    columns = {
        "image": picture,
        "mask": overlay(picture, np.asarray(output.masks[0]), pipeline.colors),
        "confidence": heatmap(np.asarray(output.confidence[0]), low=0.0, high=1.0),
        "out-of-distribution score": heatmap(np.asarray(output.ood_scores[0]), palette="magma"),
    }
    return contact_sheet([list(columns.values())], list(columns), width=300)


def main() -> int:
    """Draw; return 2 for a mistake in the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", help="folder of a pipeline with a density, as `gss quickstart` trains it")
    parser.add_argument("--out", default=str(PICTURES), metavar="DIR", help="default: docs/pictures")
    args = parser.parse_args()
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, draw in DRAWINGS.items():
            with atomic_path(out / name) as path:
                path.write_text(draw().svg(), encoding="utf-8")
        if args.pipeline:
            save_picture(out / "scenes.jpg", domains())
            save_picture(out / "segmentation.jpg", draw_segmentation(load_pipeline(ZOO), scene(3)))
            save_picture(out / "unknown.jpg", unknown(load_pipeline(args.pipeline)))
    except (InputError, OSError) as error:
        print(f"draw_docs: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
