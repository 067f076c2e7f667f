"""From a folder to the keys of a data spec, and a line that says what was understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gss.core.errors import InputError, quoted
from gss.data.files.lists import LIST_NAMES, ImageNames, names_images
from gss.data.files.patterns import find_files
from gss.data.files.samples import MASKLESS_ADVICE
from gss.data.images import IMAGE_SUFFIXES, LOSSY_SUFFIXES, MASK_SUFFIXES, lossy_masks
from gss.data.layouts.annotations import FORMAT_NAMES, Outlines, find_outlines, used_classes
from gss.data.layouts.classes import ClassNames, find_class_names, read_classes_json
from gss.data.layouts.division import DEFAULT_SHARE, first_and_rest
from gss.data.layouts.meaning import find_meaning, looks_like_mask
from gss.data.layouts.pairs import Pairing, find_pairings
from gss.data.layouts.places import is_split, split_name
from gss.data.layouts.survey import Survey, survey
from gss.labels.names import spelling_key

HINTS = (
    *("name", "image", "mask", "list", "splits", "validate", "classes", "label_map", "ignore", "unlisted"),
    *("color_coded", "weak"),
)
"""Keys of a data spec that may decide how a folder is read."""

_PEEK = 4
_SHOWN = 3
_LIST_FOLDERS = ("", "splits", "lists", "split", "ImageSets/Segmentation", "ImageSets")


@dataclass(frozen=True)
class Layout:
    """What a folder was understood to be.

    Attributes:
        keys: keys of a data spec without `root`.
        line: the same in one line for the user.
    """

    keys: Mapping[str, Any]
    line: str


def understand(root: Path, hints: Mapping[str, Any] | None = None) -> Layout:
    """Find out how a folder of images and labels is to be read.

    1. The walk: pictures by folder, with the words for images, masks and splits in the names; text, JSON and XML files.
    2. Readings: which pictures are masks of which, and which files hold outlines.
    3. One reading must remain. Keys of a spec in `hints` decide between several.
    4. The splits, by folders or lists; without either the first four fifths train and the rest validates.
    5. The meaning of the values in the masks.

    Args:
        root: the folder.
        hints: keys of a data spec (`HINTS`) that are known; they win over what is found.

    Raises:
        InputError: no images with labels, several readings (the message gives each with the line that decides), masks
            in files that change values (JPEG), or values without a meaning.
    """
    hints = dict(hints or {})
    found = survey(root)
    pairings, outlines = _by_content(found, find_pairings(found), hints), find_outlines(found)
    reading = _choose(root, pairings, outlines, hints)
    if isinstance(reading, Outlines):
        return _outline_layout(root, reading, hints)
    return _mask_layout(root, reading, hints)


def _by_content(found: Survey, pairings: list[Pairing], hints: Mapping[str, Any]) -> list[Pairing]:
    """Return the readings whose masks look like masks, where the names of folders tell nothing."""
    if "mask" in hints or all(pairing.rank >= 4 for pairing in pairings):
        return pairings

    def fits(pairing: Pairing) -> bool:
        masks = [found.root / file for file in pairing.files[:_PEEK]]
        images = [found.root / file for file in pairing.examples[:_PEEK]]
        return all(map(looks_like_mask, masks)) and not all(map(looks_like_mask, images))

    return [pairing for pairing in pairings if fits(pairing)]


def _choose(
    root: Path, pairings: Sequence[Pairing], outlines: Sequence[Outlines], hints: Mapping[str, Any]
) -> Pairing | Outlines:
    """Return the one reading that is left.

    Raises:
        InputError: none, or several.
    """
    weak = hints.get("weak")
    kept: list[Pairing | Outlines] = [
        pairing
        for pairing in pairings
        if weak is None
        and hints.get("mask", pairing.mask) == pairing.mask
        and hints.get("image", pairing.image) == pairing.image
    ]
    kept += [
        reading
        for reading in outlines
        if "mask" not in hints
        and hints.get("image", reading.image) == reading.image
        and (weak is None or weak.get("path", reading.path) == reading.path)
        and (weak is None or weak.get("format", reading.format) == reading.format)
    ]
    if len(kept) == 1:
        return kept[0]
    if not kept and "image" in hints and "mask" in hints:
        return _given(root, str(hints["image"]), str(hints["mask"]))
    every: list[Pairing | Outlines] = [*pairings, *outlines]
    if not kept and every:
        listed = "; or ".join(f"{reading.words()}, by {_deciding(reading)}" for reading in every[:_SHOWN])
        raise InputError(
            f"{root}: no reading of this folder has the image, mask or weak that is given; it has: {listed}"
        )
    if not kept:
        raise InputError(
            f"{root}: no images with labels found. Put images in images/ and masks of the same names (PNG, TIFF or "
            "BMP) in masks/, or name the folders with image=PATTERN mask=PATTERN in 'gss data init' (docs/data.md has "
            "the layouts that are understood)"
        )
    shown = [
        f"({number}) {reading.words()}, by the line {_deciding(reading)}" for number, reading in enumerate(kept, 1)
    ]
    more = f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
    raise InputError(
        f"{root} can be read in {len(kept)} ways: {'; '.join(shown[:_SHOWN])}{more}. Put the line that is right into "
        f"{root / 'data.yaml'}, or pass it as KEY=VALUE to 'gss data init'"
    )


def _deciding(reading: Pairing | Outlines) -> str:
    """Return the line of a spec that chooses a reading."""
    if isinstance(reading, Outlines):
        return f"`weak: {{format: {reading.format}, path: '{reading.path}'}}`"
    return f"`mask: '{reading.mask}'`"


def _given(root: Path, image: str, mask: str) -> Pairing:
    """Return the reading by two patterns without splits that the user gave."""
    images, masks = find_files(root, image, IMAGE_SUFFIXES), find_files(root, mask, MASK_SUFFIXES)
    shared = sorted(images.keys() & masks.keys())
    if not shared:
        raise InputError(
            f"{root}: no image by image={quoted(image)} has a mask by mask={quoted(mask)}; {{id}} must be the same text"
        )
    files = tuple(str(masks[id].relative_to(root)) for id in shared)
    return Pairing(image, mask, (), len(shared), len(images), 0, files, ())


# --- masks in pictures ----------------------------------------------------------------------------------------------


def _mask_layout(root: Path, reading: Pairing, hints: Mapping[str, Any]) -> Layout:
    _refuse_lossy(root, reading)
    keys: dict[str, Any] = {"image": reading.image, "mask": reading.mask}
    splits, split_words = _splits(root, reading.image, reading.parts, reading.images, hints)
    names = _class_names(root, reading)
    meaning = find_meaning(
        [root / file for file in reading.files], names, hints, str(root / reading.mask.rpartition("/")[0])
    )
    words = [reading.words(), split_words]
    if reading.pairs < reading.images:
        lacking = reading.images - reading.pairs
        named = f"{reading.maskless} has no mask" if lacking == 1 else f"{lacking} images have no mask, such as"
        named += "" if lacking == 1 else f" {reading.maskless}"
        words.append(f"{named} ({MASKLESS_ADVICE})")
    return Layout(keys | splits | dict(meaning.keys) | _free(hints), ", ".join([*words, meaning.words]))


def _refuse_lossy(root: Path, reading: Pairing) -> None:
    lossy = [file for file in reading.files if file.lower().endswith(LOSSY_SUFFIXES)]
    if lossy:
        raise InputError(lossy_masks(root / lossy[0], len(lossy), len(reading.files)))


def _class_names(root: Path, reading: Pairing) -> ClassNames:
    """Return the names of classes beside the masks; `classes.json` in the root wins."""
    if (root / "classes.json").is_file():
        space, label_map, _ = read_classes_json(root / "classes.json")
        table = {raw: name for raws, name in zip(label_map.values, space.names, strict=True) for raw in raws}
        return ClassNames(str(root / "classes.json"), by_value=table)
    folder = (root / reading.files[0]).parent
    return find_class_names([root, folder, *(parent for parent in folder.parents if root in parent.parents)])


def _free(hints: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in hints.items() if key not in ("classes", "label_map", "weak")}


# --- outlines in annotation files -----------------------------------------------------------------------------------


def _outline_layout(root: Path, reading: Outlines, hints: Mapping[str, Any]) -> Layout:
    used = used_classes(reading)
    if not used:
        raise InputError(
            f"{root}: {FORMAT_NAMES[reading.format]} in {reading.path} hold no shape, so there is no class"
        )
    ground = next((name for name in used if spelling_key(name) in ("background", "_background_", "bg")), "background")
    classes = hints.get("classes", [ground, *(name for name in used if name != ground)])
    weak: dict[str, Any] = {"format": reading.format, "path": reading.path, "background": ground}
    weak["unlabelled"] = "leave_out"
    if reading.order:
        weak["order"] = list(reading.order)
    keys: dict[str, Any] = {"image": reading.image, "classes": classes, "weak": weak | dict(hints.get("weak") or {})}
    splits, split_words = _splits(root, reading.image, reading.parts, reading.images, hints)
    words = [reading.words(), split_words, f"{len(classes)} classes ({', '.join(map(str, list(classes)[:4]))}"]
    words[-1] += ", …)" if len(classes) > 4 else ")"
    words.append(f"what no shape covers is {ground}")
    if reading.labelled < reading.images:
        words.append(f"{reading.images - reading.labelled} images without labels are left out")
    return Layout(keys | splits | _free(hints), ", ".join(words))


# --- splits ---------------------------------------------------------------------------------------------------------


def _splits(
    root: Path, image: str, parts: Sequence[str], count: int, hints: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Return the keys `splits` and `list`, and the splits in words."""
    if "splits" in hints or "list" in hints:
        return {}, "splits as given"
    if parts:
        named = {split_name(part) if is_split(part) else part: part for part in parts}
        if len(named) < len(parts):
            named = {part: part for part in parts}
        return _divided(named), _split_words(named, "folders")
    lists = _find_lists(root, image)
    if lists is not None:
        folder, stems = lists
        named = {split_name(stem) if is_split(stem) else stem: stem for stem in stems}
        pattern = f"{folder}/{{split}}.txt".lstrip("/")
        return {"list": pattern, **_divided(named)}, _split_words(named, f"lists {pattern}")
    share = hints.get("validate", DEFAULT_SHARE)
    return {"validate": share}, f"no split given: {first_and_rest(count, share)}"


def _divided(named: dict[str, str]) -> dict[str, Any]:
    """Return the splits with what validates where there is no `val`: the split `test`, or else a part of `train`."""
    if "train" not in named or "val" in named:
        return {"splits": named}
    if "test" in named:
        return {"splits": named | {"val": named["test"]}}
    return {"splits": named, "validate": DEFAULT_SHARE}


def _split_words(named: Mapping[str, str], source: str) -> str:
    also = ""
    if "train" in named and "val" not in named:
        also = "; test also validates" if "test" in named else "; no val: the last fifth of train validates"
    renamed = [f"{name} ({part})" if name != part else name for name, part in named.items()]
    return f"splits {', '.join(renamed)} from {source}{also}"


def _find_lists(root: Path, image: str) -> tuple[str, list[str]] | None:
    """Return the folder and the names of the split lists; None without any."""
    names: ImageNames | None = None
    for folder in _LIST_FOLDERS:
        files = sorted((root / folder).glob("*.txt"))
        if not files:
            continue
        names = names or ImageNames(find_files(root, image, IMAGE_SUFFIXES), root)
        stems = [path.stem for path in files if names_images(path, names)]
        known = [stem for stem in stems if stem.lower() in LIST_NAMES]
        if known:
            return folder, known
    return None
