"""Self-contained HTML reports: one file with inline styles and pictures that opens offline and on a phone."""

import base64
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from markupsafe import Markup
from PIL import Image

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.report import templates
from gss.report.tables import Cell, Table


class Report:
    """Builder of one HTML page: parts appear in the order of the calls, grouped under the last `section`.

    Every text is escaped; only `markupsafe.Markup`, such as a chart of `gss.report.charts`, enters as it is. Methods
    return the report, so calls chain.

    Args:
        title: heading and browser title.
        subtitle: line under the heading, such as pipeline, data set and date.
    """

    def __init__(self, title: str, *, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._sections: list[str] = []
        self._parts: list[Markup] = []
        self._answer: Markup | None = None

    def answer(
        self, text: str, *, pictures: Sequence[tuple[Image.Image, str]] = (), chart: Markup | None = None
    ) -> "Report":
        """Set the sentence that answers the question of the page, and the picture that proves it, above all sections.

        Args:
            text: one sentence.
            pictures: (picture, caption) side by side, four at most; the first two stay side by side on a phone.
            chart: chart that is shown where there is no picture.
        """
        cells = [(embedded(picture, caption, 480), caption) for picture, caption in pictures[:4]]
        self._answer = templates.part("answer", text, cells, "" if cells or chart is None else chart)
        return self

    @contextmanager
    def folded(self, title: str) -> Iterator["Report"]:
        """Fold the parts that are added inside the block under a line that opens them."""
        self._add("fold", title)
        yield self
        self._add("fold_end")

    def section(self, title: str, text: str = "") -> "Report":
        """Start a section; it appears in the navigation bar."""
        self._sections.append(title)
        self._add("section", len(self._sections), title)
        return self.paragraph(text) if text else self

    def paragraph(self, text: str) -> "Report":
        """Add running text."""
        return self._add("paragraph", text)

    def code(self, text: str) -> "Report":
        """Add preformatted text, such as the command that made the results."""
        return self._add("code", text)

    def tiles(self, tiles: Sequence[tuple[str, str, str]]) -> "Report":
        """Add key values as (label, value, remark) tiles; the remark may be empty."""
        return self._add("tiles", tiles)

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
        """Add a table from its parts; see `gss.report.tables.Table`."""
        return self.add_table(Table(caption, header, rows, digits=digits, best=best or {}, colors=colors))

    def add_table(self, table: Table, *, titled: bool = True) -> "Report":
        """Add a table under a caption of its title and notes.

        Args:
            table: the table.
            titled: whether title and notes are shown; not where a section already shows them.
        """
        caption = " ".join(_sentence(text) if table.notes else text for text in (table.title, *table.notes) if text)
        return self._add("table", table, caption if titled else "")

    def legend(self, names: Sequence[str], colors: Sequence[Sequence[int]]) -> "Report":
        """Add class names with color chips."""
        return self._add("legend", list(zip(names, colors, strict=True)))

    def pictures(self, pictures: Sequence[tuple[Image.Image, str]], *, columns: int = 4, side: int = 640) -> "Report":
        """Add a grid of (picture, caption); a click enlarges, narrow screens show fewer columns.

        Args:
            pictures: PIL pictures and captions (may be empty).
            columns: number of columns on a wide screen.
            side: longest side in pixels at which pictures are embedded.
        """
        cells = [(embedded(picture, caption, side), caption) for picture, caption in pictures]
        return self._add("pictures", max(110, 1080 // columns - 40), cells)

    def picture_rows(
        self, titles: Sequence[str], rows: Sequence[tuple[str, Sequence[Image.Image]]], *, side: int = 480
    ) -> "Report":
        """Add aligned rows to compare (image, truth, prediction, ...), with a caption above each row.

        Args:
            titles: name of each column.
            rows: (caption, pictures by column).
            side: longest side in pixels at which pictures are embedded.

        Raises:
            ValueError: a row has another number of pictures than there are titles.
        """
        for caption, pictures in rows:
            if len(pictures) != len(titles):
                raise InputError(f"picture row {caption!r} has {len(pictures)} pictures for {len(titles)} titles")
        images = [
            (caption, [embedded(p, f"{caption} · {title}", side) for title, p in zip(titles, pictures, strict=True)])
            for caption, pictures in rows
        ]
        return self._add("picture_rows", titles, images)

    def charts(self, charts: Sequence[tuple[str, Markup]]) -> "Report":
        """Add titled charts of `gss.report.charts` side by side.

        Raises:
            ValueError: a chart is a plain string, which might hold unescaped text.
        """
        for title, chart in charts:
            if not isinstance(chart, Markup):
                raise InputError(f"chart {title!r} must be made by gss.report.charts, got {type(chart).__name__}")
        return self._add("charts", charts)

    def markup(self, part: Markup) -> "Report":
        """Add a part made elsewhere, with every text in it escaped.

        Raises:
            ValueError: the part is a plain string, which might hold unescaped text.
        """
        if not isinstance(part, Markup):
            raise InputError(f"a part of a report must be markupsafe.Markup, got {type(part).__name__}")
        self._parts.append(part)
        return self

    def details(self, title: str, content: Any) -> "Report":
        """Add a collapsed block: a text as it is, anything else as indented JSON."""
        text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
        return self._add("details", title, text)

    def html(self) -> str:
        """Return the whole page as text."""
        head = {"title": self.title, "subtitle": self.subtitle, "answer": self._answer}
        return templates.page(**head, sections=self._sections, parts=self._parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page; an existing file is replaced only once the new one is complete."""
        page = self.html()
        with atomic_path(path) as temporary:
            # Names of files that are not UTF-8 hold characters that UTF-8 cannot write.
            temporary.write_text(page, encoding="utf-8", errors="replace")

    def _add(self, part: str, *values: Any) -> "Report":
        self._parts.append(templates.part(part, *values))
        return self


def embedded(picture: Image.Image, text: str, side: int) -> Markup:
    """Return an image tag with the data inline: PNG for few colors (label maps stay exact), else JPEG.

    Args:
        picture: PIL picture.
        text: caption when it is enlarged, and where it cannot be shown.
        side: longest side in pixels; larger pictures are reduced.
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
    return templates.part("image", picture.width, picture.height, text, "png" if flat else "jpeg", data)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."
