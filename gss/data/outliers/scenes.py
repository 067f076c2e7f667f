"""Pictures of foreign scenes with labelled objects: the second context of contrastive outlier training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from gss.core.errors import InputError, quoted
from gss.data.files import find_files
from gss.data.images import IMAGE_SUFFIXES, load_image
from gss.data.open import open_split
from gss.data.outliers.coco import CocoFile, foreign_labels
from gss.data.protocols import LabelledImages
from gss.data.specs.load import load_spec
from gss.labels.space import IGNORE_INDEX, OUTLIER_LABEL

COCO_THINGS = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
    *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors"),
    *("teddy bear", "hair drier", "toothbrush"),
)
"""Countable classes of COCO; `things` stands for them."""


class ForeignScenes(Protocol):
    """Pictures with labels 0 (scenery), 254 (an object that is no class of the segmenter) and 255 (void)."""

    ids: list[str]

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB and labels uint8 `[H, W]`."""
        ...


def open_scenes(
    source: str | Path,
    split: str = "all",
    *,
    images: str | Path | None = None,
    objects: Sequence[str] = (),
    exclude: Collection[str] = (),
) -> ForeignScenes:
    """Open foreign scenes.

    Args:
        source: folder of pictures; folder with `images/` and `masks/`, or spec; or COCO file.
        split: split, as in `gss.data.outliers.objects.open_objects`; a plain folder of pictures has `all` only.
        images: folder of the pictures that a COCO file names.
        objects: classes of the folder or spec that are objects; `things` stands for `COCO_THINGS`. Without any, no
            pixel is labelled 254 and objects have to be pasted. Instances of a COCO file always are objects.
        exclude: classes of the segmenter, which become void. A COCO picture that shows one is left out.

    Raises:
        InputError: no such source or split, no picture in it, or an unknown class.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() == ".json":
        return _CocoScenes(CocoFile(path, split, images=images, exclude=exclude))
    if path.is_dir() and not (path / "masks").is_dir():
        if objects:
            raise InputError(f"{path} has no masks/ that could show {quoted(objects[0])}: leave the objects empty")
        return _PlainScenes(path)
    return _LabelledScenes(open_split(load_spec(source), split), objects, exclude)


class _CocoScenes:
    def __init__(self, file: CocoFile) -> None:
        self._file = file
        self.ids = [str(image) for image in file.images]
        if not self.ids:
            raise InputError(f"{file.path} has no picture without an excluded category")

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        image = self._file.images[index]
        picture = self._file.read(image)
        return picture, foreign_labels(self._file, image, (picture.height, picture.width))


class _PlainScenes:
    def __init__(self, folder: Path) -> None:
        self._files = find_files(folder, "{id}.*", IMAGE_SUFFIXES)
        self.ids = sorted(self._files)
        if not self.ids:
            raise InputError(f"{folder} holds no picture: put some there, ending in {', '.join(IMAGE_SUFFIXES)}")

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        picture = load_image(self._files[self.ids[index]])
        return picture, np.zeros((picture.height, picture.width), np.uint8)


class _LabelledScenes:
    def __init__(self, dataset: LabelledImages, objects: Sequence[str], exclude: Collection[str]) -> None:
        self._dataset, self.ids = dataset, dataset.ids
        space = dataset.label_space
        things = [name for name in space.names if name in COCO_THINGS] if "things" in objects else []
        chosen = {space.index(name) for name in (*objects, *things) if name != "things"}
        banned = {text.lower() for text in exclude}
        self._table = np.full(256, IGNORE_INDEX, np.uint8)
        for label, name in enumerate(space.names):
            if name.lower() not in banned:
                self._table[label] = OUTLIER_LABEL if label in chosen else 0

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        picture, labels = self._dataset.read(index)
        return picture, self._table[labels]
