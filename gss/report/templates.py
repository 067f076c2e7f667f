"""The jinja templates of the pages; every text that enters them is escaped."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

_FOLDER = Path(__file__).parent


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def part(name: str, *values: Any) -> Markup:
    """Return one part of a page as HTML.

    Args:
        name: macro of `parts.html`.
        values: its arguments.
    """
    return getattr(_template("parts.html").module, name)(*values)


def page(**values: Any) -> str:
    """Return a whole page as HTML.

    Args:
        values: variables of `page.html`.
    """
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "zoom.js"))
    return _template("page.html").render(values, style=Markup(style), script=Markup(script))
