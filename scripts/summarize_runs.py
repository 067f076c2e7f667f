"""Mean and spread over seeds of the final validation figures of several runs.

    python scripts/summarize_runs.py runs/camvid/prior_* runs/camvid/twin_*

Runs whose names differ only in a trailing `_s<seed>` form one row per decode mode.
"""

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of gss train prior or twin")
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for run in parser.parse_args().runs:
        metrics = run / "metrics.jsonl"
        lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
        final = [line for line in lines if any(name.startswith("val_") for name in line)]
        if final:
            groups[re.sub(r"_s\d+$", "", run.name)].append(final[-1])
        else:
            print(f"{run} has no validation figures yet", file=sys.stderr)
    print("| run | decode | seeds | mIoU | boundary F |\n|---|---|---|---|---|")
    for name, finals in groups.items():
        modes = [key[len("val_") : -len("_miou")] for key in finals[0] if key.endswith("_miou")]
        for mode in modes:
            cells = [_spread([final[f"val_{mode}_{score}"] for final in finals]) for score in ("miou", "boundary_f")]
            print(f"| {name} | {mode} | {len(finals)} | {cells[0]} | {cells[1]} |")


def _spread(values: list[float]) -> str:
    mean = f"{100 * statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.2f}"


if __name__ == "__main__":
    main()
