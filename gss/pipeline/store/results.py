"""Results that are added to the card of a pipeline that is saved already."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gss.core.files import atomic_path
from gss.pipeline.store.card import NO_RESULTS, RESULTS, hub_result, made_with, number, results_table

CARD = "README.md"


def add_results(
    folder: str | os.PathLike[str],
    metrics: Mapping[str, Mapping[str, Any]],
    measured_on: str,
    *,
    names: Sequence[str] = (),
    mode: str = "",
    images: int | None = None,
    seen: str = "",
    command: str = "",
) -> Path | None:
    """Add results to the model card of a saved pipeline; those of the same data replace earlier ones.

    Args:
        folder: folder of the pipeline.
        metrics: decode mode to metrics, fractions in 0..1 (`SegmentationMetrics.compute`).
        measured_on: data set and split, which becomes the heading.
        names: class names, to list the IoU of each class in decode mode `mode`.
        mode: decode mode of that list.
        images: number of images behind the figures.
        seen: says that the pipeline was, or may have been, trained on these images; such figures are marked and stay
            out of the hub's model index.
        command: command that made the figures.

    Returns:
        The card; None where there is none, it cannot be written, or somebody has rewritten it without results.
    """
    card = Path(folder) / CARD
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    before, heading, rest = text.partition(f"\n{RESULTS}\n")
    if not heading:
        return None
    own, following, after = rest.partition("\n## ")
    name = " ".join(measured_on.split())
    title = "".join([name, f" ({images} images)" if images is not None else "", f", {seen}" if seen else ""])
    entry = [f"### {title}", results_table(metrics)]
    ious = metrics.get(mode, {}).get("iou")
    if names and ious:
        shares = ", ".join(f"{name} {number(value)}" for name, value in zip(names, ious, strict=True))
        entry.append(f"IoU of each class ({mode}): {shares}.")
    entry += filter(None, [f"Figures {seen}: those of new images are lower." if seen else "", made_with(command)])
    parts = [part for part in re.split(r"\n(?=### )", own.strip()) if part and part != NO_RESULTS]
    kept = [part.strip() for part in parts if _name(part.partition("\n")[0].removeprefix("### ")) != name]
    results = "\n\n".join([*kept, "\n\n".join(entry)])
    changed = (
        f"{_with_hub_result(before, {} if seen else metrics, name, title)}{heading}\n{results}\n{following}{after}"
    )
    try:
        with atomic_path(card) as temporary:
            temporary.write_text(changed, encoding="utf-8")
    except OSError:
        return None
    return card


def _name(title: str) -> str:
    """Return data set and split of a heading, without the number of images and the caution behind them."""
    return re.sub(r"( \(\d+ images\))?(, (perhaps )?on the training images)?$", "", title.strip())


def _with_hub_result(text: str, metrics: Mapping[str, Mapping[str, Any]], name: str, title: str) -> str:
    """Return the beginning of a card with these metrics in its YAML head's model index in place of those of `name`."""
    found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        head = None
    if found is None or not isinstance(head, dict):
        return text
    models = head.setdefault("model-index", [{"name": "gss", "results": []}])
    results = models[0]["results"]
    results[:] = [one for one in results if _name(str(one.get("dataset", {}).get("name"))) != name]
    results += [hub_result(metrics, title)] if metrics else []
    if not results:
        del head["model-index"]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---{text[found.end() :]}"
