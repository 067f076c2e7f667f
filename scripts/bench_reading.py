"""Opening of large data sets: processor time of ours and, with --peer, of another version of the package.

    python scripts/bench_reading.py [--count N] [--repeats N] [--only NAME] [--peer FOLDER] [--json FILE]

`--peer` is a checkout of another version, such as `git worktree add FOLDER COMMIT` makes. The two take turns, each
opening in a process of its own; a time is the shortest of the repeats, without imports. All pictures are links to one
file, so that listing, pairing and accounting are what takes time. "start" is all that a training run reads before its
first step: both splits, and for versions that have it the account of unused files and the identity of the inputs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LAYOUTS = ("flat", "nested", "listed")
NAMES = [f"{action}, {layout}" for layout in LAYOUTS for action in ("open", "start")] + ["open, COCO objects"]


def write_pictures(folder: Path, layout: str, count: int) -> None:
    """Write a data set of `count` training pairs and a hundredth as many to validate on."""
    import numpy as np
    from PIL import Image

    first = {"images": folder / "one.png", "masks": folder / "mask.png"}
    folder.mkdir()
    Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(first["images"])
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(first["masks"])
    (folder / "classes.json").write_text(json.dumps({"classes": {"0": "a", "1": "b"}}))
    for split, number in (("train", count), ("val", max(count // 100, 1))):
        ids = [f"{split}_{index:07d}" for index in range(number)]
        for kind, source in first.items():
            place = folder / kind / split if layout == "nested" else folder / kind
            place.mkdir(parents=True, exist_ok=True)
            for position, id in enumerate(ids):
                # File systems allow a file some ten thousand links.
                if position % 10_000:
                    os.link(place / f"{ids[position - position % 10_000]}.png", place / f"{id}.png")
                else:
                    (place / f"{id}.png").write_bytes(source.read_bytes())
        if layout == "listed":
            (folder / f"{split}.txt").write_text("".join(f"{id}\n" for id in ids))
    for path in first.values():
        path.unlink()


def write_coco(folder: Path, count: int) -> None:
    """Write a COCO file of `count` polygons, eight a picture, with the long decimals that converters write."""
    import numpy as np

    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in range(count // 8 + 1):
        (folder / "pictures" / f"{image:06d}.jpg").touch()
        images.append({"id": image, "file_name": f"{image:06d}.jpg", "width": 640, "height": 480})
        for corners in rng.uniform(0, 480, (8, 20)):
            box = [round(float(value), 2) for value in corners[:4]]
            annotation = {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": box}
            annotations.append({**annotation, "area": 900.5, "segmentation": [corners.tolist()]})
    content = {"images": images, "annotations": annotations[:count], "categories": [{"id": 1, "name": "thing"}]}
    (folder / "objects.json").write_text(json.dumps(content))


def child(name: str, folder: Path) -> float:
    """Return the processor time of one opening, in seconds, with the package on the path."""

    def first(*modules: str) -> Any:
        for module in modules:
            try:
                return importlib.import_module(module)
            except ImportError:
                continue
        raise ImportError(modules[0])

    action, layout = name.split(", ")
    work: Callable[[], object]
    if layout == "COCO objects":
        coco = first("gss.data.outliers.coco", "gss.data.coco")

        def work() -> object:
            return coco.CocoObjects(folder / "objects.json", "all", images=folder / "pictures")
    else:
        opening, specs = first("gss.data.open", "gss.data.datasets"), first("gss.data.specs.load", "gss.data.specs")
        if action == "open":

            def work() -> object:
                return opening.open_split(specs.load_spec(folder), "train")
        else:
            splits, config = importlib.import_module("gss.training.splits"), first("gss.config.shared", "gss.config")
            data = config.DataConfig(spec=str(folder))
            try:
                identity = importlib.import_module("gss.training.identity")
            except ImportError:
                identity = None

            def work() -> object:
                found = splits.open_splits(data, seed=0)
                if identity is not None:
                    identity.split_sources(found)
                    opening.training_files(data)
                return found

    started = time.process_time()
    kept = work()
    seconds = time.process_time() - started
    del kept
    return seconds


def measure(name: str, folder: Path, tree: Path) -> float:
    """Run `child` in a process with the package of a tree."""
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tree, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} with {tree} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="pictures, and annotations (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--only", default="", metavar="NAME", help="only rows whose name holds this")
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="checkout of another version")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(child(args.child, args.folder))
        return
    names = [name for name in NAMES if args.only in name]
    if not names:
        parser.error(f"--only {args.only} is in no row: {'; '.join(NAMES)}")
    trees = {"ours": ROOT} | ({"peer": args.peer.resolve()} if args.peer else {})
    rows = []
    print(f"| {args.count} files | " + " | ".join(f"{side} (s)" for side in trees) + " |")
    print("|---|" + "--:|" * len(trees))
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            layout = name.split(", ")[1]
            folder = Path(temporary) / layout
            if not folder.exists():
                write_coco(folder, args.count) if "COCO" in layout else write_pictures(folder, layout, args.count)
            times: dict[str, list[float]] = {side: [] for side in trees}
            for _ in range(args.repeats):
                for side, tree in trees.items():
                    times[side].append(measure(name, folder, tree))
            row = {"name": name, **{f"{side}_s": min(values) for side, values in times.items()}}
            rows.append(row)
            print(f"| {name} | " + " | ".join(f"{min(times[side]):.2f}" for side in trees) + " |", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
