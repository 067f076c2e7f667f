"""Mappings between label spaces: what a class of one space is in another, for labels and for probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from gss.core.errors import InputError, quoted
from gss.labels.names import Targets, by_key, listed, require_known, shares_of, spelling_key
from gss.labels.space import IGNORE_INDEX, LabelSpace

# torch is imported where probabilities come in: printing and writing mappings answers at once without it.
if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class CommonClasses:
    """Classes that all sources and targets have in common.

    Attributes:
        space: common classes, in the order of the first target and with the names of its classes.
        sources: mapping from each source space to `space`, many-to-one.
        targets: mapping from each target space to `space`, many-to-one.
    """

    space: LabelSpace
    sources: tuple[LabelMapping, ...]
    targets: tuple[LabelMapping, ...]


def common_classes(mappings: Sequence[Sequence[LabelMapping]]) -> CommonClasses | None:
    """Merge classes until all sources and targets tell the same ones apart; return None if no class is left.

    Classes that any mapping links, directly or by way of others, become one. A merged class is common when every
    source and every target has a part of it; the rest is left out.

    Args:
        mappings: `mappings[i][j]` from source space i to target space j, a full rectangle.
    """
    # scipy is imported here: `gss data map` answers at once without it.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    sources, targets = [row[0].source for row in mappings], [mapping.target for mapping in mappings[0]]
    spaces = [*sources, *targets]
    ends = np.cumsum([space.num_classes for space in spaces]).tolist()
    starts = [end - space.num_classes for end, space in zip(ends, spaces, strict=True)]
    edges = [
        np.argwhere(mapping.links) + [starts[i], starts[len(sources) + j]]
        for i, row in enumerate(mappings)
        for j, mapping in enumerate(row)
    ]
    tails, heads = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(tails)), (tails, heads)), shape=(ends[-1],) * 2)
    _, group = connected_components(graph, directed=False)
    parts = [group[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
    shared = set.intersection(*map(set, parts))
    first = parts[len(sources)]
    members = {key: [k for k, own in enumerate(first) if own == key] for key in dict.fromkeys(first) if key in shared}
    if not members:
        return None
    space = LabelSpace(
        tuple(" + ".join(targets[0].names[k] for k in merged) for merged in members.values()),
        tuple(targets[0].colors[merged[0]] for merged in members.values()),
    )
    number = {key: index for index, key in enumerate(members)}
    mapped = tuple(
        LabelMapping(side, space, tuple(((number[key], 1.0),) if key in number else () for key in own))
        for side, own in zip(spaces, parts, strict=True)
    )
    return CommonClasses(space, mapped[: len(sources)], mapped[len(sources) :])


Labels = TypeVar("Labels", np.ndarray, "Tensor")

_ROUNDING = 1e-6


@dataclass(frozen=True)
class LabelMapping:
    """Matrix w[s, t] = p(t | s): the share of source class s that is target class t.

    - One-to-one and many-to-one: a single 1 in the row. The probabilities of sources with a common target (siblings)
      are added.
    - One-to-many: the source class covers several targets, and nothing in the prediction tells them apart. Its
      probability is divided by given shares. Without shares, the target of the same name is the general class and gets
      all of it (`building: [building, house, tower]`); without such a target it is divided evenly. A share of 0 is
      still a link: `common` knows that a house is a building.
    - A source class without a target is dropped: its row is 0, its label becomes 255, and its probability is
      excluded or kept apart, see `apply_probabilities`.

    Args:
        source: label space of K classes.
        target: label space of K' classes.
        shares: for each source class its targets as (class number, share), in class order; the shares of a class add
            up to at most 1.

    Raises:
        InputError: shares out of range, or no source class has any target.
    """

    source: LabelSpace
    target: LabelSpace
    shares: tuple[tuple[tuple[int, float], ...], ...] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.shares) != self.source.num_classes:
            raise InputError(f"shares has {len(self.shares)} rows for {self.source.num_classes} source classes")
        for name, row in zip(self.source.names, self.shares, strict=True):
            targets = [target for target, _ in row]
            if len(set(targets)) < len(targets) or any(not 0 <= t < self.target.num_classes for t in targets):
                raise InputError(
                    f"targets of {quoted(name)} are {targets}; each must be one of the target classes, once"
                )
            total = sum(share for _, share in row)
            if any(not share >= 0 for _, share in row) or total > 1 + _ROUNDING:
                raise InputError(
                    f"shares of {quoted(name)} are {[s for _, s in row]}; they must be 0 to 1 and add up to 1"
                )
        if not self.matrix.any():
            raise InputError(
                f"no class of the one label space maps to a class of the other: {listed(self.source.names)} against "
                f"{listed(self.target.names)}; write a mapping by hand"
            )

    @classmethod
    def identity(cls, space: LabelSpace) -> LabelMapping:
        """Return the mapping of a space to itself."""
        return cls(space, space, tuple(((number, 1.0),) for number in range(space.num_classes)))

    @classmethod
    def from_names(
        cls,
        source: LabelSpace,
        target: LabelSpace,
        names: Mapping[str, Targets],
        *,
        unmapped: Literal["error", "drop"] = "error",
        one_to_one: bool = False,
    ) -> LabelMapping:
        """Build a mapping from class names.

        Args:
            source: label space.
            target: label space.
            names: source class to target class, list of classes, {class: share}, or None to drop it.
            unmapped: treatment of source classes that `names` does not mention: a mistake, or dropped.
            one_to_one: refuse two source classes with a common target, and a source class with several.

        Raises:
            InputError: an unknown name on either side, an incomplete mapping, or not one-to-one where asked; the
                message lists the names.
        """
        require_known("source", names, source)
        absent = [name for name in source.names if name not in names]
        if absent and unmapped == "error":
            raise InputError(
                f"the mapping is incomplete, it lacks {len(absent)} source classes: {listed(absent)}; map them, or "
                "write NAME: null to leave them out"
            )
        divided = {name: shares_of(name, names.get(name)) for name in source.names}
        require_known("target", [name for row in divided.values() for name in row], target)
        numbered = ({target.index(name): share for name, share in divided[s].items()} for s in source.names)
        mapping = cls(source, target, tuple(tuple(sorted(row.items())) for row in numbered))
        if one_to_one:
            mapping.require_one_to_one()
        return mapping

    @classmethod
    def by_spelling(cls, source: LabelSpace, target: LabelSpace) -> LabelMapping:
        """Map classes whose names are equal except for case, spaces and punctuation; drop the others."""
        targets = by_key(target)
        return cls.from_names(source, target, {name: targets.get(key) for key, name in by_key(source).items()})

    @classmethod
    def from_matrix(
        cls, source: LabelSpace, target: LabelSpace, matrix: np.ndarray, links: np.ndarray | None = None
    ) -> LabelMapping:
        """Build a mapping with the shares `matrix` `[K, K']`, where `links` `[K, K']` is true (None: above 0)."""
        rows = zip(matrix, matrix > 0 if links is None else links, strict=True)
        shares = tuple(tuple((int(t), float(row[t])) for t in np.flatnonzero(linked)) for row, linked in rows)
        return cls(source, target, shares)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Shares p(t | s), float64 `[K, K']`."""
        matrix = np.zeros((self.source.num_classes, self.target.num_classes))
        for row, entries in zip(matrix, self.shares, strict=True):
            for target, share in entries:
                row[target] = share
        return matrix

    @cached_property
    def links(self) -> np.ndarray:
        """Bool `[K, K']`, true where the source class is, or covers, the target class."""
        links = np.zeros((self.source.num_classes, self.target.num_classes), bool)
        for row, entries in zip(links, self.shares, strict=True):
            row[[target for target, _ in entries]] = True
        return links

    @cached_property
    def table(self) -> np.ndarray:
        """Target of each source class, uint8 `[K]`, 255 where dropped.

        A divided class goes to its largest share, the first of equal ones. It is dropped where no share is as large as
        the part without a target.
        """
        best = self.matrix.argmax(1)
        lost = 1 - self.matrix.sum(1) > self.matrix.max(1) + _ROUNDING
        return np.where(lost, IGNORE_INDEX, best).astype(np.uint8)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Source classes without a target."""
        return tuple(name for name, row in zip(self.source.names, self.matrix, strict=True) if not row.any())

    @cached_property
    def reachable(self) -> tuple[str, ...]:
        """Target classes that can be predicted."""
        rival, own = self.matrix.T[:, None], self.matrix.T[None]  # [t', 1, s] and [1, t, s]
        # A rival beats a target that is nowhere above it; of equal ones the first is predicted.
        first = np.tri(self.target.num_classes, k=-1, dtype=bool).T
        beaten = (rival >= own).all(-1) & (first | ((rival > own) | (own == 0)).all(-1))
        return tuple(self.target.names[t] for t in np.flatnonzero(~beaten.any(axis=0)))

    @property
    def unreachable(self) -> tuple[str, ...]:
        """Target classes that are never predicted: no source class has them, or they always come second."""
        return tuple(name for name in self.target.names if name not in set(self.reachable))

    @property
    def siblings(self) -> dict[str, tuple[str, ...]]:
        """Targets with several source classes, and those classes."""
        columns = zip(self.target.names, self.links.T, strict=True)
        sources = {name: tuple(self.source.names[s] for s in np.flatnonzero(column)) for name, column in columns}
        return {target: names for target, names in sources.items() if len(names) > 1}

    @property
    def divided(self) -> dict[str, tuple[str, ...]]:
        """Source classes that cover several targets, and those targets."""
        rows = zip(self.source.names, self.shares, strict=True)
        return {name: tuple(self.target.names[t] for t, _ in row) for name, row in rows if len(row) > 1}

    def require_one_to_one(self) -> None:
        """Raise an InputError that lists siblings and divided classes, if there are any."""
        found = [f"{listed(sources)} -> {target}" for target, sources in self.siblings.items()]
        found += [f"{name} -> {listed(targets)}" for name, targets in self.divided.items()]
        if found:
            raise InputError(f"the mapping is not one-to-one: {'; '.join(found)}; map one class to one class")

    def then(self, other: LabelMapping) -> LabelMapping:
        """Return this mapping followed by another: the product of the two matrices.

        Raises:
            InputError: the sources of `other` are not the targets of this mapping, or every class is dropped.
        """
        if self.target.names != other.source.names:
            first, second = set(self.target.names), set(other.source.names)
            differ = f"only in the first: {listed(first - second)}; only in the second: {listed(second - first)}"
            raise InputError(
                "the second mapping does not start from the target classes of the first: "
                + (differ if first != second else "the classes are in another order")
            )
        return LabelMapping.from_matrix(self.source, other.target, self.matrix @ other.matrix, self.links @ other.links)

    def inverse(self, frequency: Sequence[float] | None = None) -> LabelMapping:
        """Return the reverse mapping, p(s | t) by Bayes' rule.

        Args:
            frequency: frequency of each source class `[K]`, such as its pixel count. None: a target goes to the
                source of the same name, if any; otherwise all sources are equally frequent.

        Raises:
            InputError: `frequency` has another length, or is negative or not finite.
        """
        prior = np.ones(self.source.num_classes) if frequency is None else np.asarray(frequency, np.float64)
        if prior.shape != (self.source.num_classes,) or not np.isfinite(prior).all() or (prior < 0).any():
            raise InputError(f"frequency must be {self.source.num_classes} numbers of at least 0, got {frequency}")
        links = self.links.T
        joint = (self.matrix * prior[:, None]).T
        joint = np.where(joint.any(1, keepdims=True), joint, links)  # classes that are covered only
        if frequency is None:
            same = [[spelling_key(s) == spelling_key(t) for s in self.source.names] for t in self.target.names]
            general = links & np.array(same)
            joint = np.where(general.any(1, keepdims=True), general, joint)
        total = joint.sum(1, keepdims=True)
        back = np.divide(joint, total, out=np.zeros(joint.shape), where=total > 0)
        return LabelMapping.from_matrix(self.target, self.source, back, links)

    def common(self) -> tuple[LabelMapping, LabelMapping]:
        """Return mappings from the source and from the target to the classes that both can tell apart.

        Classes that the mapping links, directly or by way of others, become one common class; classes without a link
        have none. Both mappings are many-to-one, so predictions and truth can both be brought there, whichever side
        is the finer one: this is the space of the common score.
        """
        common = common_classes([[self]])
        assert common is not None  # a mapping has at least one link
        return common.sources[0], common.targets[0]

    def apply_labels(self, labels: Labels) -> Labels:
        """Translate label maps by `table`.

        Args:
            labels: integers of any shape, 0..K-1 or 255; array or tensor.

        Returns:
            Labels of the same type and shape; 255 stays 255, and dropped classes become 255.

        Raises:
            InputError: labels outside the source space. The check synchronises with the device.
        """
        table = np.full(IGNORE_INDEX + 1, IGNORE_INDEX, np.uint8)
        table[: self.source.num_classes] = self.table
        known = ((labels >= 0) & (labels < self.source.num_classes)) | (labels == IGNORE_INDEX)
        if not known.all():
            strange = listed(map(str, sorted(set(labels[~known].tolist()))))
            raise InputError(
                f"labels hold {strange}, but the source space has the classes 0..{self.source.num_classes - 1} and "
                f"void is {IGNORE_INDEX}; read the masks with the data set's spec"
            )
        if isinstance(labels, np.ndarray):
            return table.astype(labels.dtype)[labels]
        import torch

        return torch.from_numpy(table).to(labels.device, labels.dtype)[labels.long()]

    def apply_probabilities(self, probs: Tensor, *, other: Literal["exclude", "keep"] = "exclude") -> Tensor:
        """Translate class probabilities: p(t) = sum over s of p(t | s) p(s), one matrix product.

        The probability of dropped classes remains. "exclude" divides by the sum of the others, which conditions on
        the pixel being one of the target's classes. Every labelled pixel of the target data set is one, so this is the
        default; it does not change the most probable target. Where dropped classes have all the probability, the
        reachable targets are equally probable. "keep" appends the remainder as plane K': where it is the largest, the
        target data set cannot score the answer, as in `apply_labels`.

        Args:
            probs: class probabilities `[..., K, H, W]`, floating point.
            other: treatment of the probability of dropped classes.

        Returns:
            Probabilities `[..., K', H, W]`, or `[..., K' + 1, H, W]` with "keep". Their sums are those of `probs` with
            "keep", and 1 with "exclude" when a class is dropped.

        Raises:
            InputError: not floating point, another number of planes, or an unknown `other`.
        """
        if other not in ("exclude", "keep"):
            raise InputError(f"other is {quoted(other)}; it must be exclude or keep")
        if not probs.is_floating_point() or probs.ndim < 3 or probs.shape[-3] != self.source.num_classes:
            raise InputError(
                f"probs must be class probabilities [..., {self.source.num_classes}, H, W], got {probs.dtype} "
                f"{list(probs.shape)}"
            )
        weight = _weight(self, other == "keep", probs.dtype, probs.device)
        mapped = (weight @ probs.flatten(-2)).unflatten(-1, probs.shape[-2:])
        if other == "keep" or np.allclose(self.matrix.sum(1), 1, atol=_ROUNDING):
            return mapped
        import torch

        total = mapped.sum(-3, keepdim=True)
        reached = (weight > 0).any(1).to(mapped)[:, None, None]
        enough = total > torch.finfo(total.dtype).tiny
        return torch.where(enough, mapped / total.where(enough, torch.ones_like(total)), reached / reached.sum())

    def predict(self, probs: Tensor, *, other: Literal["exclude", "keep"] = "exclude") -> Tensor:
        """Return the most probable target class of every pixel; arguments as in `apply_probabilities`.

        Returns:
            Labels int64 `[..., H, W]`; with "keep", 255 where the dropped classes together are the most probable.
        """
        best = self.apply_probabilities(probs, other=other).argmax(-3)
        return best.masked_fill(best == self.target.num_classes, IGNORE_INDEX)

    def to_names(self) -> dict[str, Targets]:
        """Return the mapping by names, as `from_names` and YAML files take it."""
        named: dict[str, Targets] = {}
        for name, row in zip(self.source.names, self.shares, strict=True):
            targets = {self.target.names[t]: share for t, share in row}
            plain = list(targets)
            short = bool(targets) and shares_of(name, plain) == targets
            named[name] = (plain if len(plain) > 1 else plain[0]) if short else targets or None
        return named


@lru_cache(maxsize=32)
def _weight(mapping: LabelMapping, keep: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix `[K', K]`, or `[K' + 1, K]` whose last row collects the dropped classes."""
    import torch

    matrix = mapping.matrix
    if keep:
        matrix = np.column_stack([matrix, np.clip(1 - matrix.sum(1), 0, None)])
    return torch.from_numpy(matrix.T).to(device, dtype)
