"""`manifest.json` of a folder of pseudo-masks: who made them, from what, and the counts of every mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError, quoted
from gss.core.files import read_json

MANIFEST = "manifest.json"
_VERSION = 1
_NUMBER = (int, float)
# Keys of a manifest and the types of their values; manifests of gss 0.1 lack "failed".
_KEYS: dict[str, type | tuple[type, ...]] = {
    "producer": str,
    "config": dict,
    "config_hash": str,
    "data": str,
    "split": str,
    "form": str,
    "seconds": _NUMBER,
    "classes": list,
    "pixels": dict,
    "never_labelled": list,
    "labelled": _NUMBER,
    "all_abstain": list,
    "masks": list,
    "failed": list,
}


@dataclass(frozen=True)
class Failure:
    """An image that has no result.

    Attributes:
        image: id of the image.
        error: reason, in one line.
    """

    image: str
    error: str


@dataclass(frozen=True)
class MaskRecord:
    """Counts of one pseudo-mask.

    Attributes:
        id: id of the image.
        size: height and width in pixels.
        pixels: number of labelled pixels of each class that has any.
        labelled: share of labelled pixels, 0..1.
        confidence: mean confidence of the labelled pixels, 0..1; None without labelled pixels or without confidence.
    """

    id: str
    size: tuple[int, int]
    pixels: dict[str, int]
    labelled: float
    confidence: float | None = None


@dataclass(frozen=True)
class Manifest:
    """Facts about a folder of pseudo-masks.

    Attributes:
        producer: name of what made them, such as "agmm".
        config: settings of the producer.
        config_hash: eight hexadecimal digits that name producer and settings.
        data: name of the data set of the images.
        split: split of the images.
        form: kind of labels that the masks were made from, such as "points".
        seconds: wall-clock time of the producer.
        classes: names of the K classes.
        pixels: number of labelled pixels of every class.
        masks: records, sorted by id.
        has_confidence: whether confidence maps were written.
        failed: images without a mask because they could not be read or written.
    """

    producer: str
    config: dict[str, Any]
    config_hash: str
    data: str
    split: str
    form: str
    seconds: float
    classes: tuple[str, ...]
    pixels: dict[str, int]
    masks: tuple[MaskRecord, ...]
    has_confidence: bool
    failed: tuple[Failure, ...] = ()

    @property
    def labelled(self) -> float:
        """Mean share of labelled pixels of the masks, 0..1."""
        return float(np.mean([record.labelled for record in self.masks]))

    @property
    def never_labelled(self) -> list[str]:
        """Names of the classes without a labelled pixel."""
        return [name for name, count in self.pixels.items() if count == 0]

    @property
    def all_abstain(self) -> list[str]:
        """Ids of the masks without a labelled pixel."""
        return [record.id for record in self.masks if not record.pixels]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `manifest.json`."""
        rows = []
        for record in self.masks:
            row: dict[str, Any] = {
                "id": record.id,
                "size": list(record.size),
                "pixels": record.pixels,
                "labelled": record.labelled,
            }
            rows.append({**row, "confidence": record.confidence} if self.has_confidence else row)
        return {
            "version": _VERSION,
            "producer": self.producer,
            "config": self.config,
            "config_hash": self.config_hash,
            "data": self.data,
            "split": self.split,
            "form": self.form,
            "seconds": self.seconds,
            "classes": list(self.classes),
            "pixels": self.pixels,
            "never_labelled": self.never_labelled,
            "labelled": self.labelled,
            "all_abstain": self.all_abstain,
            "failed": [{"image": failure.image, "error": failure.error} for failure in self.failed],
            "masks": rows,
        }

    def summary(self, folder: str | Path) -> str:
        """Return a few lines on what `folder` holds and what to do with it."""
        lines = [f"{len(self.masks)} masks, {100 * self.labelled:.1f} % of their pixels labelled"]
        if self.failed:
            lines.append(f"{len(self.failed)} images failed and have no mask, first: {self.failed[0].image}")
        if self.all_abstain:
            lines.append(f"{len(self.all_abstain)} of them label nothing, first: {self.all_abstain[0]}")
        if self.never_labelled:
            lines.append(f"never labelled: {', '.join(self.never_labelled)}")
        lines.append(f"written to {folder}; compare them with full masks by gss weak report {folder} --truth SPEC,")
        lines.append(f"train on them with data.spec={folder} data.train_split={self.split}")
        return "\n".join(lines)


def read_manifest(folder: str | Path) -> Manifest:
    """Read `manifest.json` of a folder of pseudo-masks.

    Raises:
        InputError: the folder holds none, so its producer did not finish, or it is damaged.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} holds no {MANIFEST}: it is not a folder of pseudo-masks, or its producer was stopped"
        )
    content = read_json(path)
    if isinstance(content, dict):
        content.setdefault("failed", [])
    _check_keys(path, "the file", content, _KEYS)
    rows, failed = content["masks"], content["failed"]
    for number, row in enumerate(rows):
        _check_keys(path, f"masks[{number}]", row, {"id": str, "size": list, "pixels": dict, "labelled": _NUMBER})
    for number, row in enumerate(failed):
        _check_keys(path, f"failed[{number}]", row, {"image": str, "error": str})
    reason = ""
    if not rows:
        reason = "it lists no masks"
    elif not all(isinstance(name, str) for name in content["classes"]):
        reason = "'classes' must be names"
    elif not all(isinstance(count, int) for counts in (content, *rows) for count in counts["pixels"].values()):
        reason = "'pixels' must be whole numbers"
    if reason:
        raise InputError(f"{path} is damaged: {reason}; make the pseudo-masks again")
    return Manifest(
        **{key: content[key] for key in ("producer", "config", "config_hash", "data", "split", "form", "seconds")},
        classes=tuple(content["classes"]),
        pixels=content["pixels"],
        masks=tuple(
            MaskRecord(row["id"], tuple(row["size"]), row["pixels"], row["labelled"], row.get("confidence"))
            for row in rows
        ),
        has_confidence=any("confidence" in row for row in rows),
        failed=tuple(Failure(row["image"], row["error"]) for row in failed),
    )


def _check_keys(path: Path, what: str, content: object, keys: dict[str, Any]) -> None:
    """Require an object of JSON with these keys, whose values have these types."""
    wrong = "a list or a plain value, not an object"
    if isinstance(content, dict):
        odd = [key for key, kind in keys.items() if not isinstance(content.get(key), kind)]
        if not odd:
            return
        wrong = f"without a valid {quoted(odd[0])}" if odd[0] in content else f"without {quoted(odd[0])}"
    raise InputError(f"{path} is damaged: {what} is {wrong}; make the pseudo-masks again")
