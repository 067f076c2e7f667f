"""Mean and spread over seeds of what `gss evaluate-shifts --json` wrote.

    python scripts/summarize_shifts.py runs/shifts.json

Pipelines whose folders differ in a trailing _s0, _s1, ... alone are seeds of one model. One Markdown table
with the means over all shifts and severities, one with the mIoU by shift.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from summarize_ood import spread

_SEED = r"_s\d+(?=/|$)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="file of gss evaluate-shifts --json")
    found = json.loads(parser.parse_args().file.read_text())
    models: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, cell in found["pipelines"].items():
        for mode, means in cell["summary"]["modes"].items():
            models[f"{re.sub(_SEED, '', name)} · {mode}"].append(means)
    print("| model · decode | clean mIoU | shifted mIoU | drop of mIoU | clean ECE | shifted ECE |")
    print("|---|---|---|---|---|---|")
    for model, seeds in models.items():
        cells = [spread(means["miou"][key] for means in seeds) for key in ("clean", "shifted", "drop")]
        cells += [spread(means["ece"][key] for means in seeds) for key in ("clean", "shifted")]
        print(f"| {model} | {' | '.join(cells)} |")
    print(f"\n| shift | {' | '.join(models)} |\n|---|{'---|' * len(models)}")
    for shift in found["shifts"]:
        cells = [spread(means["miou"]["by_shift"][shift] for means in seeds) for seeds in models.values()]
        print(f"| `{shift}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
