"""Results that are added to the card of a pipeline that is saved already."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gss.core.files import atomic_path
from gss.pipeline.store.card import NO_RESULTS, RESULTS, hub_result, number, results_table

CARD = "README.md"


def add_results(
    folder: str | os.PathLike[str],
    metrics: Mapping[str, Mapping[str, Any]],
    measured_on: str,
    *,
    names: Sequence[str] = (),
    mode: str = "",
) -> Path | None:
    """Add results to the model card of a saved pipeline; those of the same data replace earlier ones.

    Args:
        folder: folder of the pipeline.
        metrics: decode mode to metrics, fractions in 0..1 (`SegmentationMetrics.compute`).
        measured_on: data set and split, which becomes the heading.
        names: class names, to list the IoU of each class in decode mode `mode`.
        mode: decode mode of that list.

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
    title = " ".join(measured_on.split())
    entry = [f"### {title}", results_table(metrics)]
    ious = metrics.get(mode, {}).get("iou")
    if names and ious:
        shares = ", ".join(f"{name} {number(value)}" for name, value in zip(names, ious, strict=True))
        entry.append(f"IoU of each class ({mode}): {shares}.")
    parts = [part for part in re.split(r"\n(?=### )", own.strip()) if part and part != NO_RESULTS]
    kept = [part.strip() for part in parts if part.partition("\n")[0].strip() != f"### {title}"]
    results = "\n\n".join([*kept, "\n\n".join(entry)])
    changed = f"{_with_hub_result(before, metrics, title)}{heading}\n{results}\n{following}{after}"
    try:
        with atomic_path(card) as temporary:
            temporary.write_text(changed, encoding="utf-8")
    except OSError:
        return None
    return card


def _with_hub_result(text: str, metrics: Mapping[str, Mapping[str, Any]], measured_on: str) -> str:
    """Return the beginning of a card with an entry of its YAML head's model index."""
    found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        head = None
    if found is None or not isinstance(head, dict):
        return text
    models = head.setdefault("model-index", [{"name": "gss", "results": []}])
    results = models[0]["results"]
    results[:] = [one for one in results if one.get("dataset", {}).get("name") != measured_on]
    results.append(hub_result(metrics, measured_on))
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---{text[found.end() :]}"
