"""One segmented image, as a picture with a legend, as files, and in words."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.pipeline.processor import load_images
from gss.report.pictures import heatmap, index_image, overlay, save_picture

# Longest side of a picture in a notebook.
_SHOWN = 640


@dataclass(frozen=True)
class Source:
    """What a result shows beside itself.

    Attributes:
        images: images as they were given to the pipeline.
        names: class names.
        colors: uint8 `[K, 3]`.
        background: numbers of the classes that an overlay leaves unpainted.
    """

    images: Any
    names: Sequence[str]
    colors: np.ndarray
    background: Sequence[int] = ()

    def file_names(self, numbered: Sequence[str]) -> list[str]:
        """Return the name of each image's file without suffix; that of `numbered` for one without its own."""
        images = self.images if isinstance(self.images, list) else [self.images]
        if len(images) != len(numbered):  # a batch in one array
            return list(numbered)
        stems = [_stem(image) for image in images]
        return [
            stem if stem and stems.count(stem) == 1 else number for stem, number in zip(stems, numbered, strict=True)
        ]

    def photo(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Return the photo of a result of `size` (H, W), read again; plain grey if its file is gone."""
        try:
            pixels = load_images(self.images)[index].movedim(0, -1).numpy()
            return Image.fromarray((pixels * 255).round().astype(np.uint8))
        except (InputError, OSError, IndexError):
            return Image.new("RGB", size[::-1], (128, 128, 128))


def _stem(image: Any) -> str:
    """Return the name of an image's file without suffix; empty for an image that is no file here."""
    try:
        return Path(image).stem if isinstance(image, str | os.PathLike) and Path(image).is_file() else ""
    except OSError:  # base64 is too long for a name
        return ""


class SegmentedImage:
    """One image of a `SegmentationOutput`: `fields` by name as attributes, such as `mask` and `confidence`.

    Args:
        index: number of the image in its call.
        fields: its entry in each field of the output.
        source: photo, names and colours; None for an output that no pipeline made.
    """

    def __init__(self, index: int, fields: Mapping[str, Any], source: Source | None) -> None:
        self.index, self.fields, self.source = index, dict(fields), source
        self.mask, self.confidence = fields["masks"], fields["confidence"]

    def __repr__(self) -> str:
        """Return size, classes and fields in one line."""
        height, width = self._labels().shape
        seen = ", ".join(f"{name} {100 * share:.0f} %" for name, _, share in self.classes()[:4])
        return f"SegmentedImage({height}x{width}: {seen}; {', '.join(self.fields)})"

    def classes(self) -> list[tuple[str, tuple[int, int, int], float]]:
        """Return name, colour and share of the pixels of each class in the mask, largest first."""
        labels = self._labels()
        counts = np.bincount(labels.ravel())
        result = []
        for index in np.argsort(-counts, kind="stable"):
            if counts[index]:
                name = str(index) if self.source is None else self.source.names[index]
                red, green, blue = self._colors()[index].tolist()
                result.append((name, (red, green, blue), float(counts[index] / labels.size)))
        return result

    def overlay(self) -> Image.Image:
        """Return the photo under the colours of the classes."""
        labels = self._labels()
        size = (int(labels.shape[0]), int(labels.shape[1]))
        photo = Image.new("RGB", size[::-1], (128, 128, 128))
        if self.source is not None:
            photo = self.source.photo(self.index, size)
        return overlay(photo, labels, self._colors(), clear=() if self.source is None else self.source.background)

    def show(self) -> None:
        """Show the overlay in the system's viewer of pictures."""
        self.overlay().show()

    def save(self, folder: str | Path, name: str = "image") -> dict[str, str]:
        """Write mask, overlay, confidence and scores; return kind to path.

        Args:
            folder: folder, created if missing.
            name: beginning of the files' names.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        confidence = (np.asarray(self.confidence) * 255).round().clip(0, 255).astype(np.uint8)
        pictures = {
            "mask": (f"{name}_mask.png", index_image(self._labels(), self._colors())),
            "overlay": (f"{name}_overlay.jpg", self.overlay()),
            "confidence": (f"{name}_confidence.png", Image.fromarray(confidence)),
        }
        scores = dict(self.fields.get("score_maps") or {})
        if self.fields.get("ood_scores") is not None:
            scores["ood"] = self.fields["ood_scores"]
        for score, values in scores.items():
            pictures[score] = (f"{name}_{score}.png", heatmap(np.asarray(values), palette="magma"))
            with atomic_path(place / f"{name}_{score}.npy") as temporary:
                np.save(temporary, np.asarray(values), allow_pickle=False)
        for file, picture in pictures.values():
            save_picture(place / file, picture)
        return {kind: str(place / file) for kind, (file, _) in pictures.items()}

    def _repr_png_(self) -> bytes:
        return _png(_small(self.overlay()))

    def _repr_html_(self) -> str:
        pictures = [("overlay", self.overlay())]
        if self.fields.get("ood_scores") is not None:
            pictures.append(("unknown", heatmap(np.asarray(self.fields["ood_scores"]), palette="magma")))
        shown = "".join(
            f'<figure style="display:inline-block;margin:0 8px 0 0"><img alt="{title}" src="data:image/png;base64,'
            f'{base64.b64encode(_png(_small(picture))).decode()}"><figcaption>{title}</figcaption></figure>'
            for title, picture in pictures
        )
        chips = "".join(
            f'<span style="display:inline-block;margin-right:12px"><span style="display:inline-block;width:12px;'
            f'height:12px;border:1px solid #888;background:rgb{color}"></span> {html.escape(name)} '
            f"{100 * share:.1f} %</span>"
            for name, color, share in self.classes()
        )
        mean = float(np.mean(np.asarray(self.confidence), dtype=np.float64))
        return f"<div>{shown}<div>{chips}</div><div>mean confidence {mean:.3f}</div></div>"

    def _labels(self) -> np.ndarray:
        return np.asarray(self.mask).astype(np.uint8)

    def _colors(self) -> np.ndarray:
        return np.stack([np.arange(256)] * 3, 1).astype(np.uint8) if self.source is None else self.source.colors


def _small(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((_SHOWN, _SHOWN))
    return small


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
