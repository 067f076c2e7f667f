"""Folders, shards and results for tests of segmentation on a cluster."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed, height=24, width=36):
    """Return a PNG file of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photo_folder(folder, count=7):
    """Write images into two sub-folders, one of them broken, and a file that is no image."""
    for index in range(count):
        path = Path(folder) / f"part{index % 2}" / f"img_{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(index, 20 + 3 * index))
    (Path(folder) / "part0" / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    (Path(folder) / "notes.txt").write_text("no image")
    return Path(folder)


def tar_bytes(members):
    """Return a tar archive of (name, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def results(folder):
    """Return the files of an output by name, and its JSON without times."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name not in ("predictions.json", ".gss.lock")
    }
    report = json.loads((Path(folder) / "predictions.json").read_text())
    for record in report["images"]:
        del record["seconds"]
    return files, report
