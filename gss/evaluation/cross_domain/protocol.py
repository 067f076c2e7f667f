"""Arguments of the runs in `gss cross-domain`: resolution, views, decode modes, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from PIL import Image
from torch import Tensor

from gss.config.limits import check_limits, limits
from gss.core.errors import InputError
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor, check_size

DEFAULT_SCORES = ("energy", "max_logit", "msp", "entropy", "gmm_max", "token_entropy")


@dataclass(frozen=True)
class Protocol:
    """Arguments of the runs.

    Args:
        size: (H, W) of the networks' input instead of the processors' choice.
        short_sides: lengths of the shorter side in pixels instead; several are all measured.
        window: `whole`, `slide` or `auto`.
        flip: whether to average with the mirrored image.
        scales: relative sizes to average over.
        modes: decode modes, in the pipelines that have them; all if `None`.
        scores: out-of-distribution scores, in the pipelines that have them.
        false_alarms: share of in-domain pixels that may raise an alarm, in (0, 1).
        limit: largest number of images of a test set, evenly spaced.
        batch_size: number of windows of one image that are run at once.

    Raises:
        InputError: a number is out of range, or both resolutions are given.
    """

    size: tuple[int, int] | None = None
    short_sides: tuple[int, ...] = limits((), low=1)
    window: str = "auto"
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    modes: tuple[str, ...] | None = None
    scores: tuple[str, ...] = DEFAULT_SCORES
    false_alarms: float = limits(0.05, above=0, below=1)
    limit: int | None = limits(None, low=1)
    batch_size: int = limits(1, low=1)

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size(self.size, "size")
            if self.short_sides:
                raise InputError(f"size {self.size} and short_sides {self.short_sides} exclude each other; give one")
        if len(set(self.short_sides)) < len(self.short_sides):
            raise InputError(f"short_sides is {self.short_sides}; give different numbers")
        check_limits(self)

    @property
    def sides(self) -> tuple[int | None, ...]:
        """Short sides to measure at; `None` stands for the fixed size or the processor's choice."""
        return self.short_sides or (None,)

    @property
    def resolution(self) -> str:
        """The resolution in words."""
        if self.size is not None:
            return "resized to {}x{}".format(*self.size)
        if not self.short_sides:
            return "resolution of each pipeline"
        if len(self.short_sides) == 1:
            return f"short side {self.short_sides[0]}"
        listed = ", ".join(map(str, self.short_sides))
        return f"best of short sides {listed}, chosen by the mIoU on the measured images themselves"

    @cached_property
    def views(self) -> dict[str, Any]:
        """Arguments of `GSSPipeline.predict_probabilities` that are equal for all images."""
        return {"window": self.window, "flip": self.flip, "scales": self.scales, "batch_size": self.batch_size}

    def run_size(self, height: int, width: int, side: int | None) -> tuple[int, int] | None:
        """Return the size (H, W) of the network's input for an image; `None` for the processor's choice."""
        return self.size if side is None else GSSImageProcessor(short_side=side).target_size(height, width)

    def modes_of(self, pipelines: Sequence[GSSPipeline]) -> tuple[str, ...]:
        """Return the decode modes that all these pipelines have; their default one if there is none."""
        wanted = pipelines[0].decode_modes if self.modes is None else dict.fromkeys(self.modes)
        shared = tuple(mode for mode in wanted if all(mode in pipeline.decode_modes for pipeline in pipelines))
        return shared or (pipelines[0].default_decode,)

    def scores_of(self, pipelines: Sequence[GSSPipeline]) -> tuple[str, ...]:
        """Return the scores that all these pipelines have."""
        wanted = dict.fromkeys(self.scores)
        return tuple(score for score in wanted if all(score in pipeline.score_names for pipeline in pipelines))

    def run(
        self, pipeline: GSSPipeline, image: Image.Image, side: int | None, modes: Sequence[str], scores: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return float32 [K, H, W] by decode mode and float32 [H, W] by score, from one run of the network."""
        size = self.run_size(image.height, image.width, side)
        maps = pipeline.predict_probabilities(image, modes=modes, scores=scores, size=size, **self.views)
        return {name: values[0][0] if name in scores else values[0] for name, values in maps.items()}

    def settings(self) -> dict[str, Any]:
        """Return the arguments for the result."""
        return asdict(self) | {"resolution": self.resolution}
