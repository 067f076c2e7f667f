"""Score maps of the images of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.ahead import read_ahead
from gss.core.distributed import is_main, shard
from gss.core.errors import InputError
from gss.data.outliers.benchmarks import OODDataset
from gss.pipeline.pipeline import GSSPipeline

PREDICTION = "prediction"
"""Key of the predicted class among the maps of a frame; no score has this name."""


@dataclass(frozen=True)
class Frame:
    """One image with its maps.

    Attributes:
        index: index in the data set.
        id: name of the image.
        image: PIL RGB.
        labels: uint8 [H, W], see `OODDataset.read_labels`.
        truth: uint8 [H, W]: 0 in, 1 out, 255 void.
        maps: float32 [H, W] by score, and int64 [H, W] as `PREDICTION` where classes were asked for.
    """

    index: int
    id: str
    image: Image.Image
    labels: np.ndarray
    truth: np.ndarray
    maps: dict[str, np.ndarray]


class ScoreMaps:
    """Source of score maps, with one run of the network per image for all scores.

    Args:
        pipeline: the pipeline, which stays in its mode and on its device.
        window: `whole`, `slide` or `auto`.
        size: (H, W) of the network's input instead of the processor's choice.
        batch_size: number of windows of one image that are run at once.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        progress: whether the main process shows progress bars.

    Raises:
        InputError: the pipeline does not take an argument.
    """

    def __init__(
        self,
        pipeline: GSSPipeline,
        *,
        window: str = "auto",
        size: tuple[int, int] | None = None,
        batch_size: int = 1,
        workers: int = 0,
        progress: bool = False,
    ) -> None:
        self.pipeline, self.workers, self.progress = pipeline, workers, progress
        self.options: dict[str, Any] = {"window": window, "size": size, "batch_size": batch_size}
        pipeline.check_inputs([pipeline.default_decode], **self.options)

    def frame(
        self,
        dataset: OODDataset,
        index: int,
        names: Sequence[str],
        *,
        channels: Sequence[int] = (),
        sample: tuple[Image.Image, np.ndarray] | None = None,
    ) -> Frame:
        """Return the maps of one image.

        Args:
            dataset: images and labels.
            index: index of the image.
            names: names of the scores.
            channels: classes of the pipeline; `PREDICTION` is the position in this list of the most probable class.
            sample: image and labels, if they are read already.

        Raises:
            InputError: a map has another size than the labels.
        """
        image, labels = dataset.read_labels(index) if sample is None else sample
        id = dataset.ids[index]
        modes = [self.pipeline.default_decode] if channels else []
        values = self.pipeline.predict_probabilities([image], modes=modes, scores=names, **self.options)
        maps = {name: values[name][0][0].cpu().numpy() for name in names}
        for name, scores in maps.items():
            if scores.shape != labels.shape:
                raise InputError(
                    f"score {name!r} of {id} has size {list(scores.shape)}, its labels {list(labels.shape)}; image and "
                    "labels must have one size"
                )
        if channels:
            maps[PREDICTION] = values[modes[0]][0][list(channels)].argmax(0).cpu().numpy()
        return Frame(index, id, image, labels, dataset.truth(labels), maps)

    def frames(
        self,
        dataset: OODDataset,
        indices: Sequence[int],
        names: Sequence[str],
        *,
        channels: Sequence[int] = (),
        title: str = "scores",
    ) -> Iterator[Frame]:
        """Yield the maps of this process's share of some images, see `frame`, with a progress bar."""
        local = [indices[position] for position in shard(len(indices))]
        samples = read_ahead(dataset.read_labels, local, self.workers)
        for index in tqdm(local, unit="image", desc=title, disable=not (self.progress and is_main())):
            yield self.frame(dataset, index, names, channels=channels, sample=next(samples))
