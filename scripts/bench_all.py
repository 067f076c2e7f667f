"""Every table of docs/benchmarks.md in one go, as Markdown and JSON: the scripts one after the other, on one thread.

    python scripts/bench_all.py OUT [--trained FOLDER] [--quick] [--repeats N] [--only SCRIPT ...]

Writes OUT/SCRIPT.md and OUT/SCRIPT.json, and OUT/machine.json with the machine, the versions and the commands.
`--trained FOLDER`, a finished `gss quickstart`, adds the rows of trained pipelines. Times are processor times. Nothing
else should run: memory bandwidth and clock are shared.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch

from gss import __version__
from gss.core.files import atomic_path, write_json

SCRIPTS = ("core", "pipeline", "training", "density", "ood", "weak")
TRAINED = ("pipeline", "training")
"""Scripts with rows of trained pipelines."""


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def command(name: str, out: Path, args: argparse.Namespace) -> list[str]:
    """Command line of one script."""
    script = Path(__file__).with_name(f"bench_{name}.py")
    line = [sys.executable, str(script), "--cpu-time", "--repeats", str(args.repeats), "--json", str(out)]
    line += ["--quick"] if args.quick else []
    return line + (["--trained", str(args.trained)] if args.trained and name in TRAINED else [])


def main() -> int:
    """Run the scripts; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trained", type=Path, help="folder of a finished quickstart")
    parser.add_argument("--quick", action="store_true", help="small inputs: a check that it runs")
    parser.add_argument("--repeats", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="default: all")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    facts = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    facts |= {"torch": torch.__version__, "gss": __version__}
    runs, failed = [], []
    for name in args.only:
        line, started = command(name, args.out / f"{name}.json", args), time.monotonic()
        print(f"{name}: {shlex.join(line)}", flush=True)
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
        table = [row for row in done.stdout.splitlines() if row.startswith("|")]
        with atomic_path(args.out / f"{name}.md") as path:
            path.write_text("\n".join(table) + "\n", encoding="utf-8")
        seconds = round(time.monotonic() - started)
        shown = shlex.join(["python", f"scripts/bench_{name}.py", *line[2:]])
        runs.append({"command": shown, "seconds": seconds, "exit_code": done.returncode})
        write_json(args.out / "machine.json", facts | {"runs": runs})
        print("\n".join(table) + f"\n{name}: {seconds} s", flush=True)
        failed += [name] if done.returncode else []
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
