"""Score maps of a data set, and the counts of one score over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.ahead import read_ahead
from gss.core.distributed import is_main, shard
from gss.core.errors import InputError
from gss.data.outliers.benchmarks import OODDataset
from gss.evaluation.ood.result import OpenSetScore, ScoreResult
from gss.metrics.ood import OODMetrics
from gss.metrics.open_set import OpenSetMetrics
from gss.pipeline.pipeline import GSSPipeline

CURVE_POINTS = 200
PREDICTION = "prediction"
"""Key of the closed-set prediction among the maps of a frame; no score has this name."""


@dataclass(frozen=True)
class Frame:
    """One image with its maps.

    Attributes:
        index: place in the data set.
        id: name.
        image: PIL RGB.
        labels: uint8 `[H, W]`, see `OODDataset.read_labels`.
        truth: uint8 `[H, W]`: 0 in, 1 out, 255 void.
        maps: float32 `[H, W]` by score; `PREDICTION`, int64, where classes were asked for.
    """

    index: int
    id: str
    image: Image.Image
    labels: np.ndarray
    truth: np.ndarray
    maps: dict[str, np.ndarray]


class ScoreMaps:
    """Runs a pipeline once an image for all scores.

    Args:
        pipeline: stays in its mode and on its device.
        window: `whole`, `slide` or `auto`.
        size: (H, W) the network runs at instead of the processor's choice.
        batch_size: number of windows of one image that are run at once.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        progress: show progress bars on the main process.

    Raises:
        ValueError: an argument the pipeline does not take.
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
            index: number of the image.
            names: scores.
            channels: classes of the pipeline; the place in this list of the most probable one is `PREDICTION`.
            sample: image and labels where they are read already.

        Raises:
            InputError: a map has another size than the labels.
        """
        image, labels = dataset.read_labels(index) if sample is None else sample
        id = dataset.ids[index]
        modes = [self.pipeline.default_decode] if channels else []
        found = self.pipeline.predict_probabilities([image], modes=modes, scores=names, **self.options)
        maps = {name: found[name][0][0].cpu().numpy() for name in names}
        for name, values in maps.items():
            if values.shape != labels.shape:
                raise InputError(
                    f"score {name!r} of {id} has size {list(values.shape)}, its labels {list(labels.shape)}; image and "
                    "labels must have one size"
                )
        if channels:
            maps[PREDICTION] = found[modes[0]][0][list(channels)].argmax(0).cpu().numpy()
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
        """This process's share of some images, with a progress bar of this title; see `frame`."""
        mine = [indices[place] for place in shard(len(indices))]
        samples = read_ahead(dataset.read_labels, mine, self.workers)
        for index in tqdm(mine, unit="image", desc=title, disable=not (self.progress and is_main())):
            yield self.frame(dataset, index, names, channels=channels, sample=next(samples))


class Meter:
    """Counts of one score; integer sums but for the records of single images.

    Args:
        name: of the score.
        exact: count distinct scores, see `OODMetrics`.
        single: also rank every image by itself, which takes longer than counting its pixels.
        threshold: also count how well classes are told with pixels of at least this score rejected.
        known: number of known classes, with a threshold.
    """

    def __init__(
        self, name: str, *, exact: bool = False, single: bool = False, threshold: float | None = None, known: int = 0
    ) -> None:
        self.name = name
        self.pooled = OODMetrics(exact=exact)
        self.single = OODMetrics(mode="per_image") if single else None
        self.opened = None if threshold is None else OpenSetMetrics(known, threshold)

    def update(self, frame: Frame) -> None:
        """Count one frame.

        Raises:
            ValueError: a counted score is NaN; names score and frame.
        """
        scores = frame.maps[self.name]
        try:
            self.pooled.update(scores, frame.truth)
            if self.single is not None:
                self.single.update(scores, frame.truth, ids=frame.id)
            if self.opened is not None:
                self.opened.update(frame.maps[PREDICTION], scores, frame.labels)
        except ValueError as error:
            raise InputError(f"score {self.name!r} of {frame.id}: {error}") from error

    def sum_across(self) -> None:
        """Replace the counts by those of all processes; call once on each of them."""
        for metric in (self.pooled, self.single, self.opened):
            if metric is not None:
                metric.sum_across()

    def result(self, ids: Sequence[str]) -> ScoreResult:
        """What was found; records of single images in the order of `ids`."""
        ranking = self.pooled.ranking()
        curve = histogram = per_image = opened = None
        if ranking is not None:
            drawn = ranking.curve(CURVE_POINTS), ranking.histogram()
            curve, histogram = ({key: values.tolist() for key, values in part.items()} for part in drawn)
        if self.single is not None:
            order = {id: place for place, id in enumerate(ids)}
            per_image = self.single.compute()
            records = sorted(per_image.per_image, key=lambda record: order[record["id"]])
            per_image = replace(per_image, per_image=tuple(records))
        if self.opened is not None:
            opened = OpenSetScore(self.opened.threshold, self.opened.compute())
        return ScoreResult(self.pooled.compute(), per_image, curve, histogram, open_set=opened)
