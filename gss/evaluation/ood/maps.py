"""Score maps of the images of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from gss.core.progress import tracked
from gss.data.outliers.benchmarks import OODDataset
from gss.evaluation.images import Behind, ImageShare, Sample
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
        progress: bool = False,
    ) -> None:
        self.pipeline, self.progress = pipeline, progress
        self.options: dict[str, Any] = {"window": window, "size": size, "batch_size": batch_size}
        pipeline.check_inputs([pipeline.default_decode], **self.options)

    def frame(
        self, dataset: OODDataset, sample: Sample, names: Sequence[str], *, channels: Sequence[int] = ()
    ) -> Frame:
        """Return the maps of one image.

        Args:
            dataset: images and labels.
            sample: image and labels.
            names: names of the scores.
            channels: classes of the pipeline; `PREDICTION` is the position in this list of the most probable class.
        """
        modes = [self.pipeline.default_decode] if channels else []
        values = self.pipeline.predict_probabilities([sample.image], modes=modes, scores=names, **self.options)
        maps = {name: values[name][0][0].cpu().numpy() for name in names}
        if channels:
            maps[PREDICTION] = values[modes[0]][0][list(channels)].argmax(0).cpu().numpy()
        id, truth = dataset.ids[sample.index], dataset.truth(sample.labels)
        return Frame(sample.index, id, sample.image, sample.labels, truth, maps)

    def run(
        self,
        images: ImageShare,
        dataset: OODDataset,
        names: Sequence[str],
        count: Callable[[Frame], None],
        *,
        channels: Sequence[int] = (),
        title: str = "scores",
    ) -> None:
        """Hand the maps of every image to a function, in order; with workers it runs behind the network.

        Args:
            images: images of this process.
            dataset: images and labels.
            names: names of the scores.
            count: function that takes the maps.
            channels: classes of the pipeline, see `frame`.
            title: title of the progress bar.
        """
        bar = tracked(images, title, shown=self.progress)
        with Behind(active=images.workers > 0) as behind:
            for sample in bar:
                behind.call(count, self.frame(dataset, sample, names, channels=channels))
