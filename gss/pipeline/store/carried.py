"""What the card of a pipeline keeps when the pipeline is loaded and saved again."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from torch import nn


def read_kept_card(folder: Path | None, components: Mapping[str, Any]) -> str:
    """Return the card of the folder that a pipeline was loaded from; empty without one, or where weights have changed.

    Args:
        folder: that folder; None for a pipeline that was not loaded.
        components: components of the pipeline by name.
    """
    try:
        text = "" if folder is None else (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    modules = {name: part for name, part in components.items() if isinstance(part, nn.Module)}
    kept = folder is not None and all(_unchanged(folder / name, module) for name, module in modules.items())
    return text if kept else ""


def carry_over(card: str, before: str, titles: Collection[str], keys: Collection[str]) -> str:
    """Return a card with sections and entries of the YAML head of an earlier one, where it has them.

    Args:
        card: new card.
        before: earlier card.
        titles: titles of the sections.
        keys: entries of the head.
    """
    old = _sections(before)
    parts = _sections(card)
    parts |= {title: old[title] for title in titles if title in old and title in parts}
    intro = parts.pop("")
    head, known = _head(intro), _head(before)
    kept = {key: known[key] for key in keys if key in known}
    if kept and head:
        text = yaml.safe_dump({**head, **kept}, sort_keys=False, allow_unicode=True)
        _, _, below = intro.partition("\n---")
        intro = f"---\n{text}---{below}"
    return "\n\n".join([intro, *(f"## {title}\n\n{body}" for title, body in parts.items())]) + "\n"


def _sections(card: str) -> dict[str, str]:
    """Return title to text of each section of a card; what stands before the first has an empty title."""
    intro, *rest = re.split(r"\n## ", card)
    split = (part.partition("\n") for part in rest)
    return {"": intro.strip(), **{title.strip(): body.strip() for title, _, body in split}}


def _head(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        head = None
    return head if isinstance(head, dict) else {}


def _unchanged(folder: Path, module: nn.Module) -> bool:
    """Return whether the tensors of a module are those in its files, at the precision that they have now."""
    now = module.state_dict()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            # transformers renames some tensors of a backbone in the file; those are not compared.
            for name in set(stored.keys()) & now.keys():
                tensor = now[name].detach().cpu()
                if not torch.equal(stored.get_tensor(name).to(tensor.dtype), tensor):
                    return False
    return folder.is_dir()
