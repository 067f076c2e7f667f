"""What the inputs of a training run hold: data sets, modules and folders of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.domains import DomainDataset
from gss.data.outliers.objects import Objects
from gss.data.outliers.scenes import ForeignScenes
from gss.data.protocols import ReadableImages
from gss.pipeline.pipeline import GSSPipeline
from gss.training.engine.sources import Source, digest, digest_folder, digest_tensors
from gss.training.splits import Splits

# Files of a data set whose contents are compared: enough to notice an edited mask, and a second at most.
_FILES = 4_000
# Files up to this size are read as a whole, of others head and tail; those of PNG hold checksums of all pixels.
_WHOLE, _ENDS = 2**16, 2**12
# Samples compared after decoding: of weak labels, which may all lie in one file, and of others, for their label map.
_READ_WEAK, _READ = 64, 8
# Objects that are cut out and compared.
_CUT = 64


def split_sources(splits: Splits) -> list[Source]:
    """Return training and validation images as inputs of a run."""
    return [
        data_source("training images", ("data.spec", "data.root", "data.train_split"), splits.plain),
        data_source("validation images", ("data.val_split",), splits.val),
    ]


def data_source(name: str, keys: tuple[str, ...], dataset: ReadableImages) -> Source:
    """Return a data set as input of a run: its images, classes and contents."""
    facts = {
        "images": str(len(dataset)),
        "ids": digest(dataset.ids),
        "classes": digest(dataset.label_space.names),
        "contents": digest(_contents(dataset)),
    }
    return Source(name, keys, facts)


def files_source(name: str, keys: tuple[str, ...], ids: Sequence[str], files: Sequence[Path]) -> Source:
    """Return image files without labels as input of a run."""
    chosen = [files[index] for index in evenly_spaced(len(files), _FILES)]
    contents = digest(_file_digest(path) for path in chosen)
    return Source(name, keys, {"images": str(len(ids)), "ids": digest(ids), "contents": contents})


def objects_source(name: str, keys: tuple[str, ...], objects: Objects) -> Source:
    """Return objects to paste as input of a run."""
    cuts = (objects.cut(index) for index in evenly_spaced(len(objects), _CUT))
    contents = digest(digest([str(cut.size), cut.tobytes()]) for cut in cuts)
    return Source(name, keys, {"objects": str(len(objects)), "ids": digest(objects.ids), "contents": contents})


def scenes_source(name: str, keys: tuple[str, ...], scenes: ForeignScenes) -> Source:
    """Return foreign scenes as input of a run."""
    contents = digest(_read_contents(scenes, _READ_WEAK))
    return Source(name, keys, {"images": str(len(scenes)), "ids": digest(scenes.ids), "contents": contents})


def module_source(name: str, keys: tuple[str, ...], *modules: nn.Module | None) -> Source:
    """Return modules as one input of a run."""
    tensors = {
        f"{number}.{key}": value
        for number, module in enumerate(modules)
        if module is not None
        for key, value in module.state_dict().items()
    }
    return Source(name, keys, {"weights": digest_tensors(tensors)})


def pipeline_source(pipeline: GSSPipeline) -> Source:
    """Return a pipeline, which a stage extends, as input of its run."""
    parts = [part if isinstance(part, nn.Module) else None for _, part in sorted(pipeline.components.items())]
    return module_source("pipeline", ("pipeline",), *parts)


def folder_sources(name: str, key: str, folder: str) -> list[Source]:
    """Return a folder of weights as input of a run; none for an id of the hub or an empty setting."""
    return [Source(name, (key,), {"weights": digest_folder(Path(folder))})] if folder and Path(folder).is_dir() else []


def _contents(dataset: ReadableImages) -> list[str]:
    """Return digests of what the samples of a data set hold, of a share of them where there are many."""
    if isinstance(dataset, DomainDataset):
        return [part for domain in dataset.parts for part in _contents(domain)]
    weak = isinstance(dataset, SegmentationDataset) and dataset.weak is not None
    contents = _read_contents(dataset, _READ_WEAK if weak else _READ)
    if isinstance(dataset, SegmentationDataset):
        for index in evenly_spaced(len(dataset), _FILES // 2):
            sample = dataset.samples[index]
            contents += [_file_digest(path) for path in (sample.image, sample.mask) if path.is_file()]
    return contents


def _read_contents(dataset: ReadableImages | ForeignScenes, limit: int) -> list[str]:
    parts: list[str] = []
    for index in evenly_spaced(len(dataset), limit):
        image, labels = dataset.read(index)
        parts.append(digest([image.tobytes(), labels.tobytes()]))
    return parts


def _file_digest(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE:
            return digest([file.read()])
        head = file.read(_ENDS)
        file.seek(-_ENDS, 2)
        return digest([str(size), head, file.read()])
