"""Damaged files for every reader, in processes with limited time and memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image

from faults import samples
from faults.case import Case
from faults.commands import LIMIT, PATIENCE
from faults.mutate import hostile, mutate, variants
from faults.workshop import Workshop
from gss.core.errors import InputError
from gss.data.weak.names import ClassNames
from gss.data.weak.readers import READERS, Options
from gss.labels.space import LabelSpace

_MEMORY = 3 << 30  # bytes that a reader may take besides what is loaded
_LONGEST = 2000  # characters of a message


@dataclass
class Reader:
    """A reader and the file it reads.

    Attributes:
        name: name in the table.
        target: path of the file that is damaged, below the folder of the case.
        content: its good content.
        read: function of the folder of the case.
        beside: further files, or folders to copy, by path.
        share: number of cases in proportion to those of other readers.
    """

    name: str
    target: str
    content: bytes
    read: Callable[[Path], object]
    beside: dict[str, bytes | Path] = field(default_factory=dict)
    share: int = 40


def readers(shop: Workshop | None) -> list[Reader]:
    """Return all readers; without a workshop those that need no data set and no model."""
    simple = [*_images(), *_masks(), *_weak_labels(), *_objects()]
    return simple if shop is None else [*simple, *_texts(shop), *_models(shop)]


def cases(shop: Workshop | None, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """Yield about `count` cases, spread over the readers."""
    table = readers(shop)
    total = sum(reader.share for reader in table)
    for reader in table:
        number = max(5, round(count * reader.share / total))
        yield from try_reader(reader, number, int(rng.integers(1 << 31)))


def contents(reader: Reader, count: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of damaged files: the well-known kinds, odd values, then random changes."""
    suffix = Path(reader.target).suffix
    known = hostile(suffix, reader.content)
    odd: list[bytes] = []
    if suffix in (".json", ".xml", ".csv", ".txt") and len(reader.content) < 5000:
        odd = list(variants(suffix, reader.content))
        odd = [odd[index] for index in rng.permutation(len(odd))[: count // 3].tolist()]
    changed = ((f"mutation {n}", mutate(reader.content, rng)) for n in range(count))
    yield "the good file", reader.content
    yield from islice(chain(known.items(), ((f"odd value {n}", c) for n, c in enumerate(odd)), changed), count - 1)


def try_reader(reader: Reader, count: int, seed: int) -> Iterator[Case]:
    """Read `count` damaged files in a process of their own, in a new one after each that ends it."""
    done = 0
    while done < count:
        with tempfile.TemporaryDirectory(prefix="gss_inputs_") as name:
            folder = Path(name)
            log = folder / "log"
            pid = os.fork()
            if pid == 0:
                _child(reader, count, seed, done, folder / "case", log)
            begun = time.time()
            while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
                if time.time() - (log.stat().st_mtime if log.exists() else begun) > PATIENCE:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
            lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        for line in lines:
            if "end" in line:
                yield Case("input", reader.name, line["what"], line["end"], line["seconds"], line["text"])
        done += sum("end" in line for line in lines)
        if done < count:
            what = lines[-1]["what"] if lines and "end" not in lines[-1] else "start"
            code = os.waitstatus_to_exitcode(ended[1])
            yield Case("input", reader.name, what, "fault", 0.0, f"the process ended with {code}")
            done += 1


def _child(reader: Reader, count: int, seed: int, skip: int, folder: Path, log: Path) -> None:
    code = 1
    try:
        warnings.simplefilter("ignore")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.dup2(null, 1)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGPROF, _too_late)
        folder.mkdir()
        for path, content in reader.beside.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copytree(content, folder / path, dirs_exist_ok=True)
            else:
                (folder / path).write_bytes(content)
        (folder / reader.target).parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", buffering=1) as file:
            for number, (what, content) in enumerate(contents(reader, count, np.random.default_rng(seed))):
                if number < skip:
                    continue
                file.write(json.dumps({"what": what}) + "\n")
                (folder / reader.target).write_bytes(content)
                end, seconds, text = _judge(reader, folder)
                end = "fault" if number == 0 and end != "result" else end  # a test of the campaign itself
                file.write(json.dumps({"what": what, "end": end, "seconds": seconds, "text": text}) + "\n")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _too_late(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT:.0f} s")


def _judge(reader: Reader, folder: Path) -> tuple[str, float, str]:
    """Return the end, the seconds and the message of one case."""
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        reader.read(folder)
        end, text = "result", ""
    except (InputError, OSError) as error:
        text = str(error)
        names = ["data set 'tiny'", *(Path(path).name for path in (reader.target, *reader.beside))]
        named = str(folder) in text or any(name in text for name in names)
        clear = not isinstance(error, TimeoutError) and named and "\n" not in text and len(text) <= _LONGEST
        end = "clear line" if clear else "fault"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/gss/" in frame.filename or "/vqvae/" in frame.filename]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        end, text = "fault", f"{type(error).__name__} at {place}: {error}"[:_LONGEST]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return end, time.process_time() - begun, text


def _load(function: Callable[[Path], object], name: str, folder: Path) -> object:
    return function(folder / name)


def _images() -> list[Reader]:
    from gss.data.images import load_image

    rgb = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x0131] = 6, "a camera"
    forms = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "ppm": "PPM"}
    found = []
    for suffix, form in forms.items():
        more = {"exif": exif} if suffix in ("png", "jpg", "webp") else {}
        name = f"image.{suffix}"
        content = samples.picture(rgb, form, **more)
        found.append(Reader(f"image {suffix}", name, content, partial(_load, load_image, name)))
    return found


