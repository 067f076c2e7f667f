#!/usr/bin/env python
"""Kill runs, damage files, fill disks: every case must end as a right result or one clear line within 20 seconds.

    python scripts/fault_campaign.py                                  # everything; hours
    python scripts/fault_campaign.py --part inputs --count 2000       # some
    python scripts/fault_campaign.py --part kills --seed 3 --json faults.json

Prints every kind of fault with what is needed to repeat it, and a table of counts, after Ctrl-C too. Works in a
temporary folder; nothing else is written. Exit code: 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

# Before torch is imported: forked processes must not wait for threads of their parent.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import numpy as np
from tqdm import tqdm

COUNTS = {"inputs": 10_000, "checkpoints": 48, "kills": 120, "names": 60, "disk": 40, "pairs": 12}
"""Parts, and the cases of each by default."""
_ALIKE = 3  # faults of one kind with the same beginning that are printed; the JSON file has all


def main() -> int:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--part", action="append", choices=tuple(COUNTS), help="default: all")
    parser.add_argument("--count", type=int, help="cases of each part; default: " + str(COUNTS))
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="counts and faults")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    load_everything()
    from faults import checkpoints, disk, inputs, kills, names, pairs
    from faults.case import Case, table, to_json
    from faults.workshop import Workshop

    modules = (inputs, checkpoints, kills, names, disk, pairs)
    parts = {module.__name__.removeprefix("faults."): module for module in modules}
    found: list[Case] = []
    alike: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="gss_faults_") as folder, contextlib.suppress(KeyboardInterrupt):
        shop = Workshop(Path(folder))
        shop.build()
        for number, part in enumerate(args.part or COUNTS):
            count = COUNTS[part] if args.count is None else args.count
            rng = np.random.default_rng([args.seed, number])
            for case in tqdm(parts[part].cases(shop, count, rng), desc=part, total=count, unit="case"):
                found.append(case)
                alike[case.kind, case.text[:30]] += case.end == "fault"
                if case.end == "fault" and alike[case.kind, case.text[:30]] <= _ALIKE:
                    text = " ".join(f"FAULT {case.part} | {case.kind} | {case.what} | {case.text}".split())
                    tqdm.write(text, file=sys.stdout)
    print(table(found).text())
    if args.json is not None:
        args.json.write_text(to_json(found) + "\n", encoding="utf-8")
    return int(any(case.end == "fault" for case in found))


def load_everything() -> None:
    """Import what commands import, once, so that forked processes begin at once."""
    import importlib
    import pkgutil

    import torch

    import gss

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(gss.__path__, "gss."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


if __name__ == "__main__":
    sys.exit(main())
