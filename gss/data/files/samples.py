"""Images of a split with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gss.core.errors import InputError, quoted
from gss.core.words import counted
from gss.data.files.lists import ImageNames, ListEntry
from gss.data.files.patterns import fill
from gss.data.images import LOSSY_SUFFIXES, lossy_masks

MASKLESS = "mask not found: "
"""How the line of an image without a mask begins."""

MASKLESS_ADVICE = "draw the mask, take the image away, or list the other images in train.txt"
"""What helps where an image has no mask."""


@dataclass(frozen=True)
class Sample:
    """Image and mask.

    Args:
        id: id from the list or the file name.
        image: path of the image; if the file does not exist, its expected path.
        mask: path of the mask, likewise.
        missing: names of the absent files: "image", "mask".
        segments: JSON file with the categories of the segments of a panoptic mask.
        where: list and line that name the image; empty without a list.
    """

    id: str
    image: Path
    mask: Path
    missing: tuple[str, ...] = ()
    segments: Path | None = None
    where: str = ""

    def absent(self) -> list[str]:
        """Return a line for each file that does not exist."""
        if self.where and "image" in self.missing:
            return [f"{self.where}: {quoted(self.id)} is not an image of the data set, no file {self.image}"]
        return [self._lossy() if kind == "mask" else f"image not found: {self.image}" for kind in self.missing]

    def _lossy(self) -> str:
        """Return the line for a mask that is not there, or that is there in a format that changes values."""
        stem = self.mask.with_suffix("")
        for suffix in LOSSY_SUFFIXES:
            path = stem.with_name(stem.name + suffix)
            if path != self.image and path.is_file():
                return lossy_masks(path)
        return f"{MASKLESS}{self.mask}, for image {self.image}"

    @property
    def maskless(self) -> bool:
        """True for an image that is there without a mask, not even one in a format that changes values."""
        return self.missing == ("mask",) and self.absent()[0].startswith(MASKLESS)


def require_files(samples: Sequence[Sample], place: str, *, masks: bool = True) -> None:
    """Require that the images of a split and their masks exist.

    Args:
        samples: the split.
        place: name of the split, for messages.
        masks: False where the labels are no masks.

    Raises:
        InputError: names the first file that is not there, and what to do.
    """
    lacking = [sample for sample in samples if sample.missing]
    lines = [line for sample in lacking for line in sample.absent()]
    if not lines:
        return
    first = f"first: {lines[0]}" if len(lines) > 1 else lines[0]
    listed = "; 'gss data check' lists them all" if len(lines) > 1 else ""
    if masks and all(sample.maskless for sample in lacking):
        images = counted(len(lacking), "image")
        verb = "has" if len(lacking) == 1 else "have"
        raise InputError(f"{images} of {place} {verb} no mask, {first}: {MASKLESS_ADVICE}{listed}")
    files = counted(len(lines), "file")
    raise InputError(f"{files} of {place} {'is' if len(lines) == 1 else 'are'} missing, {first}{listed}")


def pair_up(
    root: Path,
    image: str,
    mask: str,
    entries: Sequence[ListEntry],
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
) -> list[Sample]:
    """Return image and mask of every entry.

    Args:
        root: folder of the data set.
        image: pattern of the images, see `Pattern`.
        mask: pattern of the masks.
        entries: images of the split.
        images: files that match `image`.
        masks: files that match `mask`.

    Raises:
        InputError: a list names another mask than the pattern.
    """
    names = ImageNames(masks, root)
    samples = []
    for entry in entries:
        files = images.get(entry.id), masks.get(entry.id)
        if entry.mask and names.resolve(entry.mask)[0] != [entry.id]:
            raise InputError(
                f"{entry.where}: image {quoted(entry.id)} is listed with the mask {quoted(entry.mask)}, but by the "
                f"pattern {quoted(mask)} its mask is {fill(mask, entry.id)}; list ids alone, or rename the masks"
            )
        missing = tuple(kind for kind, path in zip(("image", "mask"), files, strict=True) if path is None)
        image_path, mask_path = files[0] or root / fill(image, entry.id), files[1] or root / fill(mask, entry.id)
        samples.append(Sample(entry.id, image_path, mask_path, missing, where=entry.where))
    return samples
