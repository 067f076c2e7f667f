"""How pipelines are run in `gss cross-domain`: resolution, views, decode modes, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from PIL import Image
from torch import Tensor

from gss.core.errors import InputError
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor, check_size

DEFAULT_SCORES = ("energy", "max_logit", "msp", "entropy", "gmm_max", "token_entropy")


@dataclass(frozen=True)
class Protocol:
    """How pipelines are run and what is read off them.

    Args:
        size: (H, W) the networks run at instead of their processors' choice.
        short_sides: Lengths of the shorter side to run at instead; several are all measured.
        window: `whole`, `slide` or `auto`.
        flip: Average with the mirrored image.
        scales: Average over these relative sizes.
        modes: Decode modes, in the pipelines that have them; all if `None`.
        scores: Out-of-distribution scores likewise.
        false_alarms: Share of in-domain pixels that may raise an alarm.
        limit: Measure only so many images of a test set, evenly spread.

    Raises:
        ValueError: A number is out of range, or both resolutions are given.
    """

    size: tuple[int, int] | None = None
    short_sides: tuple[int, ...] = ()
    window: str = "auto"
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    modes: tuple[str, ...] | None = None
    scores: tuple[str, ...] = DEFAULT_SCORES
    false_alarms: float = 0.05
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size(self.size, "size")
            if self.short_sides:
                raise InputError(f"size {self.size} and short_sides {self.short_sides} exclude each other; give one")
        if any(side < 1 for side in self.short_sides) or len(set(self.short_sides)) < len(self.short_sides):
            raise InputError(f"short_sides is {self.short_sides}; give different numbers of at least 1 pixel")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit must be at least 1, got {self.limit}")
        if not 0 < self.false_alarms < 1:
            raise InputError(f"false_alarms is {self.false_alarms}; it must lie between 0 and 1, such as 0.05")

    @property
    def sides(self) -> tuple[int | None, ...]:
        """Short sides to measure at; `None` is the fixed size or the processor's choice."""
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
        """Arguments of `GSSPipeline.predict_probabilities` that hold for every image."""
        return {"window": self.window, "flip": self.flip, "scales": self.scales}

    def run_size(self, height: int, width: int, side: int | None) -> tuple[int, int] | None:
        """Size (H, W) an image runs at; `None` for the processor's choice."""
        return self.size if side is None else GSSImageProcessor(short_side=side).target_size(height, width)

    def modes_of(self, pipelines: Sequence[GSSPipeline]) -> tuple[str, ...]:
        """Decode modes to measure that all these pipelines have; their default one where there are none."""
        wanted = pipelines[0].decode_modes if self.modes is None else dict.fromkeys(self.modes)
        own = tuple(mode for mode in wanted if all(mode in pipeline.decode_modes for pipeline in pipelines))
        return own or (pipelines[0].default_decode,)

    def scores_of(self, pipelines: Sequence[GSSPipeline]) -> tuple[str, ...]:
        """Scores to read that all these pipelines have."""
        wanted = dict.fromkeys(self.scores)
        return tuple(score for score in wanted if all(score in pipeline.score_names for pipeline in pipelines))

    def run(
        self, pipeline: GSSPipeline, image: Image.Image, side: int | None, modes: Sequence[str], scores: Sequence[str]
    ) -> dict[str, Tensor]:
        """Class probabilities `[K, H, W]` by mode and maps `[H, W]` by score, from one run of the network."""
        size = self.run_size(image.height, image.width, side)
        found = pipeline.predict_probabilities(image, modes=modes, scores=scores, size=size, **self.views)
        return {name: maps[0][0] if name in scores else maps[0] for name, maps in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Settings for the result."""
        return asdict(self) | {"resolution": self.resolution}
