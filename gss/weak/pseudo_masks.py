"""Pseudo-masks on disk: one layout for every producer, which is at once a data set to train on.

FOLDER/
data.yaml              the images' data set with these labels in one split; written last
manifest.json          who made them, from what, and counts of every mask
labelled.txt           ids of the images with a mask
masks/ID.png           palette image, 255 = the producer abstains
confidence/ID.png      grey, 8 or 16 bits, white is certain; optional
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import atomic_path, write_json
from gss.core.outputs import prepare_output
from gss.data.export import require_files, write_spec
from gss.data.files import find_files
from gss.data.images import MASK_SUFFIXES, image_size, load_mask
from gss.data.specs.load import load_spec
from gss.data.specs.spec import FOLDER_SPEC, DataSpec
from gss.data.weak.pictures import load_confidence, save_confidence, save_mask
from gss.data.weak.readers.base import check_size
from gss.data.weak.readers.masks import decode_mask, state_coding
from gss.labels.space import IGNORE_INDEX

MANIFEST = "manifest.json"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class PseudoMask:
    """Labels that a producer gives an image.

    Args:
        id: of the image.
        labels: uint8 `[H, W]`, 255 where it abstains.
        confidence: float `[H, W]` in 0..1; None if the producer has none.
    """

    id: str
    labels: np.ndarray
    confidence: np.ndarray | None = None


class PseudoMaskWriter:
    """Writes a folder of pseudo-masks; a context manager.

    Every file is written atomically. `manifest.json` and `data.yaml` come last, and older ones go before the first
    mask is written, so that a folder whose producer was stopped is no data set, and one whose producer never began is
    what it was. Under several processes each adds its images, and all must enter and leave the context.

    Args:
        folder: output folder.
        spec: data set of the images, from files.
        split: whose labels these are.
        producer: name of what makes them.
        config: its settings, JSON-able; the manifest holds them and their hash.
        form: kind of labels they were made from, such as "points".
        bits: of confidence images, 8 or 16.
        overwrite: accept a folder that holds files.

    Raises:
        ValueError: the folder is in use, the split does not exist, or the images are no files; on leaving, no pixel of
            any mask is labelled.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: DataSpec,
        split: str,
        *,
        producer: str,
        config: Mapping[str, Any] | None = None,
        form: str = "",
        bits: int = 8,
        overwrite: bool = False,
    ) -> None:
        require_files(spec)
        spec.check_split(split)
        self.folder, self.spec, self.split = Path(folder), spec, split
        self.producer, self.config, self.form, self.bits = producer, dict(config or {}), form, bits
        self._overwrite = overwrite
        self._rows: list[dict[str, Any]] = []
        self._started = time.time()

    @property
    def config_hash(self) -> str:
        """Eight hexadecimal digits that name producer and settings."""
        text = json.dumps([self.producer, self.config], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def __enter__(self) -> PseudoMaskWriter:
        """Prepare the folder."""
        if distributed.is_main():
            prepare_output(self.folder, overwrite=self._overwrite)
        distributed.barrier()
        return self

    def add(self, mask: PseudoMask) -> None:
        """Write one mask.

        Raises:
            ValueError: labels outside the classes, confidence outside 0..1, or sizes that differ.
        """
        labels, K = mask.labels, self.spec.label_space.num_classes
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise InputError(f"labels of {mask.id!r} must be uint8 [H, W], got {labels.dtype} {list(labels.shape)}")
        counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
        if counts[K:IGNORE_INDEX].any():
            raise InputError(
                f"labels of {mask.id!r} hold {K + int(counts[K:].argmax())}, allowed are 0..{K - 1} and 255"
            )
        row: dict[str, Any] = {
            "id": mask.id,
            "size": list(labels.shape),
            "pixels": {self.spec.label_space.names[k]: int(counts[k]) for k in np.flatnonzero(counts[:K])},
            "labelled": float(1 - counts[IGNORE_INDEX] / labels.size),
        }
        if mask.confidence is not None and mask.confidence.shape != labels.shape:
            raise InputError(f"confidence of {mask.id!r} is {mask.confidence.shape}, labels are {labels.shape}")
        if not self._rows:
            for name in (MANIFEST, FOLDER_SPEC):
                (self.folder / name).unlink(missing_ok=True)
        if mask.confidence is not None:
            save_confidence(self.folder / "confidence" / f"{mask.id}.png", mask.confidence, bits=self.bits)
            known = labels != IGNORE_INDEX
            row["confidence"] = float(mask.confidence[known].mean()) if known.any() else None
        save_mask(self.folder / "masks" / f"{mask.id}.png", labels, self.spec.label_space)
        self._rows.append(row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write manifest and spec, unless an error came up."""
        if kind is None:
            self._finish()

    def _finish(self) -> None:
        rows = sorted((row for part in distributed.gather_objects(self._rows) for row in part), key=lambda r: r["id"])
        if not rows:
            raise InputError(f"no pseudo-mask was made for {self.folder}: there is nothing to train on")
        names = self.spec.label_space.names
        pixels = {name: sum(row["pixels"].get(name, 0) for row in rows) for name in names}
        if not any(pixels.values()):
            raise InputError(
                f"none of the {len(rows)} masks in {self.folder} has a labelled pixel: there is nothing to train on; "
                "look at the labels they were made from, and at the thresholds of their producer"
            )
        if not distributed.is_main():
            return
        with_confidence = sum("confidence" in row for row in rows)
        if 0 < with_confidence < len(rows):
            raise InputError(f"{with_confidence} of {len(rows)} pseudo-masks have a confidence: give it to all or none")
        write_json(
            self.folder / MANIFEST,
            {
                "version": _VERSION,
                "producer": self.producer,
                "config": self.config,
                "config_hash": self.config_hash,
                "data": self.spec.name,
                "split": self.split,
                "form": self.form,
                "seconds": time.time() - self._started,
                "classes": list(names),
                "pixels": pixels,
                "never_labelled": [name for name, count in pixels.items() if count == 0],
                "labelled": float(np.mean([row["labelled"] for row in rows])),
                "all_abstain": [row["id"] for row in rows if not row["pixels"]],
                "masks": rows,
            },
        )
        with atomic_path(self.folder / "labelled.txt") as temporary:
            temporary.write_text("".join(f"{row['id']}\n" for row in rows), encoding="utf-8")
        weak = {"format": "masks", "path": "masks/{id}.png", "only": "labelled.txt"}
        if with_confidence:
            weak["confidence"] = "confidence/{id}.png"
        name = f"{self.spec.name}_{self.producer}_{self.config_hash}"
        write_spec(self.folder, self.spec, name=name, split=self.split, weak=weak)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Content of `manifest.json`.

    Raises:
        ValueError: the folder holds none, so its producer did not finish, or it is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no {MANIFEST}: it is no folder of pseudo-masks, or its producer was stopped"
        ) from None
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def summary(folder: str | Path) -> str:
    """What a folder of pseudo-masks holds, and what to do with it, in a few lines."""
    manifest = read_manifest(folder)
    lines = [f"{len(manifest['masks'])} masks, {100 * manifest['labelled']:.1f} % of their pixels labelled"]
    if manifest["all_abstain"]:
        lines.append(f"{len(manifest['all_abstain'])} of them label nothing, first: {manifest['all_abstain'][0]}")
    if manifest["never_labelled"]:
        lines.append(f"never labelled: {', '.join(manifest['never_labelled'])}")
    lines.append(f"written to {folder}; judge them with gss weak report {folder} --truth SPEC,")
    lines.append(f"train on them with data.spec={folder} data.train_split={manifest['split']}")
    return "\n".join(lines)


def import_masks(
    spec: DataSpec, split: str, masks: str | Path, *, confidence: str | Path | None = None
) -> Iterator[PseudoMask]:
    """Masks of a folder, `ID.png` or another lossless format, for the images of a split.

    Class numbers, and 255 or the number of classes for abstention; an image without a mask is left out. Several
    processes share the images.

    Raises:
        ValueError: no mask fits an image, a mask fits none, or one is unreadable, of another size or with other
            values; names the file and the fix.
    """
    folder = Path(masks)
    if not folder.is_dir():
        raise InputError(f"folder of masks not found: {folder}")
    found = find_files(folder, "{id}.*", MASK_SUFFIXES)
    sure = {} if confidence is None else find_files(Path(confidence), "{id}.*", MASK_SUFFIXES)
    samples = spec.samples(split)
    known = {sample.id for sample in samples}
    strange = sorted(found.keys() - known)
    if strange:
        raise InputError(
            f"{len(strange)} masks in {folder} belong to no image of split {split!r}, first: {found[strange[0]].name}; "
            "name masks as images are, or give another --split"
        )
    K = spec.label_space.num_classes
    samples = [sample for sample in samples if sample.id in found]
    if not samples:
        raise InputError(
            f"no mask in {folder} has the name of an image of split {split!r}, such as {sorted(known)[0]}.png"
        )
    mine, coded = distributed.shard(len(samples)), False
    for index in tqdm(mine, desc="importing", unit="img", disable=None if distributed.is_main() else True):
        sample = samples[index]
        size = image_size(sample.image)
        raw = load_mask(found[sample.id])
        check_size(found[sample.id], sample.id, (raw.shape[0], raw.shape[1]), size)
        labels, by_count = decode_mask(raw, K, found[sample.id])
        if by_count and not coded:
            coded = True
            state_coding(raw, K, found[sample.id])
        trust = None
        if confidence is not None:
            if sample.id not in sure:
                raise InputError(f"no confidence for {sample.id!r} in {confidence}: give it for all masks or none")
            trust = load_confidence(sure[sample.id], size)
        yield PseudoMask(sample.id, labels, trust)


def main(args: argparse.Namespace) -> None:
    """Handle `gss weak import`."""
    spec = load_spec(args.spec, args.root)
    config = {"masks": str(args.masks), "confidence": args.confidence and str(args.confidence)}
    writer = PseudoMaskWriter(
        args.out, spec, args.split, producer=args.producer, config=config, bits=16, overwrite=args.overwrite
    )
    with writer:
        for mask in import_masks(spec, args.split, args.masks, confidence=args.confidence):
            writer.add(mask)
    if distributed.is_main():
        print(summary(args.out))
