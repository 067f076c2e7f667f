"""Notes that a reader of the tables needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gss.evaluation.cross_domain.protocol import Protocol
from gss.evaluation.cross_domain.result import GroupResult, TestSetResult
from gss.evaluation.images import unreadable_notes
from gss.labels.names import listed


def notes(
    groups: Mapping[str, GroupResult], test_sets: Mapping[str, TestSetResult], protocol: Protocol, *, common: bool
) -> Iterator[str]:
    """Yield the notes of a result.

    Args:
        groups: results by model.
        test_sets: facts by test set.
        protocol: arguments of the runs.
        common: whether there are common classes.
    """
    for name, test_set in test_sets.items():
        for note in unreadable_notes(test_set.unreadable, test_set.images):
            yield f"{name}: {note}"
    if not common:
        yield "no class is common to all pipelines and test sets, so there is no mIoU of common classes"
    if len(protocol.sides) > 1:
        yield f"resolution: {protocol.resolution}, which is optimistic"
    for name, group in groups.items():
        yield from _notes_of_group(name, group)
        if group.kind == "generative" and not any(_is_twin(other, group) for other in groups.values()):
            yield f"{name} has no discriminative twin here; train one with 'gss train twin' and add it to --pipelines"


def _notes_of_group(name: str, group: GroupResult) -> Iterator[str]:
    trained = f" (trained on {group.training_data})" if group.training_data else ""
    if group.in_domain is None:
        yield f"{name}{trained} has no test set in domain: no drop, and {group.reference} sets the threshold of alarms"
    else:
        yield f"{name}{trained}: in domain is {group.in_domain}, according to {group.in_domain_from}"
    for data, tried in group.tried.items():
        if len(tried) > 1:
            mious = ", ".join(f"{side}: {'-' if value is None else f'{value:.3f}'}" for side, value in tried.items())
            yield f"{name} on {data}: short side {group.short_side[data]} is kept (mIoU at {mious})"
    for data, pair in group.pairs.items():
        if pair.unreachable:
            unreachable = listed(pair.unreachable)
            yield f"{name} on {data}: cannot predict {unreachable}, which are void except in 'mIoU, all classes'"


def _is_twin(other: GroupResult, group: GroupResult) -> bool:
    return other.kind == "discriminative" and other.training_data == group.training_data
