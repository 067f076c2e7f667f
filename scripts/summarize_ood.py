"""Mean and spread over seeds of the figures that `gss evaluate-ood --json` or `gss train residual` wrote.

    python scripts/summarize_ood.py runs/ood/s0.json runs/ood/s1.json runs/ood/s2.json
    python scripts/summarize_ood.py runs/residual_s0/residual.json runs/residual_s1/residual.json

One Markdown table for each data set; the files should differ in the seed of the pipeline alone.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FIGURES = ("ap", "fpr", "auroc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="of gss evaluate-ood --json (pooled), or residual.json")
    tables: dict[str, dict[str, list[list[float | None]]]] = defaultdict(lambda: defaultdict(list))
    for path in parser.parse_args().files:
        found = json.loads(path.read_text())
        for evaluation in found.get("results", []):
            for name, scores in evaluation["scores"].items():
                values = [_value(scores["pooled"], figure) for figure in FIGURES]
                tables[evaluation["data"]][name].append(values)
        for name, figures in found.get("scores", {}).items():
            tables["pasted objects"][name].append([figures[key] for key in ("ap", "fpr95", "auroc")])
    for data, rows in tables.items():
        print(f"\n**{data}**\n\n| score | AP | FPR95 | AUROC |\n|---|---|---|---|")
        for name, results in rows.items():
            cells = [spread(values) for values in zip(*results, strict=True)]
            print(f"| `{name}` | {' | '.join(cells)} |")


def _value(result: dict[str, Any], figure: str) -> float | None:
    found = result[figure]["first_at_least"] if figure == "fpr" else result[figure]
    return None if found is None else found["value"]


def spread(values: Iterable[float | None]) -> str:
    """Mean and, of more than one value, standard deviation, in percent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "–"
    return f"{statistics.mean(known):.1f}" + (f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else "")


if __name__ == "__main__":
    main()
