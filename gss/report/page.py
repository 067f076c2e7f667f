"""Self-contained HTML reports: one file with inline styles and pictures that opens offline and on a phone."""

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

from PIL import Image

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.report.charts import Markup
from gss.report.style import STYLE, ZOOM_SCRIPT

Cell = str | int | float | None


class Report:
    """Builder of one HTML page: parts appear in the order of the calls, grouped under the last `section`.

    Every text is escaped; only `Markup` from `gss.report.charts` enters as it is. Methods return the report, so
    calls chain.

    Args:
        title: Heading and browser title.
        subtitle: One line under the heading, e.g. pipeline, data set and date.
    """

    def __init__(self, title: str, *, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._sections: list[str] = []
        self._body: list[str] = []

    def section(self, title: str, text: str = "") -> "Report":
        """Start a section; it appears in the navigation bar."""
        self._sections.append(title)
        self._body.append(f'<h2 id="section-{len(self._sections)}">{escape(title)}</h2>')
        return self.paragraph(text) if text else self

    def paragraph(self, text: str) -> "Report":
        """Add running text."""
        return self._add(f"<p>{escape(text)}</p>")

    def code(self, text: str) -> "Report":
        """Add preformatted text, such as the command that made the results."""
        return self._add(f'<pre class="code">{escape(text)}</pre>')

    def tiles(self, tiles: Sequence[tuple[str, str, str]]) -> "Report":
        """Add key figures as (label, value, remark) tiles; the remark may be empty."""
        parts = [
            f'<div class="tile"><div class="tile-label">{escape(label)}</div>'
            f'<div class="tile-value">{escape(value)}</div><div class="tile-note">{escape(note)}</div></div>'
            for label, value, note in tiles
        ]
        return self._add(f'<div class="tiles">{"".join(parts)}</div>')

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        *,
        best: Mapping[str, Literal["max", "min"]] | None = None,
        digits: int = 3,
        caption: str = "",
        colors: Sequence[Sequence[int]] | None = None,
    ) -> "Report":
        """Add a table; `None` is shown as a dash, floats with `digits` decimals.

        Args:
            header: Column names.
            rows: Cells; the first column names the row.
            best: Column name -> which value to set bold; ties are all bold.
            digits: Decimals of floats.
            caption: Text above the table.
            colors: RGB chip before the name of each row.

        Raises:
            ValueError: A row has another length than the header, `best` names no column, or one colour a row
                is not given.
        """
        if any(len(row) != len(header) for row in rows):
            raise InputError(f"table rows must have {len(header)} cells, as the header {list(header)} has")
        if colors is not None and len(colors) != len(rows):
            raise InputError(f"colors has {len(colors)} entries for {len(rows)} table rows")
        winners: dict[int, float] = {}
        for name, kind in (best or {}).items():
            if name not in header:
                raise InputError(f"best names column {name!r}, the table has {list(header)}")
            column = list(header).index(name)
            values = [float(value) for row in rows if isinstance(value := row[column], int | float)]
            if len(values) > 1:
                winners[column] = max(values) if kind == "max" else min(values)
        numeric = [any(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
        head = "".join(
            f"<th{' class=num' if number else ''}>{escape(name)}</th>"
            for name, number in zip(header, numeric, strict=True)
        )
        body: list[str] = []
        for index, row in enumerate(rows):
            cells: list[str] = []
            for column, value in enumerate(row):
                text = escape(_cell(value, digits))
                if column == 0 and colors is not None:
                    text = _chip(colors[index]) + text
                if column in winners and isinstance(value, int | float) and value == winners[column]:
                    text = f"<b>{text}</b>"
                cells.append(f"<td{' class=num' if numeric[column] else ''}>{text}</td>")
            body.append(f"<tr>{''.join(cells)}</tr>")
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        return self._add(
            f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table></div>"
        )

    def legend(self, names: Sequence[str], colors: Sequence[Sequence[int]]) -> "Report":
        """Add class names with colour chips."""
        chips = [f"<span>{_chip(color)}{escape(name)}</span>" for name, color in zip(names, colors, strict=True)]
        return self._add(f'<div class="keys legend">{"".join(chips)}</div>')

    def pictures(self, pictures: Sequence[tuple[Image.Image, str]], *, columns: int = 4, side: int = 640) -> "Report":
        """Add a grid of (picture, caption); a click enlarges, narrow screens show fewer columns.

        Args:
            pictures: PIL pictures and captions (may be empty).
            columns: Columns on a wide screen.
            side: Longest side in pixels at which pictures are embedded.
        """
        cells = [
            f"<figure>{embedded(picture, caption, side)}<figcaption>{escape(caption)}</figcaption></figure>"
            for picture, caption in pictures
        ]
        least = max(110, 1080 // columns - 40)
        return self._add(f'<div class="grid" style="--least:{least}px">{"".join(cells)}</div>')

    def picture_rows(
        self, titles: Sequence[str], rows: Sequence[tuple[str, Sequence[Image.Image]]], *, side: int = 480
    ) -> "Report":
        """Add aligned rows to compare (image, truth, prediction, ...), with a caption above each row.

        Args:
            titles: Name of each column.
            rows: (caption, one picture a column).
            side: Longest side in pixels at which pictures are embedded.

        Raises:
            ValueError: A row has another number of pictures than there are titles.
        """
        for caption, pictures in rows:
            if len(pictures) != len(titles):
                raise InputError(f"picture row {caption!r} has {len(pictures)} pictures for {len(titles)} titles")
        parts: list[str] = []
        for caption, pictures in rows:
            cells = [
                f"<figure>{embedded(picture, f'{caption} · {title}', side)}"
                f"<figcaption>{escape(title)}</figcaption></figure>"
                for title, picture in zip(titles, pictures, strict=True)
            ]
            parts.append(
                f'<div class="row"><div class="row-caption">{escape(caption)}</div>'
                f'<div class="cells" style="--n:{len(titles)}">{"".join(cells)}</div></div>'
            )
        return self._add("".join(parts))

    def charts(self, charts: Sequence[tuple[str, Markup]]) -> "Report":
        """Add titled charts of `gss.report.charts` side by side.

        Raises:
            ValueError: A chart is a plain string, which might hold unescaped text.
        """
        for title, chart in charts:
            if not isinstance(chart, Markup):
                raise InputError(f"chart {title!r} must be made by gss.report.charts, got {type(chart).__name__}")
        parts = [f'<figure class="chart"><h3>{escape(title)}</h3>{chart}</figure>' for title, chart in charts]
        return self._add(f'<div class="charts">{"".join(parts)}</div>')

    def markup(self, part: Markup) -> "Report":
        """Add a part made elsewhere, with every text in it escaped.

        Raises:
            ValueError: The part is a plain string, which might hold unescaped text.
        """
        if not isinstance(part, Markup):
            raise InputError(f"a part of a report must be Markup of gss.report.charts, got {type(part).__name__}")
        return self._add(part)

    def details(self, title: str, content: Any) -> "Report":
        """Add a collapsed block: a text as it is, anything else as indented JSON."""
        text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
        return self._add(f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>")

    def html(self) -> str:
        """Whole page as text."""
        links = [
            f'<a href="#section-{number}">{escape(name)}</a>' for number, name in enumerate(self._sections, start=1)
        ]
        navigation = f"<nav>{''.join(links)}</nav>" if len(links) > 1 else ""
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head><body>"
            f"<header><h1>{escape(self.title)}</h1>{subtitle}</header>{navigation}"
            f"<main>{''.join(self._body)}</main>"
            f'<dialog id="zoom"><img alt=""><p></p></dialog><script>{ZOOM_SCRIPT}</script></body></html>\n'
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page; an existing file is replaced only once the new one is complete."""
        page = self.html()
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8")

    def _add(self, markup: str) -> "Report":
        self._body.append(markup)
        return self


def _cell(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def _chip(color: Sequence[int]) -> str:
    red, green, blue = (int(channel) for channel in color)
    return f'<i class="chip" style="background:rgb({red},{green},{blue})"></i>'


def embedded(picture: Image.Image, text: str, side: int) -> Markup:
    """Image tag with the data inline: PNG for few colours (label maps stay exact), else JPEG.

    Args:
        picture: PIL picture.
        text: Caption when it is enlarged, and in place of it.
        side: Longest side in pixels; larger pictures are reduced.
    """
    picture = picture.convert("RGB")
    flat = picture.getcolors(256) is not None
    scale = side / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if flat:
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    kind = "png" if flat else "jpeg"
    return Markup(
        f'<img loading="lazy" width="{picture.width}" height="{picture.height}" alt="{escape(text)}" '
        f'src="data:image/{kind};base64,{data}">'
    )
