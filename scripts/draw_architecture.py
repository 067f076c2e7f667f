"""Draw the layers of gss into docs/architecture.md and CONTRIBUTING.md, from the import contract in setup.cfg.

    python scripts/draw_architecture.py

The order is that of the contract, the words are the first line of each package's docstring.
"""

import ast
import configparser
import re
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PAGES = (REPO / "docs" / "architecture.md", REPO / "CONTRIBUTING.md")
_BLOCK = re.compile(r"(<!-- layers: by scripts/draw_architecture.py -->\n).*?(<!-- end of layers -->)", re.DOTALL)


def layers() -> dict[str, str]:
    """Return the packages from top to bottom with the first sentence about each."""
    config = configparser.ConfigParser()
    config.read(REPO / "setup.cfg", encoding="utf-8")
    names = config["importlinter:contract:layers"]["layers"].split()
    return {name.removeprefix("gss."): _sentence(REPO / Path(*name.split("."))) for name in [*names, "vqvae"]}


def picture() -> str:
    """Return the layers as a Mermaid flow chart."""
    texts = layers()
    lines = ["```mermaid", "flowchart TB"]
    lines += [f'    {name}["<b>{name}</b>: {text}"]' for name, text in texts.items()]
    *stack, alone = texts
    lines += [f"    {above} --> {below}" for above, below in zip(stack, stack[1:], strict=False)]
    lines += [f"    posterior -.-> {alone}", "```"]
    return "\n".join(lines)


def drawn(page: str) -> str:
    """Return a page with a new picture in place of the old one."""
    return _BLOCK.sub(lambda found: f"{found[1]}{picture()}\n{found[2]}", page)


def main() -> int:
    """Draw both pages."""
    for path in PAGES:
        path.write_text(drawn(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _sentence(package: Path) -> str:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"[.;](?:\s|$)", docstring, maxsplit=1)[0]
    return " ".join(sentence.split()).replace('"', "'").replace("`", "")


if __name__ == "__main__":
    sys.exit(main())
