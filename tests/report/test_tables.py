import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gss.report.page import Report
from gss.report.tables import Table, escape_markdown, percent, share_text, tables_markdown, tables_text

TABLE = Table(
    "Results",
    ["model", "images", "mIoU", "spread", "from"],
    [["prior", 1200, 0.5, "0.1 ± 0.2", "road"], ["twin", 7, None, None, None], ["a", None, 0.25, "-1", "x"]],
    notes=["Void is left out."],
    formats={"mIoU": ".1%"},
    best={"mIoU": "max", "images": "min"},
)


def test_text_aligns_numbers_to_the_right_and_names_to_the_left():
    assert TABLE.text().splitlines() == [
        "Results",
        "Void is left out.",
        "model  images   mIoU     spread  from",
        "prior   1,200  50.0%  0.1 ± 0.2  road",
        "twin        7      -          -  -",
        "a           -  25.0%         -1  x",
    ]


def test_markdown_has_the_same_cells():
    assert TABLE.markdown().splitlines() == [
        "## Results",
        "",
        "Void is left out.",
        "",
        "| model | images | mIoU | spread | from |",
        "| --- | ---: | ---: | ---: | --- |",
        "| prior | 1,200 | **50.0%** | 0.1 ± 0.2 | road |",
        "| twin | **7** | – | – | – |",
        "| a | – | 25.0% | -1 | x |",
    ]


def test_html_has_the_same_cells():
    page = Report("t").add_table(TABLE).html()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert [re.sub("<.*?>", "", cell) for cell in cells] == [cell for row in TABLE.cells() for cell in row]
    assert re.findall(r"<b>(.*?)</b>", page) == ["50.0%", "7"]
    assert "<caption>Results. Void is left out.</caption>" in page
    assert "<caption>" not in Report("t").add_table(TABLE, titled=False).html()


def test_tables_are_separated_by_an_empty_line():
    small = Table("", ["a"], [["b"]])
    assert tables_text([small, small]) == "a\nb\n\na\nb"
    assert tables_markdown([small, small]) == "| a |\n| --- |\n| b |\n\n| a |\n| --- |\n| b |"


def test_floats_have_as_many_decimals_as_asked_for():
    assert Table("", ["n", "x"], [["a", 1 / 3]], digits=1).cells() == [["a", "0.3"]]
    assert Table("", ["n", "x"], [["a", True]]).cells() == [["a", "True"]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("two\nlines\r\n\tof\u2028text", "two lines  of text"),
        ("*bold* `code` [link](x)", r"\*bold\* \`code\` \[link\](x)"),
        ("traffic_light _x_", r"traffic_light \_x\_"),
        ("back\\slash & co", r"back\\slash &amp; co"),
        ("right\u202eto left\x1b[31m", r"rightto left\[31m"),
    ],
)
def test_markdown_shows_texts_as_they_are(text, shown):
    expected = re.sub(" +", " ", shown)
    assert re.sub(" +", " ", escape_markdown(text)) == expected
    row = Table(text, [text], [[text]], notes=[text]).markdown()
    assert re.sub(" +", " ", row) == f"## {expected}\n\n{expected}\n\n| {expected} |\n| --- |\n| {expected} |"


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=5))
def test_no_text_breaks_a_table(rows):
    lines = Table("", ["a", "b"], rows).markdown().split("\n")
    assert len(lines) == 2 + len(rows)
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in lines)
    assert len(Table("", ["a", "b"], rows).text().split("\n")) == 1 + len(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": [["x"]]}, "2 cells"),
        ({"best": {"bb": "max"}}, "best: unknown column 'bb'"),
        ({"formats": {"A": ".1f"}}, "formats: unknown column 'A', did you mean 'a'"),
        ({"colors": []}, "colors has 0 entries for 1 table rows"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        Table("t", ["a", "b"], **{"rows": [["x", 1]], **options})


def test_percent():
    assert (percent(0.12345), percent(0.5, 1), percent(None)) == ("12.35", "50.0", "–")


def test_the_best_row_comes_first():
    rows = [["a", 0.1, "1.5 ± 0.1%"], ["b", None, "9.0 ± 0.1%"], ["c", 0.3, None], ["d", 0.3, "10.0 ± 2.0%"]]
    table = Table(
        "", ["n", "up", "text"], rows, best={"up": "max", "text": "min"}, colors=[(i, i, i) for i in range(4)]
    )
    assert [row[0] for row in table.ranked().rows] == ["c", "d", "a", "b"]
    assert table.ranked().colors == [(2, 2, 2), (3, 3, 3), (0, 0, 0), (1, 1, 1)]
    assert [row[0] for row in table.ranked("text").rows] == ["a", "b", "d", "c"]
    assert Table("", ["n"], [["b"], ["a"]]).ranked().rows == [["b"], ["a"]]


def test_shares_are_in_percent_with_one_decimal():
    assert [share_text(value) for value in (0.12345, 1.0, 0.0, 0.0001, None)] == [
        *("12.3%", "100.0%", "0.0%", "<0.1%", "–")
    ]
