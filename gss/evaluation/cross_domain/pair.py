"""The classes of a pipeline and of a test set, and the two ways of mapping a prediction between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from gss.evaluation.cross_domain.result import PairResult
from gss.labels.mapping import LabelMapping
from gss.labels.space import IGNORE_INDEX


class LabelViews(NamedTuple):
    """Label maps of one image, uint8 [H, W]; in each the classes that it is not about are void (255).

    Attributes:
        known: classes that the pipeline can predict.
        missed: classes that it cannot predict.
        familiar: classes that a class of the pipeline is linked to, even if another target always wins.
        foreign: classes without a link, which are unknown to the pipeline.
        common: the common classes, by their own numbers; `None` without common classes.
    """

    known: np.ndarray
    missed: np.ndarray
    familiar: np.ndarray
    foreign: np.ndarray
    common: np.ndarray | None


@dataclass(frozen=True)
class Pair:
    """Relation of the classes of a pipeline to those of a test set.

    Args:
        mapping: mapping from the pipeline's classes to those of the test set.
        origin: source of the mapping, in words.
        common: mappings from the pipeline's and from the test set's classes to the common ones; `None` without any.
    """

    mapping: LabelMapping
    origin: str
    common: tuple[LabelMapping, LabelMapping] | None = None

    @property
    def foreign(self) -> tuple[str, ...]:
        """Classes of the test set that no class of the pipeline is linked to."""
        columns = zip(self.mapping.target.names, self.mapping.links.T, strict=True)
        return tuple(name for name, links in columns if not links.any())

    @property
    def relabels(self) -> bool:
        """Whether the mapping only changes numbers, so that both ways give the same result."""
        whole = bool((self.mapping.matrix.sum(1) == 1).all())
        return whole and not (self.mapping.siblings or self.mapping.divided)

    def result(self) -> PairResult:
        """Return the names of the classes for the result."""
        return PairResult(
            mapping=self.mapping.to_names(),
            origin=self.origin,
            unreachable=list(self.mapping.unreachable),
            foreign=list(self.foreign),
            dropped=list(self.mapping.dropped),
        )

    def views(self, labels: np.ndarray) -> LabelViews:
        """Return the views of a label map uint8 [H, W] of the test set."""
        known, familiar = (table[labels] for table in self._tables)
        common = None if self.common is None else self.common[1].apply_labels(labels)
        missed, foreign = (np.where(part == IGNORE_INDEX, labels, IGNORE_INDEX) for part in (known, familiar))
        return LabelViews(known, missed, familiar, foreign, common)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Look-up tables, uint8 [256], in which unreachable and in which foreign classes are void."""
        tables = []
        for left_out in (self.mapping.unreachable, self.foreign):
            table = np.arange(IGNORE_INDEX + 1, dtype=np.uint8)
            table[[self.mapping.target.index(name) for name in left_out]] = IGNORE_INDEX
            tables.append(table)
        return tables[0], tables[1]
