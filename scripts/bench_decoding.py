"""Reading the tokens of a trained pipeline: time against its twin, labels and figures against reading all codes.

    python scripts/bench_decoding.py PIPELINE [--data SPEC] [--root FOLDER] [--split NAME] [--limit N] [--size HxW]
        [--quick] [--json FILE]

Each decode mode is read as commands read it (few codes in cells that the auxiliary head is certain of) and with all
codes in all cells. The twin is the same network read out from its auxiliary head, without token classifier and decoder.
All ways run in turns on each image of a data set, on one thread; their processor times are summed up. `max_error` is
the share of the pixels with another label than with all codes; the differences of mIoU and of the expected calibration
error are in points of a percent. Peaks are those of the first image, in processes of their own.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from bench_core import Case, Row, forked_peak_mb, table
from torch import Tensor

from gss.cli.parser import run_size
from gss.core.files import write_json
from gss.core.machine import keep_memory
from gss.core.progress import Progress
from gss.core.sampling import evenly_spaced
from gss.data.open import open_split
from gss.data.protocols import ReadableImages
from gss.data.specs.load import load_spec
from gss.metrics import SegmentationMetrics
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline

TWIN = ("aux", True)
Way = tuple[str, bool]
"""Decode mode, and whether all codes are read."""


def read(pipeline: GSSPipeline, image: Any, way: Way, size: Any) -> Tensor:
    """Class probabilities [K, H, W] of one image."""
    mode, exact = way
    return pipeline.predict_probabilities([image], modes=[mode], exact=exact, size=size)[mode][0]


def peaks_mb(pipeline: GSSPipeline, image: Any, ways: list[Way], size: Any) -> dict[Way, float]:
    """Peak of each way in a process of its own."""

    def peak(way: Way) -> float:
        def build(_: bool) -> Case:
            def run() -> Tensor:
                return read(pipeline, image, way, size)

            return Case(run, run, None)

        return forked_peak_mb(Row("", "", build), "ours", False)

    return {way: peak(way) for way in ways}


def measure(pipeline: GSSPipeline, dataset: ReadableImages, indices: list[int], size: Any) -> list[dict[str, Any]]:
    """Rows of all decode modes against the twin and against all codes."""
    modes = [mode for mode in pipeline.decode_modes if mode not in ("aux", "refined")]
    ways = [TWIN, *((mode, exact) for mode in modes for exact in (False, True))]
    metrics = {way: SegmentationMetrics(len(dataset.label_space.names)) for way in ways}
    seconds, others, pixels = dict.fromkeys(ways, 0.0), dict.fromkeys(modes, 0), 0
    # First of all: a process forked from one that has computed inherits free memory that hides the rise.
    peaks = peaks_mb(pipeline, dataset.read(indices[0])[0], ways, size)

    with Progress(len(indices), "reading") as bar:
        for index in indices:
            image, labels = dataset.read(index)
            found = {}
            for way in ways:
                start = time.process_time()
                result = read(pipeline, image, way, size)
                seconds[way] += time.process_time() - start
                metrics[way].update(result, labels)
                found[way] = result.argmax(0)
            for mode in modes:
                others[mode] += int((found[mode, False] != found[mode, True]).sum())
            pixels += labels.size
            bar.update(1)

    figures = {way: metric.compute() for way, metric in metrics.items()}

    def row(way: Way, peer: Way, **facts: Any) -> dict[str, Any]:
        ours, theirs = (seconds[side] / len(indices) for side in (way, peer))
        mode, exact = way
        times = {"ours_s": ours, "peer_s": theirs, "ratio": theirs / ours}
        memory = {"ours_peak_mb": round(peaks[way], 1), "peer_peak_mb": round(peaks[peer], 1)}
        name = {"name": f"{mode}{', all codes' * exact}", "peer": "twin" if peer == TWIN else "all codes"}
        return name | times | memory | {"max_error": None} | facts

    rows = []
    for mode in modes:
        few, all_codes = figures[mode, False], figures[mode, True]
        facts = {"max_error": others[mode] / pixels}
        facts |= {f"{name}_difference": 100 * (few[name] - all_codes[name]) for name in ("miou", "ece")}
        rows += [row((mode, False), TWIN), row((mode, True), TWIN), row((mode, False), (mode, True), **facts)]
    return rows


def differences(rows: list[dict[str, Any]]) -> str:
    """Markdown table of what reading few codes changes."""
    lines = ["| decode mode | other labels, % | mIoU, points | calibration error, points |", "|---|--:|--:|--:|"]
    for row in rows:
        if row["peer"] == "all codes":
            changes = f"{row['miou_difference']:+.3f} | {row['ece_difference']:+.3f}"
            lines.append(f"| {row['name']} | {100 * row['max_error']:.4f} | {changes} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pipeline", help="folder of a trained pipeline")
    parser.add_argument("--data", default="scenes", metavar="SPEC", help="default: %(default)s")
    parser.add_argument("--root", metavar="FOLDER", help="folder of the data set")
    parser.add_argument("--split", default="val", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--limit", type=int, metavar="N", help="images, evenly spaced (default: all)")
    parser.add_argument("--size", type=run_size, metavar="SIZE", help="as in gss predict")
    parser.add_argument("--quick", action="store_true", help="two images: a check that it runs")
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as the commands do, and so is the next line
    keep_memory()
    pipeline = load_pipeline(args.pipeline, device="cpu")
    dataset = open_split(load_spec(args.data, args.root), args.split)
    rows = measure(pipeline, dataset, evenly_spaced(len(dataset), 2 if args.quick else args.limit), args.size)
    print(f"{table(rows)}\n\n{differences(rows)}")
    if args.json:
        write_json(args.json, rows)


if __name__ == "__main__":
    main()
