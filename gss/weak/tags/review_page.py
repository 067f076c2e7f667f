"""Page to review collected images and reject those that hold a class after all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby

from markupsafe import Markup

from gss.data.images import load_image
from gss.report.page import Report, embedded

_SIDE = 256

_BAR = """
<style>
.review { position: sticky; bottom: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 0.8rem; align-items: center;
  padding: 0.8rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  box-shadow: var(--shadow); }
.review button { font: inherit; padding: 0.4rem 1rem; border-radius: 99px; border: 0; color: var(--page);
  background: var(--accent); cursor: pointer; }
figcaption label { display: flex; gap: 0.45rem; align-items: baseline; color: var(--ink); cursor: pointer; }
figure:has(:checked) img { opacity: 0.25; }
</style>
<div class="review"><button type="button">Download rejected.txt</button><span></span></div>
"""

# What is checked survives a reload where the browser lets local pages store something.
_SCRIPT = """
<script>
const earlier = EARLIER;
const boxes = [...document.querySelectorAll('figcaption input')];
const checked = () => boxes.filter(box => box.checked).map(box => box.value);
const key = 'rejected ' + location.pathname;
const show = () => {
  document.querySelector('.review span').textContent =
    `${checked().length} of ${boxes.length} rejected` + (earlier.length ? `, ${earlier.length} earlier` : '');
};
try {
  const stored = new Set(JSON.parse(localStorage.getItem(key) || '[]'));
  for (const box of boxes) box.checked = stored.has(box.value);
} catch (error) { console.warn(error); }
for (const box of boxes) box.addEventListener('change', () => {
  show();
  try { localStorage.setItem(key, JSON.stringify(checked())); } catch (error) { console.warn(error); }
});
document.querySelector('.review button').addEventListener('click', () => {
  const text = [...earlier, ...checked()].map(line => line + '\\n').join('');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/plain'}));
  link.download = 'rejected.txt';
  link.click();
  URL.revokeObjectURL(link.href);
});
show();
</script>
"""


def build_page(rows: Sequence[tuple[str, str, float]], excluded: Sequence[str], *, title: str) -> Report:
    """Build a grid of images with a checkbox each, by class.

    The list that the page downloads also holds the images rejected before, so that it replaces the previous list.

    Args:
        rows: class name, path and score, sorted by class.
        excluded: paths rejected before.
        title: folder of the classifier.

    Raises:
        InputError: an image that cannot be read any more.
    """
    report = Report("Images that look like a class", subtitle=title)
    report.answer(_answer(rows))
    report.paragraph(
        "Each picture should hold none of the classes. Check those that do, download the list, and give it to the next "
        "run as --exclude rejected.txt."
    )
    for name, group in groupby(rows, key=lambda row: row[0]):
        cells = [_cell(name, path, score) for _, path, score in group]
        report.section(f"{name} ({len(cells)})")
        report.markup(Markup(f'<div class="grid" style="--least:170px">{"".join(cells)}</div>'))
    # "</script>" in a path would end the script.
    earlier = json.dumps(list(excluded)).replace("<", "\\u003c")
    return report.markup(Markup(_BAR + _SCRIPT.replace("EARLIER", earlier)))


def _answer(rows: Sequence[tuple[str, str, float]]) -> str:
    """Return one sentence: how many images were found, and which looks most like a class."""
    if not rows:
        return "No image looks like a class."
    name, _, score = max(rows, key=lambda row: row[2])
    count = len({path for _, path, _ in rows})
    images = f"{count} images look" if count > 1 else "1 image looks"
    return f"{images} like a class although it should hold none; the most like one is taken for {name} ({score:.3f})."


def _cell(name: str, path: str, score: float) -> str:
    picture = embedded(load_image(path), f"{name} {score:.3f} · {path}", _SIDE)
    return (
        f'<figure>{picture}<figcaption><label><input type="checkbox" value="{escape(path)}">'
        f"{score:.3f} holds a class</label>{escape(path)}</figcaption></figure>"
    )
