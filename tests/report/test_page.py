import base64
import io
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gss.report import charts
from gss.report.page import Report

VOID_TAGS = {"meta", "img", "br", "hr", "link", "input"}


class Checker(HTMLParser):
    """Collects tags and text, and fails on tags that are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.sources, self.text = [], [], [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


NASTY = "<script>alert('x')</script> & \"quoted\" ünï"


def full_report(text=NASTY):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 900, 3), dtype=np.uint8))
    drawing = Image.new("RGB", (7, 5), "red")
    report = Report(text, subtitle=text)
    report.section(text, text).tiles([(text, text, text)]).code(text)
    report.table([text, "b"], [[text, 0.5], ["r", None]], caption=text, colors=[(1, 2, 3), (4, 5, 6)])
    report.legend([text], [(1, 2, 3)])
    report.section("two").pictures([(photo, text), (drawing, "")]).picture_rows([text], [(text, [photo])])
    report.charts(
        [
            (text, charts.line_chart({text: [(0, 1), (1, 2)], "b": [(0, 2)]}, x_label=text, y_label=text)),
            ("bars", charts.bar_chart([text, "x"], {text: [0.5, None], "b": [0.1, 1.5]})),
            ("histogram", charts.histogram([0, 1, 2], {text: [3, 1]}, x_label=text)),
            ("heat", charts.heat_table([[0.2, None]], [text], [text, "b"], corner=text)),
            ("reliability", charts.reliability_diagram([{"confidence": 0.4, "accuracy": 0.5, "pixels": 3}])),
        ]
    )
    return report.details(text, text).details("json", {"key": [1, text]})


def test_everything_is_escaped_and_well_formed():
    page = full_report().html()
    checked = Checker(page)
    assert checked.seen.count("script") == 1
    assert page.count("<script>") == 1
    assert checked.text.count(NASTY) >= 12
    assert checked.open == []


def test_page_is_self_contained():
    page = full_report().html()
    assert all(source.startswith(("data:image/", "#section-")) for source in Checker(page).sources)
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page


def test_pictures_keep_label_colours_and_stay_small():
    page = full_report("title").html()
    kinds = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in kinds]
    assert [kind for kind, _ in kinds] == ["jpeg", "png", "jpeg"]
    assert [picture.size for picture in pictures] == [(640, 213), (7, 5), (480, 160)]
    assert pictures[1].convert("RGB").getcolors() == [(35, (255, 0, 0))]


@given(st.integers(1, 256))
def test_label_maps_survive_embedding_exactly(k):
    rng = np.random.default_rng(k)
    colors = rng.integers(0, 256, (k, 3), dtype=np.uint8)
    array = colors[rng.integers(0, k, (13, 29))]
    page = Report("t").pictures([(Image.fromarray(array), "")]).html()
    data = re.search(r"base64,([^\"]+)", page)
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGB"))
    assert np.array_equal(decoded, array)


def test_best_values_are_bold():
    rows = [["a", 0.1, 3], ["b", 0.3, 2], ["c", 0.3, None], ["d", None, 9]]
    page = Report("t").table(["n", "up", "down"], rows, best={"up": "max", "down": "min"}).html()
    assert re.findall(r"<b>(.*?)</b>", page) == ["0.300", "2", "0.300"]
    assert "–" in page
    alone = Report("t").table(["n", "up"], [["a", 0.1]], best={"up": "max"}).html()
    assert "<b>" not in alone


def test_save_replaces_only_complete_pages(tmp_path):
    path = tmp_path / "deep" / "report.html"
    full_report().save(path)
    assert path.read_text(encoding="utf-8") == full_report().html()
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_navigation_links_every_section():
    page = Report("t").section("one").section("two & three").html()
    assert re.findall(r'href="#(section-\d)"', page) == re.findall(r'id="(section-\d)"', page)


def svg_of(markup):
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", markup, re.S)[0].replace("&nbsp;", " "))


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e9, 1e9)), min_size=1, max_size=40),
    st.floats(0, 0.99),
)
def test_line_chart_stays_in_its_frame(points, smooth):
    svg = svg_of(charts.line_chart({"a": points}, smooth=smooth))
    width, height = (float(v) for v in svg.get("viewBox").split()[2:])
    for path in svg.findall("path"):
        numbers = [float(v) for v in re.findall(r"-?[\d.]+", path.get("d"))]
        assert all(math.isfinite(v) for v in numbers)
        assert all(0 <= x <= width for x in numbers[::2]) and all(0 <= y <= height for y in numbers[1::2])


def test_line_chart_thins_long_series_and_skips_what_cannot_be_drawn():
    points = [(step, math.sin(step)) for step in range(10_000)]
    svg = svg_of(charts.line_chart({"a": [*points, (5, math.nan), (math.inf, 0)]}))
    assert len(re.findall("L", svg.find("path").get("d"))) < 1000
    log = svg_of(charts.line_chart({"a": [(0, 0.0), (1, 1e-4), (2, 1e3)]}, log_y=True))
    assert "1e-4" in "".join(log.itertext())
    for bad in ({}, {"a": []}, {"a": [(math.nan, 1)]}):
        with pytest.raises(ValueError, match="no finite point"):
            charts.line_chart(bad)
    with pytest.raises(ValueError, match="smooth"):
        charts.line_chart({"a": [(0, 1)]}, smooth=1.0)


def test_bars_have_lengths_in_proportion():
    svg = svg_of(charts.bar_chart(["a", "b", "c"], {"m": [1.0, 0.25, None]}, colors=[(1, 2, 3)] * 3))
    bars = [rect for rect in svg.findall("rect") if "bar" in rect.get("class")]
    lengths = [float(bar.get("width")) for bar in bars]
    assert lengths[1] == pytest.approx(lengths[0] / 4, abs=0.1)
    assert bars[0].get("style") == "fill:rgb(1,2,3)"
    assert "not present" in "".join(svg.itertext())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Report("t").table(["a", "b"], [["x"]]), "2 cells"),
        (lambda: Report("t").table(["a"], [["x"]], best={"c": "max"}), "best: unknown column 'c'"),
        (lambda: Report("t").table(["a"], [["x"]], colors=[]), "colors has 0"),
        (lambda: Report("t").charts([("x", "<b>plain</b>")]), "made by gss.report.charts"),
        (lambda: Report("t").markup("<b>plain</b>"), "must be markupsafe.Markup"),
        (lambda: Report("t").picture_rows(["a", "b"], [("r", [])]), "0 pictures for 2 titles"),
        (lambda: charts.bar_chart(["a"], {"m": []}), "0 values for 1 labels"),
        (lambda: charts.histogram([0, 1], {"m": []}), "0 bins"),
        (lambda: charts.heat_table([[1.0]], ["a"], ["b", "c"]), "1 rows of 2 values"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def contrast(one: str, other: str) -> float:
    """Contrast of two colours `#rrggbb`, WCAG 2.2, written out once more."""

    def luminance(code):
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_cell_of_a_heat_map_can_be_read():
    values = [step / 500 for step in range(501)]
    page = charts.heat_table([values], ["a"], [str(step) for step in range(501)], percent=True)
    cells = re.findall(r'style="background:(#\w{6});color:(#\w{6});--bg:(#\w{6});--fg:(#\w{6})"', page)
    assert len(cells) == 501
    for light, text, dark, dark_text in cells:
        assert contrast(light, text) >= 4.5 and contrast(dark, dark_text) >= 4.5
    assert cells[0][0] == "#ffffff" and len({light for light, *_ in cells}) > 200
    assert ">100.0</td>" in page and ">50.0</td>" in page


def test_the_answer_stands_above_everything_with_its_proof():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 90, 3), dtype=np.uint8))
    report = Report("t").section("one").section("two").answer("It works.", pictures=[(photo, "proof")])
    page = report.html()
    Checker(page)
    assert page.index("It works.") < page.index("data:image/") < page.index("<nav") < page.index('id="section-1"')
    chart = charts.bar_chart(["a"], {"b": [0.5]}, percent=True)
    drawn = Report("t").answer("It works.", chart=chart).html()
    assert "50.0%" in drawn and "<svg" in drawn
    assert "<svg" not in Report("t").answer("It works.", pictures=[(photo, "")], chart=chart).html()
    assert 'class="answer"' not in Report("t").html().partition("</style>")[2]


def test_parts_can_be_folded():
    report = Report("t").section("one")
    with report.folded(NASTY):
        report.table(["a"], [["inside"]])
    page = report.paragraph("outside").html()
    Checker(page)
    assert page.index("<details") < page.index(">inside<") < page.index("</details>") < page.index(">outside<")
    assert NASTY not in page
