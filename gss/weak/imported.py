"""Masks made by other programs, brought into the layout of pseudo-masks (`gss weak import`)."""

from __future__ import annotations

from pathlib import Path

from gss.core.errors import InputError
from gss.data.files import find_files
from gss.data.images import MASK_SUFFIXES, image_size, load_mask
from gss.data.specs.spec import DataSpec
from gss.data.weak.pictures import load_confidence
from gss.data.weak.readers.base import check_size
from gss.data.weak.readers.masks import decode_mask, state_coding
from gss.weak.manifest import Manifest
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter


class MaskFolder:
    """Masks of a folder, `ID.png` or another lossless format, for the images of a split.

    Masks hold class numbers, and 255 or the number of classes where they abstain; an image without a mask is left out.

    Args:
        spec: data set of the images.
        split: split of the images.
        masks: folder of the masks.
        confidence: folder of confidence maps of the same names, if there are any.

    Attributes:
        ids: ids of the images that have a mask.

    Raises:
        InputError: no folder, no mask that fits an image, a mask that fits none, or a mask without its confidence.
    """

    def __init__(self, spec: DataSpec, split: str, masks: str | Path, *, confidence: str | Path | None = None) -> None:
        folder = Path(masks)
        if not folder.is_dir():
            raise InputError(f"folder of masks not found: {folder}")
        self._masks = find_files(folder, "{id}.*", MASK_SUFFIXES)
        self._confidence = None if confidence is None else find_files(Path(confidence), "{id}.*", MASK_SUFFIXES)
        samples = {sample.id: sample for sample in spec.samples(split)}
        unknown = sorted(self._masks.keys() - samples.keys())
        if unknown:
            raise InputError(
                f"{len(unknown)} masks in {folder} belong to no image of split {split!r}, first: "
                f"{self._masks[unknown[0]].name}; name masks as images are, or give another --split"
            )
        self._images = {id: sample.image for id, sample in samples.items() if id in self._masks}
        self.ids = list(self._images)
        if not self.ids:
            raise InputError(
                f"no mask in {folder} has the name of an image of split {split!r}, such as {sorted(samples)[0]}.png"
            )
        absent = [] if self._confidence is None else [id for id in self.ids if id not in (self._confidence or {})]
        if absent:
            raise InputError(f"no confidence for {absent[0]!r} in {confidence}: give it for all masks or none")
        self._num_classes, self._coding_stated = spec.label_space.num_classes, False

    def read(self, position: int) -> PseudoMask:
        """Read the mask of the image at a position of `ids`.

        Raises:
            InputError: unreadable, of another size than its image, or with other values; names the file and the fix.
        """
        id, K = self.ids[position], self._num_classes
        path, size = self._masks[id], image_size(self._images[id])
        raw = load_mask(path)
        check_size(path, id, (raw.shape[0], raw.shape[1]), size)
        labels, coded_by_count = decode_mask(raw, K, path)
        if coded_by_count and not self._coding_stated:
            self._coding_stated = True
            state_coding(raw, K, path)
        confidence = None if self._confidence is None else load_confidence(self._confidence[id], size)
        return PseudoMask(id, labels, confidence)


def import_masks(
    spec: DataSpec,
    split: str,
    masks: str | Path,
    out: str | Path,
    *,
    confidence: str | Path | None = None,
    producer: str = "import",
    overwrite: bool = False,
) -> Manifest:
    """Write a folder of pseudo-masks from masks of another program.

    Args:
        spec: data set of the images.
        split: split of the images.
        masks: folder of the masks, see `MaskFolder`.
        out: output folder.
        confidence: folder of confidence maps, 8 or 16 bits, white is certain.
        producer: name of that program.
        overwrite: accept a folder that holds files.

    Returns:
        Manifest of the folder.

    Raises:
        InputError: what `MaskFolder` and `PseudoMaskWriter` refuse.
    """
    config = {"masks": str(masks), "confidence": confidence and str(confidence)}
    writer = PseudoMaskWriter(out, spec, split, producer=producer, config=config, bits=16, overwrite=overwrite)
    folder = MaskFolder(spec, split, masks, confidence=confidence)
    with writer:
        writer.add_all(folder.ids, folder.read, title="importing")
    return writer.manifest