def _masks() -> list[Reader]:
    from gss.data.images import load_color_mask, load_mask
    from gss.data.weak.pictures import load_confidence

    labels = np.random.default_rng(0).integers(0, 5, (9, 12), dtype=np.uint8)
    forms = {"png": "PNG", "tif": "TIFF", "bmp": "BMP", "pgm": "PPM", "gif": "GIF"}
    found = []
    for suffix, form in forms.items():
        name, content = f"mask.{suffix}", samples.picture(labels, form)
        found.append(Reader(f"mask {suffix}", name, content, partial(_load, load_mask, name)))
    color = samples.picture(np.repeat(labels[..., None], 3, 2))
    deep = samples.picture(labels.astype(np.uint16) * 1000)
    return [
        *found,
        Reader("mask of colors", "mask.png", color, lambda folder: load_color_mask(folder / "mask.png")),
        Reader("mask of 16 bits", "mask.png", deep, lambda folder: load_mask(folder / "mask.png")),
        Reader("confidence", "mask.png", deep, lambda folder: load_confidence(folder / "mask.png", (9, 12))),
    ]


def _weak_labels() -> list[Reader]:
    names = ClassNames(LabelSpace(samples.CLASSES))

    def read(form: str, suffix: str, folder: Path) -> object:
        ids = folder / "ids.txt" if suffix == ".npy" else None
        reader = READERS[form](Options(names, background=0, ids=ids))
        return reader.read(folder / f"labels{suffix}", "a", samples.SIZE).clipped().rasterize()

    return [
        Reader(
            f"weak labels: {name}",
            f"labels{suffix}",
            content,
            partial(read, form, suffix),
            {"ids.txt": samples.IDS} if suffix == ".npy" else {},
        )
        for name, (form, suffix, content) in samples.WEAK_LABELS.items()
    ]


def _objects() -> list[Reader]:
    from gss.data.outliers.objects import open_objects

    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    numbers = np.zeros((20, 30, 3), np.uint8)
    numbers[3:9, 4:12, 0] = 7
    pictures: dict[str, bytes | Path] = {
        "pictures/1.png": samples.picture(noise),
        "pictures/2.png": samples.picture(noise),
    }
    masks = {"panoptic/1.png": samples.picture(numbers)}
    folder_objects: dict[str, bytes | Path] = {
        "images/a.png": samples.picture(noise),
        "masks/a.png": samples.picture((numbers[..., 0] > 0).astype(np.uint8)),
        "classes.json": samples.encoded({"classes": {"0": "background", "1": "object"}}),
    }

    def cut_all(file: Path, images: Path | None = None) -> object:
        objects = open_objects(file, "all", images=images)
        return [objects.cut(index) for index in range(len(objects))]

    def read(name: str) -> Callable[[Path], object]:
        return lambda folder: cut_all(folder / name, folder / "pictures")

    whole = samples.encoded(samples.PANOPTIC)
    return [
        Reader("COCO instances", "coco.json", samples.encoded(samples.COCO_OBJECTS), read("coco.json"), pictures),
        Reader("COCO panoptic", "panoptic.json", whole, read("panoptic.json"), {**pictures, **masks}),
        Reader(
            "COCO panoptic mask",
            "panoptic/1.png",
            masks["panoptic/1.png"],
            read("panoptic.json"),
            {**pictures, "panoptic.json": whole},
        ),
        Reader(
            "objects.json",
            "objects.json",
            samples.encoded([{"name": "a", "category": "box"}]),
            lambda folder: cut_all(folder),
            folder_objects,
        ),
    ]


