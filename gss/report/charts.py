"""Charts as inline SVG or HTML for `gss.report.page`: curves, bars, histograms, reliability, heat tables.

They need no script and no drawing library. Colors are CSS variables of the report's style sheet, so the charts follow
its light and dark theme; exact values appear in native tool-tips.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from gss.core.errors import InputError
from gss.report import templates

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 12, 42
SERIES_COLORS = 7
MOST_CURVES = 6
"""Number of curves that a reader can follow in one chart."""

MAX_POINTS = 600


class _Frame:
    """Plot area with linear or logarithmic scales, grid lines, tick labels and axis titles."""

    def __init__(
        self,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_label: str,
        y_label: str,
        log_y: bool = False,
    ) -> None:
        self.x_range, self.y_range, self.log_y = x_range, y_range, log_y
        self.parts: list[str] = []
        x_ticks = _ticks(*x_range)
        y_ticks = _log_ticks(*y_range) if log_y else _ticks(*y_range)
        for value in y_ticks:
            y = self.y(value)
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
        bottom = HEIGHT - BOTTOM
        self.parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        for value in x_ticks:
            x = self.x(value)
            self.parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.parts.append(
            f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
        )
        centre = (TOP + bottom) / 2
        self.parts.append(
            f'<text class="label" transform="translate(12 {centre}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        if self.log_y:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, 1e-300))
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def finish(self, title: str, names: Sequence[str], more: str = "") -> Markup:
        svg = _svg(HEIGHT, title, self.parts)
        keys = [f'<span><i class="{_style(i)}"></i>{escape(name)}</span>' for i, name in enumerate(names)]
        keys += [f"<span>{escape(more)}</span>"] if more else []
        return Markup(svg + (f'<div class="keys">{"".join(keys)}</div>' if len(names) > 1 else ""))


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str = "",
    y_label: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    log_y: bool = False,
    smooth: float = 0.0,
) -> Markup:
    """Return curves over a common axis (learning curves, precision over recall), of the first `MOST_CURVES` series.

    Args:
        series: points (x, y) in drawing order by name; points that are not finite (or not positive with `log_y`)
            are left out.
        x_label: title of the horizontal axis.
        y_label: title of the vertical axis.
        x_range: limits of the horizontal axis; those of the data by default.
        y_range: limits of the vertical axis; those of the data by default.
        log_y: whether the vertical axis is logarithmic.
        smooth: exponential smoothing of the bold line, in [0, 1); the raw values stay visible as a faint line.

    Raises:
        InputError: no series holds a point to draw, or `smooth` is out of range.
    """
    if not 0 <= smooth < 1:
        raise InputError(f"smooth must be in [0, 1), got {smooth}")
    drawn_names, left_out = list(series)[:MOST_CURVES], max(len(series) - MOST_CURVES, 0)
    clean = {
        name: [
            (float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log_y)
        ]
        for name, points in ((name, series[name]) for name in drawn_names)
    }
    drawable = [point for points in clean.values() for point in points]
    if not drawable:
        raise InputError(f"series {', '.join(series) or '(none)'} holds no finite point to draw")
    x_range = x_range or _span([x for x, _ in drawable])
    y_range = y_range or _span([y for _, y in drawable], margin=0.0 if log_y else 0.05, log=log_y)
    frame = _Frame(x_range, y_range, x_label, y_label, log_y)
    for index, (name, points) in enumerate(clean.items()):
        if not points:
            continue
        style = _style(index)
        drawn = _thin(points)
        if smooth and len(points) > 2:
            frame.parts.append(f'<path class="line faint {style}" d="{frame.path(drawn)}"/>')
            drawn = _thin(_smoothed(points, smooth))
        last_x, last_y = drawn[-1]
        hint = f"{escape(name)}: {_number(points[-1][1])} at {_number(points[-1][0])}"
        frame.parts.append(f'<path class="line {style}" d="{frame.path(drawn)}"><title>{hint}</title></path>')
        dot = f'<circle class="{style}" cx="{frame.x(last_x):.1f}" cy="{frame.y(last_y):.1f}" r="3.5">'
        frame.parts.append(f"{dot}<title>{hint}</title></circle>")
    more = f"{left_out} more not drawn" if left_out else ""
    return frame.finish(f"{y_label} over {x_label}", list(clean), more)


def histogram(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    *,
    x_label: str = "",
    y_label: str = "share of pixels",
) -> Markup:
    """Return overlaid outlines of distributions, each normalised to a sum of 1.

    Args:
        edges: increasing bin edges, one more than bins.
        counts: count of each bin by name.
        x_label: title of the horizontal axis.
        y_label: title of the vertical axis.

    Raises:
        InputError: lengths do not fit.
    """
    shares: dict[str, list[float]] = {}
    for name, values in counts.items():
        if len(values) != len(edges) - 1:
            raise InputError(f"counts {name!r} has {len(values)} bins, edges describe {len(edges) - 1}")
        total = float(sum(values)) or 1.0
        shares[name] = [float(value) / total for value in values]
    top = max((value for values in shares.values() for value in values), default=0.0) or 1.0
    frame = _Frame((float(edges[0]), float(edges[-1])), (0.0, top * 1.05), x_label, y_label)
    for index, (name, values) in enumerate(shares.items()):
        outline = [(float(edges[0]), 0.0)]
        for left, right, value in zip(edges[:-1], edges[1:], values, strict=True):
            outline += [(float(left), value), (float(right), value)]
        outline.append((float(edges[-1]), 0.0))
        style = _style(index)
        frame.parts.append(f'<path class="area {style}" d="{frame.path(outline)}"><title>{escape(name)}</title></path>')
    return frame.finish(f"{y_label} over {x_label}", list(shares))


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    colors: Sequence[Sequence[int]] | None = None,
    high: float = 1.0,
    digits: int = 3,
    percent: bool = False,
) -> Markup:
    """Return horizontal bars, in one group per label (IoU by class of one or several decode modes).

    Args:
        labels: name of each group.
        series: value of each group by name, None for "not present".
        colors: RGB of each label's bar, only used with one series.
        high: value of a full bar; values are drawn from 0.
        digits: decimals of the printed values.
        percent: whether shares are printed in percent with one decimal.

    Raises:
        InputError: lengths do not fit.
    """
    for name, values in series.items():
        if len(values) != len(labels):
            raise InputError(f"series {name!r} has {len(values)} values for {len(labels)} labels")
    thick = 14 if len(series) == 1 else 11
    group = len(series) * (thick + 2) + 8
    name_width = min(150, 14 + max((len(label) for label in labels), default=0) * 7)
    span = WIDTH - name_width - 52
    parts: list[str] = []
    for row, label in enumerate(labels):
        top = row * group + 4
        text = label if len(label) <= 20 else label[:19] + "…"
        middle = top + (group - 8) / 2
        parts.append(
            f'<text class="name" x="{name_width - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
        for index, (name, values) in enumerate(series.items()):
            value, y = values[row], top + index * (thick + 2)
            if value is None:
                parts.append(f'<text class="none" x="{name_width}" y="{y + thick / 2 + 4:.1f}">not present</text>')
                continue
            length = max(min(value / high, 1.0), 0.0) * span
            single = colors is not None and len(series) == 1
            paint = f' style="fill:rgb({",".join(str(int(c)) for c in colors[row])})"' if single and colors else ""
            number = f"{value:.1%}" if percent else f"{value:.{digits}f}"
            hint = f"<title>{escape(name)} {escape(label)}: {number}</title>"
            parts.append(
                f'<rect class="track" x="{name_width}" y="{y}" width="{span}" height="{thick}" rx="3"/>'
                f'<rect class="bar s{index % SERIES_COLORS}"{paint} x="{name_width}" y="{y}" rx="3" '
                f'width="{length:.1f}" height="{thick}">{hint}</rect>'
                f'<text x="{name_width + span + 6}" y="{y + thick / 2 + 4:.1f}">{number}</text>'
            )
    svg = _svg(len(labels) * group + 4, "bars", parts)
    keys = [f'<span><i class="s{i % SERIES_COLORS}"></i>{escape(name)}</span>' for i, name in enumerate(series)]
    return Markup(svg + (f'<div class="keys">{"".join(keys)}</div>' if len(series) > 1 else ""))


def reliability_diagram(bins: Sequence[Mapping[str, float | None]]) -> Markup:
    """Return accuracy over confidence; below the dashed diagonal the model is overconfident.

    Args:
        bins: `confidence`, `accuracy` (or None) and `pixels` of each equal bin, as `reliability` of
            `SegmentationMetrics.compute`.
    """
    frame = _Frame((0.0, 1.0), (0.0, 1.0), "confidence", "accuracy")
    width = frame.x(1 / max(len(bins), 1)) - frame.x(0)
    total = sum(entry["pixels"] or 0 for entry in bins) or 1
    for index, entry in enumerate(bins):
        accuracy, confidence = entry["accuracy"], entry["confidence"]
        if accuracy is None or confidence is None:
            continue
        x, y = frame.x(index / len(bins)) + 1, frame.y(accuracy)
        gap_top, gap_bottom = sorted((y, frame.y(confidence)))
        share = (entry["pixels"] or 0) / total
        hint = f"confidence {confidence:.3f}, accuracy {accuracy:.3f}, {share:.1%} of pixels"
        place = f'x="{x:.1f}" width="{width - 2:.1f}"'
        frame.parts.append(
            f'<rect class="bar s0" {place} y="{y:.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
            f"<title>{hint}</title></rect>"
            f'<rect class="gap" {place} y="{gap_top:.1f}" height="{gap_bottom - gap_top:.1f}"/>'
        )
    frame.parts.append(f'<path class="diagonal" d="{frame.path([(0, 0), (1, 1)])}"/>')
    return frame.finish("reliability diagram", ["accuracy", "gap to the confidence"])


def heat_table(
    matrix: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    low: float = 0.0,
    high: float = 1.0,
    digits: int = 2,
    percent: bool = False,
    corner: str = "",
) -> Markup:
    """Return a table whose cells are shaded by value (confusion matrix, cross-domain matrix).

    Args:
        matrix: values, None for an empty cell.
        rows: names of the rows.
        columns: names of the columns.
        low: value without shade.
        high: value with full shade.
        digits: decimals of the printed values.
        percent: whether shares are printed in percent with one decimal, without the sign.
        corner: text of the upper left cell.

    Raises:
        InputError: the matrix has other dimensions than the names.
    """
    if len(matrix) != len(rows) or any(len(line) != len(columns) for line in matrix):
        raise InputError(f"matrix must have {len(rows)} rows of {len(columns)} values, as rows and columns name them")
    lines = []
    for name, line in zip(rows, matrix, strict=True):
        cells = [
            None
            if value is None
            else {
                **_shades(min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0)),
                "hint": f"{name} / {column}: " + (f"{value:.2%}" if percent else f"{value:.{digits + 2}f}"),
                "text": f"{100 * value:.1f}" if percent else f"{value:.{digits}f}",
            }
            for column, value in zip(columns, line, strict=True)
        ]
        lines.append((name, cells))
    return templates.part("heat_table", corner, columns, lines)


def heat_colors(share: float, *, dark: bool = False) -> tuple[str, str]:
    """Return the colours of a cell and of its text, as `#rrggbb`.

    The text is black or white, whichever has the larger contrast by WCAG 2.2 (relative luminance); one of them always
    has at least 4.58 : 1.

    Args:
        share: 0..1, from the colour of the card to the full one.
        dark: True for the dark theme.
    """
    start, end = ((0x1C, 0x1F, 0x25), (0x6F, 0xB1, 0xFF)) if dark else ((0xFF, 0xFF, 0xFF), (0x0B, 0x4F, 0xB0))
    red, green, blue = (round(low + share * (high - low)) for low, high in zip(start, end, strict=True))
    light = luminance((red, green, blue))
    text = "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"
    return f"#{red:02x}{green:02x}{blue:02x}", text


def luminance(color: Sequence[int]) -> float:
    """Return the relative luminance of an sRGB colour of 0..255, 0 for black and 1 for white (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _shades(share: float) -> dict[str, tuple[str, str]]:
    return {"light": heat_colors(share), "dark": heat_colors(share, dark=True)}


def _style(index: int) -> str:
    """Return the CSS classes of a series: after `SERIES_COLORS` the colors repeat with dashed, then dotted lines."""
    dash = min(index // SERIES_COLORS, 2)
    return f"s{index % SERIES_COLORS}" + (f" d{dash}" if dash else "")


def _svg(height: float, title: str, parts: Iterable[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
    return f"{head}{''.join(parts)}</svg>"


def _span(values: list[float], margin: float = 0.0, log: bool = False) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
        return (low, high) if high > low else (low / 10, high * 10)
    room = (high - low) * margin
    if high - low <= abs(high) * 1e-9:
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    # A loss or a score that starts near zero is easier to judge against zero itself.
    return (0.0 if 0 <= low <= 0.3 * high and margin else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, (last - first) // 6)
    return [10.0**k for k in range(first, last + 1, step)]


def _number(value: float) -> str:
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `MAX_POINTS` of the points, evenly spread, with the first and the last."""
    if len(points) <= MAX_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]


def _smoothed(points: list[tuple[float, float]], factor: float) -> list[tuple[float, float]]:
    """Return bias-corrected exponential means, so that the first value does not dominate."""
    level, weight, result = 0.0, 0.0, []
    for x, y in points:
        level, weight = factor * level + (1 - factor) * y, factor * weight + (1 - factor)
        result.append((x, level / weight))
    return result
