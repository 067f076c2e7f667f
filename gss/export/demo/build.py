"""Build the page: an exported network, the runtime, and the page's own files, in one folder."""

from __future__ import annotations

import base64
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from gss.core.files import atomic_path
from gss.export.demo.runtime import WebRuntime
from gss.export.runtime import OnnxModel
from gss.ood.alarms import DEFAULT_RATE, threshold_at
from gss.report.pictures import palette_table

FILES = ("index.html", "style.css", "app.js", "facts.js", "model.js", "runtime.js", "wasm.js")
"""Files of a page."""


def build_page(
    model: OnnxModel, runtime: WebRuntime, out: Path, *, title: str, alarm_rate: float | None = None
) -> None:
    """Write the page; it works from the folder itself, from any static host, and offline.

    Browsers do not let a page that is opened from a folder read files, but they do let it run scripts: the network and
    the runtime are scripts that hold them as text.

    Args:
        model: exported network.
        runtime: ONNX Runtime for browsers.
        out: existing folder.
        title: title of the page.
        alarm_rate: share of the pixels of training images that raises an alarm; `DEFAULT_RATE` if None.

    Raises:
        InputError: an alarm rate without a threshold.
    """
    own = resources.files("gss.export.demo")
    texts = {
        "index.html": _page(own.joinpath("page.html").read_text(encoding="utf-8"), title),
        "style.css": own.joinpath("style.css").read_text(encoding="utf-8"),
        "app.js": own.joinpath("app.js").read_text(encoding="utf-8"),
        "facts.js": f"window.GSS_FACTS = {script_json(page_facts(model.facts, alarm_rate))};\n",
        "model.js": _embedded("GSS_MODEL", model.path.read_bytes()),
        "runtime.js": _embedded("GSS_RUNTIME", runtime.script),
        "wasm.js": _embedded("GSS_WASM", runtime.wasm),
    }
    for name in sorted(texts, key=lambda name: name == "index.html"):  # the page comes last
        with atomic_path(out / name) as temporary:
            temporary.write_text(texts[name], encoding="utf-8")


def page_facts(facts: dict[str, Any], alarm_rate: float | None = None) -> dict[str, Any]:
    """Return what the page needs to know of an exported network.

    Args:
        facts: facts of the file, see `gss.export.graph.graph_facts`.
        alarm_rate: see `build_page`.
    """
    alarms = facts.get("alarms")
    rate = DEFAULT_RATE if alarm_rate is None else alarm_rate
    known = None if alarms is None else alarms["thresholds"]
    kept = {name: facts[name] for name in ("size", "outputs", "decode", "score", "labels", "colors")}
    return {
        **kept,
        "background": facts.get("background", []),
        "threshold": None if known is None else threshold_at(known, rate),
        "rate": rate,
        # From the usual score to the one that few pixels of training images reach.
        "range": None if known is None else _range(known),
        "heat": palette_table("magma").tolist(),
    }


def script_json(value: Any) -> str:
    """Return JSON that may stand in a script: no text in it can end the script or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _range(thresholds: list[float]) -> list[float] | None:
    finite = [value for value in thresholds if abs(value) < float(np.finfo(np.float32).max)]
    return [finite[0], finite[-1]] if len(finite) > 1 and finite[-1] > finite[0] else None


def _page(template: str, title: str) -> str:
    footer = "Generative semantic segmentation with gss and ONNX Runtime Web."
    return jinja2.Environment(autoescape=True).from_string(template).render(title=title, footer=footer) + "\n"


def _embedded(name: str, content: bytes) -> str:
    return f'window.{name} = "{base64.b64encode(content).decode()}";\n'