def _texts(shop: Workshop) -> list[Reader]:
    from gss.config.io import load_config
    from gss.config.prior import PriorConfig
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec
    from gss.jobs.weak_run.inputs import read_classes
    from gss.labels.mapping_files import load_mapping
    from gss.training.engine.log import read_metrics
    from gss.weak.manifest import read_manifest

    spec = (
        b"name: tiny\nroot: .\nimage: images/train/{id}.png\nmask: masks/train/{id}.png\nsplits: [train]\n"
        b"classes: [sky, road, tree]\nlabel_map: [0, 1, [2, 3, 4, 5, 6, 7, 8, 9, 10]]\nignore: 255\n"
    )
    mapping = b"from: [sky, road, tree]\nto: [air, ground]\nmap:\n  sky: air\n  road: ground\n  tree: null\n"
    names = b"sky\nroad\ntree\n"
    data: dict[str, bytes | Path] = {"images": shop.data / "images", "masks": shop.data / "masks"}
    classes = (shop.data / "classes.json").read_bytes()

    def open_spec(ref: Path, split: str) -> object:
        dataset = open_split(load_spec(ref), split)
        return [dataset.read(index) for index in range(min(2, len(dataset)))]

    row = {"id": "a", "size": [9, 12], "pixels": {"sky": 3}, "labelled": 0.5}
    manifest = samples.encoded(
        {
            **{"version": 1, "producer": "sam", "config": {}, "config_hash": "1854f88c", "data": "d", "split": "train"},
            **{"form": "gss", "seconds": 1.5, "classes": ["sky", "road"], "pixels": {"sky": 3, "road": 0}},
            **{"never_labelled": ["road"], "labelled": 0.5, "all_abstain": [], "failed": [], "masks": [row]},
        }
    )
    metrics = b'{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0, "val_miou": 0.5}\n'
    return [
        Reader("list", "train.txt", b"0\n1\n2\n", lambda f: open_spec(f, "train"), {**data, "classes.json": classes}),
        Reader("classes.json", "classes.json", classes, lambda f: open_spec(f, "train"), data),
        Reader("spec", "spec.yaml", spec, lambda f: open_spec(f / "spec.yaml", "train"), data),
        Reader(
            "settings",
            "config.yaml",
            (shop.pipeline.parent / "config.yaml").read_bytes(),
            lambda f: load_config(PriorConfig, [str(f / "config.yaml")], []),
        ),
        Reader("mapping", "map.yaml", mapping, lambda f: load_mapping(f / "map.yaml", open_space=_no_space)),
        Reader("classes in text", "names.txt", names, lambda f: read_classes(f / "names.txt")),
        Reader("classes in YAML", "names.yaml", b"- sky\n- road\n", lambda f: read_classes(f / "names.yaml")),
        Reader("metrics", "metrics.jsonl", metrics, read_metrics),
        Reader("manifest", "manifest.json", manifest, read_manifest),
    ]


def _no_space(name: str) -> LabelSpace:
    raise InputError(f"map.yaml: no data set {name!r}")


def _models(shop: Workshop) -> list[Reader]:
    from gss.pipeline.loading import load_pipeline
    from gss.posterior.bundle import Posterior

    found = []
    for name, folder, load in (
        ("pipeline", shop.pipeline, load_pipeline),
        ("posterior", shop.posterior, Posterior.from_pretrained),
    ):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".json", ".safetensors"):
                inner = path.relative_to(folder)
                found.append(
                    Reader(
                        f"{name}: {inner}",
                        f"model/{inner}",
                        path.read_bytes(),
                        partial(_load, load, "model"),
                        {"model": folder},
                        share=3,
                    )
                )
    return found
