"""Ways to share images out: one process, two processes of a launcher, two actors of Ray; each process has one thread.

    python scripts/bench_many.py [--pipeline FOLDER] [--images N ...] [--quick] [--only NAME] [--json FILE] [--cpu-time]

Times are those of whole commands on a clock, with their start; with --cpu-time it is the processor time of all
processes of a command, which other work on a busy machine changes less. Images are generated scenes of 360x480 pixels.
A peak is the largest sum of the resident memory of a command and its descendants, looked at ten times a second.
`max_error` is the share of the files of masks that differ from those of the peer. What a command takes before its first
image and what an image takes follow from two numbers of images, T = start + N * image; both are printed, on the clock
and of the processor.

Two processes come from `torchrun`, as accelerate's launcher starts only one on CPUs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from bench_core import table

from gss.core.files import write_json
from gss.data.open import open_split
from gss.data.specs.load import load_spec

ROOT = Path(__file__).resolve().parents[1]
SIZE = (360, 480)
WAYS = ("one process", "two processes", "two actors")


@dataclass(frozen=True)
class Run:
    """One command: seconds on the clock and of the processors, peak of the memory in MB, and its output."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    out: Path

    @property
    def masks(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.out.glob("*_mask.png")}


def write_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write generated scenes; of more than 16 some are the same."""
    dataset = open_split(load_spec("scenes"), "val")
    height, width = size
    pictures = [dataset.read(index)[0].resize((width, height)) for index in range(min(count, 16))]
    folder.mkdir(parents=True)
    for index in range(count):
        pictures[index % len(pictures)].save(folder / f"{index:05d}.jpg", quality=95)


def command(way: str, pipeline: str, images: Path, out: Path) -> list[str]:
    """Command line of one way."""
    predict = ["predict", pipeline, "--out", str(out), "--outputs", "mask"]
    if way == "one process":
        return [sys.executable, "-m", "gss", *predict, str(images)]
    if way == "two processes":
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        return [sys.executable, *launch, "-m", "gss", *predict, str(images)]
    return [sys.executable, "-m", "gss", *predict, "--engine", "ray", "--actors", "2", "--source", str(images)]


def measure(way: str, pipeline: str, images: Path, out: Path) -> Run:
    """Run one way, and watch its memory."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    peak, started = 0, time.perf_counter()
    spent: dict[tuple[int, float], float] = {}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command(way, pipeline, images, out), env=environment, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, look(process.pid, spent))
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{way} failed:\n{said.read()}")
    return Run(seconds, sum(spent.values()), peak / 2**20, out)


def look(pid: int, spent: dict[tuple[int, float], float]) -> int:
    """Note the processor seconds of a process and its descendants so far, and return their resident bytes."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_info().rss
            times = process.cpu_times()
            spent[process.pid, process.create_time()] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


def row(way: str, count: int, ours: Run, peer: Run, *, cpu: bool) -> dict[str, Any]:
    """One row of the table."""
    seconds, theirs_s = (run.cpu_seconds if cpu else run.seconds for run in (ours, peer))
    theirs, found = peer.masks, ours.masks
    differing = sum(found.get(name) != data for name, data in theirs.items()) / max(1, len(theirs))
    return {
        "name": f"{way}, {count} images",
        "peer": "one process",
        "ours_s": seconds,
        "peer_s": theirs_s,
        "ratio": theirs_s / seconds,
        "ours_peak_mb": ours.peak_mb,
        "peer_peak_mb": peer.peak_mb,
        "max_error": float(differing),
    }


def main() -> int:
    """Measure, print the table, and write it on demand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipeline", default=str(ROOT / "zoo" / "camvid-lite0"), help="default: zoo/camvid-lite0")
    parser.add_argument("--images", nargs="+", type=int, default=[16, 256], help="numbers of images, default: 16 256")
    parser.add_argument("--quick", action="store_true", help="few small images: a check that it runs")
    parser.add_argument("--only", metavar="NAME", help="ways whose name contains this, such as actors")
    parser.add_argument("--cpu-time", action="store_true", help="processor instead of wall-clock time")
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    args = parser.parse_args()
    counts, size = ([2], (64, 96)) if args.quick else (sorted(args.images), SIZE)
    chosen = [way for way in WAYS[1:] if args.only is None or args.only in way]
    if not chosen:
        parser.error(f"--only {args.only} is in no row")
    runs: dict[tuple[str, int], Run] = {}
    rows = []
    folder = Path(tempfile.mkdtemp())
    try:
        for count in counts:
            images = folder / f"images{count}"
            write_images(images, count, size)
            for way in (WAYS[0], *chosen):
                runs[way, count] = measure(way, args.pipeline, images, folder / f"{way} {count}".replace(" ", "_"))
                if way != WAYS[0]:
                    rows.append(row(way, count, runs[way, count], runs[WAYS[0], count], cpu=args.cpu_time))
        print(table(rows))
        for way in (WAYS[0], *chosen) if len(counts) > 1 else ():
            few, many = runs[way, counts[0]], runs[way, counts[-1]]
            for kind in ("seconds", "cpu_seconds"):
                image = (getattr(many, kind) - getattr(few, kind)) / (counts[-1] - counts[0])
                start = getattr(few, kind) - counts[0] * image
                print(f"{way}, {kind}: {start:.1f} s to start, then {image:.3f} s an image")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"load of this machine (1, 5, 15 minutes): {' '.join(f'{value:.1f}' for value in os.getloadavg())}")
    if args.json:
        write_json(args.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
