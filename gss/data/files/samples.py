"""Images of a split with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gss.core.errors import InputError, quoted
from gss.data.files.lists import ImageNames, ListEntry
from gss.data.files.patterns import fill
from gss.data.images import LOSSY_SUFFIXES, lossy_masks


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
        return f"mask not found: {self.mask}"


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
