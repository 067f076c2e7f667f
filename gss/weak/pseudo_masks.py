"""Folders of pseudo-masks: one layout for every producer, which is at once a data set to train on.

FOLDER/
data.yaml              data set of the images with these labels in one split; written last
manifest.json          `gss.weak.manifest.Manifest`
labelled.txt           ids of the images with a mask
masks/ID.png           palette image, 255 = the producer abstains
confidence/ID.png      grey, 8 or 16 bits, white is certain; optional
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import atomic_path, is_disk_error, write_json
from gss.core.outputs import check_apart, prepare_output
from gss.data.export import require_files, write_spec
from gss.data.specs.spec import FOLDER_SPEC, DataSpec
from gss.data.weak.pictures import save_confidence, save_mask
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX
from gss.weak.manifest import MANIFEST, Failure, Manifest, MaskRecord


def require_labels(spec: DataSpec) -> None:
    """Refuse generated data sets, whose images have full masks and no labels that a producer could use."""
    if spec.generator is not None:
        raise InputError(f"data set {spec.name!r} is generated and has full masks; make weak labels of it first")


@dataclass(frozen=True, eq=False)
class PseudoMask:
    """Labels that a producer gives an image.

    Args:
        id: id of the image.
        labels: uint8 `[H, W]`, 255 where the producer abstains.
        confidence: float `[H, W]` in 0..1; None if the producer has none.
    """

    id: str
    labels: np.ndarray
    confidence: np.ndarray | None = None


class PseudoMaskWriter:
    """Writer of a folder of pseudo-masks; a context manager.

    Every file is written atomically. Old `manifest.json` and `data.yaml` are deleted before the first mask is written,
    and new ones are written last. An interrupted run therefore leaves a folder that cannot be loaded as a data set; a
    run that fails before the first mask changes nothing. Each of several processes adds its own images, and all of
    them must enter and leave the context.

    Args:
        folder: output folder.
        spec: data set of the images, from files.
        split: split that gets these labels.
        producer: name of the producer.
        config: settings of the producer, JSON-able; the manifest holds them and their hash.
        form: kind of labels that the masks are made from, such as "points".
        bits: depth of confidence images, 8 or 16.
        overwrite: accept a folder that holds files.

    Attributes:
        manifest: facts about the folder, once the context was left.

    Raises:
        InputError: the folder is in use, the split does not exist, or the images are not files; on leaving, no mask
            has a labelled pixel.
    """

    manifest: Manifest

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
        labels = None if spec.weak is None else spec.weak.folder
        check_apart(folder, {"the data set itself": spec.root, "the folder of the labels": labels})
        self.producer, self.config, self.form, self.bits = producer, dict(config or {}), form, bits
        self._overwrite = overwrite
        self._records: list[MaskRecord] = []
        self._failures: list[Failure] = []
        self._confidences = 0
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
            InputError: labels outside the classes, confidence outside 0..1, or sizes that differ.
        """
        labels, K = mask.labels, self.spec.label_space.num_classes
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise InputError(f"labels of {mask.id!r} must be uint8 [H, W], got {labels.dtype} {list(labels.shape)}")
        counts = count_labels(labels)
        if counts[K:IGNORE_INDEX].any():
            raise InputError(
                f"labels of {mask.id!r} hold {K + int(counts[K:].argmax())}, allowed are 0..{K - 1} and 255"
            )
        if mask.confidence is not None and mask.confidence.shape != labels.shape:
            raise InputError(f"confidence of {mask.id!r} is {mask.confidence.shape}, labels are {labels.shape}")
        if not self._records:
            for name in (MANIFEST, FOLDER_SPEC):
                (self.folder / name).unlink(missing_ok=True)
        certain = None
        if mask.confidence is not None:
            save_confidence(self.folder / "confidence" / f"{mask.id}.png", mask.confidence, bits=self.bits)
            known = labels != IGNORE_INDEX
            certain = float(mask.confidence[known].mean()) if known.any() else None
        save_mask(self.folder / "masks" / f"{mask.id}.png", labels, self.spec.label_space)
        self._confidences += mask.confidence is not None
        self._records.append(
            MaskRecord(
                mask.id,
                size=(labels.shape[0], labels.shape[1]),
                pixels={self.spec.label_space.names[k]: int(counts[k]) for k in np.flatnonzero(counts[:K])},
                labelled=float(1 - counts[IGNORE_INDEX] / labels.size),
                confidence=certain,
            )
        )

    def add_all(self, ids: Sequence[str], make: Callable[[int], PseudoMask], *, title: str) -> None:
        """Make and write the masks of many images, of which every process takes its share.

        An image that cannot be read or written is left out and named in the manifest; the others go on.

        Args:
            ids: ids of the images.
            make: returns the mask of the image at a position of `ids`.
            title: what the progress bar says.

        Raises:
            OSError: the disk is full or gone.
        """
        quiet = None if distributed.is_main() else True
        for position in tqdm(distributed.shard(len(ids)), desc=title, unit="img", disable=quiet):
            try:
                self.add(make(position))
            except (InputError, OSError) as error:
                if is_disk_error(error):
                    raise
                self._failures.append(Failure(ids[position], " ".join(str(error).split())))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write manifest and spec, unless an error came up."""
        if kind is None:
            self._finish()

    def _finish(self) -> None:
        parts = distributed.gather_objects((self._records, self._failures, self._confidences))
        records = sorted((record for part, _, _ in parts for record in part), key=lambda record: record.id)
        failures = sorted((failure for _, part, _ in parts for failure in part), key=lambda failure: failure.image)
        confidences = sum(count for _, _, count in parts)
        if not records:
            why = f": {failures[0].error} ({len(failures)} images failed)" if failures else ""
            raise InputError(f"no pseudo-mask was made for {self.folder}{why or ': there is nothing to train on'}")
        names = self.spec.label_space.names
        pixels = {name: sum(record.pixels.get(name, 0) for record in records) for name in names}
        if not any(pixels.values()):
            raise InputError(
                f"none of the {len(records)} masks in {self.folder} has a labelled pixel, so there is nothing to train "
                "on; look at the labels they were made from, and at the thresholds of their producer"
            )
        if 0 < confidences < len(records):
            raise InputError(f"{confidences} of {len(records)} pseudo-masks have a confidence: give it to all or none")
        self.manifest = Manifest(
            producer=self.producer,
            config=self.config,
            config_hash=self.config_hash,
            data=self.spec.name,
            split=self.split,
            form=self.form,
            seconds=time.time() - self._started,
            classes=names,
            pixels=pixels,
            masks=tuple(records),
            has_confidence=confidences > 0,
            failed=tuple(failures),
        )
        if distributed.is_main():
            self._write()
        distributed.barrier()

    def _write(self) -> None:
        write_json(self.folder / MANIFEST, self.manifest.to_json())
        with atomic_path(self.folder / "labelled.txt") as temporary:
            temporary.write_text("".join(f"{record.id}\n" for record in self.manifest.masks), encoding="utf-8")
        weak = {"format": "masks", "path": "masks/{id}.png", "only": "labelled.txt"}
        if self.manifest.has_confidence:
            weak["confidence"] = "confidence/{id}.png"
        name = f"{self.spec.name}_{self.producer}_{self.config_hash}"
        write_spec(self.folder, self.spec, name=name, split=self.split, weak=weak)
