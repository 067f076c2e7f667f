"""Hard out-of-distribution images: images without any class for which a tag classifier predicts one.

Images without any of the classes are a by-product of gathering images of the classes. Those for which the classifier
predicts a class all the same show what it confuses (Lee et al., CVPR 2022, section 3.1). Only a person can say whether
an image really holds none: every run writes a page to review, and leaves out images that were rejected on it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gss.core import distributed
from gss.core.errors import InputError, nearest, quoted
from gss.core.files import atomic_path, is_disk_error, read_text, write_json
from gss.data.files import output_names
from gss.weak.manifest import Failure
from gss.weak.tags.review_page import build_page
from gss.weak.tags.scores import Candidate, score_images

MANIFEST, PAGE, FOLDER = "ood.json", "review.html", "images"


@dataclass(frozen=True)
class Collected:
    """Result of `collect`.

    Attributes:
        kept: images that were kept, by class, highest score first.
        others: other images with a score.
        failed: files that could not be read or copied.
    """

    kept: tuple[Candidate, ...]
    others: tuple[Candidate, ...]
    failed: tuple[Failure, ...]

    def to_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the images of `ood.json`, highest score first, and their numbers."""
        records = sorted([*self.kept, *self.others], key=lambda candidate: (-candidate.score, candidate.image))
        return {
            "classes": {name: sum(one.predicted == k for one in self.kept) for k, name in enumerate(class_names)},
            "kept": len(self.kept),
            "failed": [{"image": failure.image, "error": failure.error} for failure in self.failed],
            "images": [
                {
                    "image": candidate.image,
                    "predicted": class_names[candidate.predicted],
                    "score": round(candidate.score, 6),
                    "kept": candidate.file is not None,
                    "file": candidate.file,
                }
                for candidate in records
            ],
        }


def choose(
    candidates: Sequence[Candidate], num_classes: int, *, threshold: float, per_class: int | None
) -> list[list[Candidate]]:
    """Return candidates with a score of at least `threshold` by predicted class, the highest `per_class` of each."""
    ranked = sorted(candidates, key=lambda candidate: (-candidate.score, candidate.image))
    passing = [candidate for candidate in ranked if candidate.score >= threshold]
    return [[candidate for candidate in passing if candidate.predicted == k][:per_class] for k in range(num_classes)]


def collect(
    logits_of: Callable[[Tensor], Tensor],
    class_names: Sequence[str],
    files: Sequence[Path],
    out: Path,
    *,
    threshold: float = 0.5,
    per_class: int | None = None,
    excluded: Collection[str] = (),
    size: int = 320,
    batch_size: int = 16,
    link: bool = False,
    source: str = "",
    device: torch.device | str = "cpu",
) -> Collected:
    """Score images and write those with the highest scores.

    `out` then holds `images/` (the kept ones, a folder of out-of-distribution images), `review.html` (to reject those
    that do hold a class) and, written last, the manifest `ood.json` with every scored image. Each is complete or
    absent; `images/` of an earlier run is replaced as a whole.

    Args:
        logits_of: function from images `[B, 3, H, W]` in 0..1 to logits `[B, K]`; in evaluation mode.
        class_names: K names.
        files: image files.
        out: existing folder.
        threshold: least score of a kept image, 0..1.
        per_class: largest number of kept images of each predicted class; all when None.
        excluded: absolute paths of images to leave out, see `read_excluded`.
        size: longer side in pixels at which images are scored.
        batch_size: number of images per call.
        link: True makes symbolic links to the images instead of copies.
        source: folder of the classifier, for the manifest.
        device: device of the classifier.

    Raises:
        InputError: no images, a number out of range, or no image to keep; then nothing is written.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}; scores are probabilities, give 0..1")
    for name, value in (("per_class", per_class), ("size", size), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    candidates = [path for path in files if os.path.abspath(path) not in excluded]
    if not candidates:
        raise InputError("no image to score" + (f": all {len(files)} are excluded" if files else "; give some"))
    scored, failed = score_images(
        logits_of, len(class_names), candidates, size=size, batch_size=batch_size, device=device
    )
    if not scored:
        raise InputError(f"none of the {len(failed)} images can be read; the first: {failed[0].error}")
    groups = choose(scored, len(class_names), threshold=threshold, per_class=per_class)
    chosen = [candidate for group in groups for candidate in group]
    if not chosen:
        best = max(scored, key=lambda candidate: candidate.score)
        raise InputError(
            f"none of {len(scored)} images has a score of at least {threshold}; the highest is {best.score:.3f}, for "
            f"{class_names[best.predicted]} in {best.image}; lower the threshold or give more images"
        )
    names = output_names([Path(candidate.image) for candidate in chosen])
    files_of = {
        candidate.image: f"{FOLDER}/{name}{Path(candidate.image).suffix}"
        for candidate, name in zip(chosen, names, strict=True)
    }
    copied = _copy(files_of, out, link=link) if distributed.is_main() else []
    failed += [failure for part in distributed.gather_objects(copied) for failure in part]
    lost = {failure.image for failure in failed}
    kept = [replace(one, file=files_of[one.image]) for one in chosen if one.image not in lost]
    others = [one for one in scored if one.image not in files_of]
    result = Collected(tuple(kept), tuple(others), tuple(failed))
    if distributed.is_main():
        settings = {"classifier": source, "threshold": threshold, "per_class": per_class, "size": size}
        rows = [(class_names[candidate.predicted], candidate.image, candidate.score) for candidate in kept]
        build_page(rows, sorted(excluded), title=source).save(out / PAGE)
        facts = {"schema_version": 1, **settings, "excluded": sorted(excluded)}
        write_json(out / MANIFEST, {**facts, **result.to_json(class_names)})
    distributed.barrier()
    return result


def _copy(files: Mapping[str, str], out: Path, *, link: bool) -> list[Failure]:
    """Copy or link images into `out`, whose folder of images is replaced, and return those that failed."""
    failed = []
    with atomic_path(out / FOLDER) as temporary:
        temporary.mkdir()
        for image, file in files.items():
            place = temporary / Path(file).name
            try:
                if link:
                    place.symlink_to(image)
                else:
                    shutil.copyfile(image, place)
            except OSError as error:
                if is_disk_error(error):
                    raise
                failed.append(Failure(image, f"cannot copy {image}: {error.strerror or error}"))
    return failed


def read_excluded(path: str | os.PathLike[str], files: Sequence[Path]) -> list[str]:
    """Return absolute paths of rejected images, one a line, as the review page writes them.

    Args:
        path: text file; empty lines are left out.
        files: all images.

    Raises:
        InputError: unreadable, or a line that names none of the images.
    """
    lines = read_text(path).splitlines()
    known = {os.path.abspath(file) for file in files}
    for number, line in enumerate(lines, start=1):
        if line and line not in known:
            close = nearest(line, [file for file in known if Path(file).name == Path(line).name])
            hint = f", did you mean '{close}'?" if close else ";"
            raise InputError(
                f"{path} line {number}: {quoted(line)} is not among the {len(known)} images{hint} give absolute paths "
                f"as in {MANIFEST}, and the same folders as before"
            )
    return [line for line in lines if line]
