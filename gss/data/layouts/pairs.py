"""Which pictures are the masks of which: readings of a folder, best first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gss.data.images import LOSSY_SUFFIXES
from gss.data.layouts.survey import Group, Survey

_IMAGE_AFFIXES = (
    ("", "_image"),
    ("", "_img"),
    ("", "_rgb"),
    ("", "_photo"),
    ("", "_sat"),
    ("", "_leftImg8bit"),
    ("", "-image"),
    ("image_", ""),
    ("img_", ""),
    ("photo_", ""),
    ("rgb_", ""),
)
_MASK_WORD = re.compile(r"mask|label|seg|gt|truth|annot|target", re.IGNORECASE)

Affix = tuple[str, str]
"""Text before and after the id in the name of a file."""


@dataclass(frozen=True)
class Pairing:
    """One reading of a folder: where images and masks lie and how they belong together.

    Attributes:
        image: pattern of the images, as in a data spec.
        mask: pattern of the masks.
        parts: words for the splits in the folders; empty without `{split}`.
        pairs: number of images with a mask.
        images: number of images.
        masks: endings of the masks, each with the path of one below the root.
        rank: how much the names tell; a higher one wins.
        files: paths of the masks of the pairs, relative to the root, ascending.
        examples: paths of some images.
        maskless: path of the first image without a mask; empty if all have one.
    """

    image: str
    mask: str
    parts: tuple[str, ...]
    pairs: int
    images: int
    rank: int
    files: tuple[str, ...]
    examples: tuple[str, ...]
    maskless: str = ""

    def words(self) -> str:
        """Return the reading in words, such as "images in photos/, masks in labels/ with suffix _mask"."""
        image, mask = (_words(pattern) for pattern in (self.image, self.mask))
        return f"images in {image}, masks in {mask}"


def _words(pattern: str) -> str:
    folder, _, name = pattern.rpartition("/")
    place = f"{folder}/" if folder else "the folder itself"
    before, after = name.split("{id}")[:2]
    ending = re.sub(r"^.*(?=\.[^.]*$)", "", after)
    after = after.removesuffix(ending)
    parts = [f"prefix {before}"] * bool(before) + [f"suffix {after}"] * bool(after)
    parts += [f"ending {ending}"] * (ending not in ("", ".*") and not parts)
    return place + (f" with {' and '.join(parts)}" if parts else "")


def find_pairings(found: Survey) -> list[Pairing]:
    """Return the readings of a folder with masks in pictures, those that the names tell most of first.

    A reading needs a mask for at least half of the images, or an image for at least half of the masks. Readings that
    pair far fewer pictures than another of their rank are left out.
    """
    readings: list[Pairing] = []
    for images in found.groups.values():
        for masks in found.groups.values():
            if images.role == "mask" or masks.role == "image" and masks is not images:
                continue
            readings += _readings(images, masks)
    if not readings:
        return []
    rank = max(reading.rank for reading in readings)
    best = [reading for reading in readings if reading.rank == rank]
    most = max(reading.pairs for reading in best)
    unique = {(reading.image, reading.mask): reading for reading in best if 2 * reading.pairs > most}
    return sorted(unique.values(), key=lambda reading: (-reading.pairs, reading.image, reading.mask))


def _readings(images: Group, masks: Group) -> Iterator[Pairing]:
    """Yield the readings with the images of one group and the masks of another, or of the same."""
    parts = _parts(images, masks)
    if parts is None:
        return
    inside = _all_ids(images.files)
    for image_affix in (("", ""), *_IMAGE_AFFIXES):
        ids = _strip(inside, image_affix)
        if image_affix != ("", "") and 2 * len(ids) < (len(inside) if masks is not images else len(inside) // 2):
            continue
        for mask_affix in _mask_affixes(ids, masks, own=masks is images):
            reading = _pair(images, masks, parts, image_affix, mask_affix)
            if reading is not None:
                yield reading
    if masks is images:
        yield from _by_ending(images, parts)


def _parts(images: Group, masks: Group) -> tuple[str, ...] | None:
    """Return the words for splits that both share; None if the groups do not fit."""
    if not masks.splits:
        return images.splits
    shared = tuple(part for part in images.splits if part in masks.splits)
    return shared or None


def _all_ids(files: dict[str, dict[str, list[str]]]) -> set[str]:
    return {id for ids in files.values() for id in ids}


def _strip(ids: Iterable[str], affix: Affix) -> set[str]:
    """Return the ids whose names have both texts, without them."""
    before, after = affix
    result = set()
    for id in ids:
        folder, mark, name = id.rpartition("/")
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            result.add(f"{folder}{mark}{name[len(before) : len(name) - len(after)]}")
    return result


def _mask_affixes(ids: set[str], masks: Group, *, own: bool) -> list[Affix]:
    """Return the texts before and after ids in the names of masks, those of most masks first."""
    counts: Counter[Affix] = Counter()
    for stem in _all_ids(masks.files):
        if not own and stem in ids:
            counts["", ""] += 1
        folder, mark, name = stem.rpartition("/")
        for cut in range(1, len(name)):
            before, after = name[:cut], name[cut:]
            if f"{folder}{mark}{before}" in ids and not after[0].isdigit() and (not own or _MASK_WORD.search(after)):
                counts["", after] += 1
            if f"{folder}{mark}{after}" in ids and not before[-1].isdigit() and (not own or _MASK_WORD.search(before)):
                counts[before, ""] += 1
    return [
        affix
        for affix, count in counts.most_common(6)
        if 2 * count >= min(len(ids), len(_all_ids(masks.files))) or (own and 4 * count >= len(ids))
    ]


def _pair(images: Group, masks: Group, parts: tuple[str, ...], image_affix: Affix, mask_affix: Affix) -> Pairing | None:
    """Return the reading with these texts in the names; None if too few pictures belong together."""
    own, total, pairs, all_masks = images is masks, 0, 0, 0
    files: list[str] = []
    examples: list[str] = []
    endings: Counter[str] = Counter()
    maskless = ""
    for part in parts or ("",):
        stems = images.files.get(part, {})
        others = masks.files.get(part if masks.splits else "", {})
        labelled = _strip(others, mask_affix)
        named = {_full(id, mask_affix) for id in labelled} if own else set()
        ids = {id for id in _strip(stems, image_affix) if _full(id, image_affix) not in named}
        total, all_masks = total + len(ids), all_masks + len(labelled)
        for id in sorted(ids - labelled)[: not maskless]:
            image = _full(id, image_affix)
            maskless = _path(images.template, part, image, stems[image][0])
        for id in sorted(ids & labelled):
            image, mask = _full(id, image_affix), _full(id, mask_affix)
            endings.update(stems[image])
            examples.append(_path(images.template, part, image, stems[image][0]))
            files.append(_path(masks.template, part, mask, _lossless(others[mask])))
            pairs += 1
    if not pairs or 2 * pairs < min(total, all_masks):
        return None
    ending = next(iter(endings)) if own and len(endings) == 1 else ".*"
    exact = mask_affix == ("", "") and image_affix == ("", "")
    told = bool(_MASK_WORD.search("".join(mask_affix)))
    rank = 4 * (images.role == "image") + 4 * (masks.role == "mask") + (2 if exact else 1 if told else 0)
    if own:
        rank = 6 if told else 0
    return Pairing(
        image=_pattern(images.template, image_affix, ending, parts, images.splits),
        mask=_pattern(masks.template, mask_affix, ".*", parts, masks.splits),
        parts=parts if len(parts) > 1 else (),
        pairs=pairs,
        images=total,
        rank=rank,
        files=tuple(files),
        examples=tuple(examples[:50]),
        maskless=maskless,
    )


def _by_ending(group: Group, parts: tuple[str, ...]) -> Iterator[Pairing]:
    """Yield the reading in which photo `a.jpg` and mask `a.png` lie side by side."""
    files, examples, total, maskless = [], [], 0, ""
    photo: Counter[str] = Counter()
    mask: Counter[str] = Counter()
    for part in parts or ("",):
        for id, endings in sorted(group.files.get(part, {}).items()):
            lossy = [ending for ending in endings if ending.lower() in LOSSY_SUFFIXES]
            lossless = [ending for ending in endings if ending.lower() not in LOSSY_SUFFIXES]
            total += 1
            if len(lossy) == len(lossless) == 1:
                photo.update(lossy)
                mask.update(lossless)
                examples.append(_path(group.template, part, id, lossy[0]))
                files.append(_path(group.template, part, id, lossless[0]))
            else:
                maskless = maskless or _path(group.template, part, id, endings[0])
    if len(photo) != 1 or len(mask) != 1 or 2 * len(files) < total:
        return
    yield Pairing(
        image=_pattern(group.template, ("", ""), next(iter(photo)), parts, group.splits),
        mask=_pattern(group.template, ("", ""), next(iter(mask)), parts, group.splits),
        parts=parts if len(parts) > 1 else (),
        pairs=len(files),
        images=total,
        rank=5,
        files=tuple(files),
        examples=tuple(examples[:50]),
        maskless=maskless,
    )


def _full(id: str, affix: Affix) -> str:
    folder, mark, name = id.rpartition("/")
    return f"{folder}{mark}{affix[0]}{name}{affix[1]}"


def _lossless(endings: list[str]) -> str:
    return next((ending for ending in endings if ending.lower() not in LOSSY_SUFFIXES), endings[0])


def _path(template: str, part: str, id: str, ending: str) -> str:
    return f"{template.replace('{split}', part)}/{id}{ending}".lstrip("/")


def _pattern(template: str, affix: Affix, ending: str, parts: tuple[str, ...], own: tuple[str, ...]) -> str:
    """Return the pattern of a group; with one split alone, its word takes the place of `{split}`."""
    folder = template.replace("{split}", parts[0]) if len(parts) == 1 and own else template
    return f"{folder}/{affix[0]}{{id}}{affix[1]}{ending}".lstrip("/")
