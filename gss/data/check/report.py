"""Check of a data set: reports of its splits, images that splits share, and files that no split uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gss.core.errors import InputError
from gss.data.check.findings import Finding, split_findings
from gss.data.check.split import SplitReport, check_split
from gss.data.specs.spec import DataSpec, Domain
from gss.data.specs.unused import Accounting, accounting


@dataclass(frozen=True)
class DomainReport:
    """Findings in one domain of a mixture, or in a plain data set.

    Args:
        domain: the domain; of a plain data set its only one, under its own name.
        splits: reports of the splits that were read.
        warnings: findings about several splits.
        files: files that are used and not, over all splits.
    """

    domain: Domain
    splits: tuple[SplitReport, ...]
    warnings: tuple[Finding, ...]
    files: Accounting

    @property
    def num_problems(self) -> int:
        """Number of errors in all splits."""
        return sum(split.num_problems for split in self.splits)

    @property
    def num_warnings(self) -> int:
        """Number of warnings, in each split and about several."""
        return len(self.warnings) + sum(len(split.warnings) for split in self.splits)


@dataclass(frozen=True)
class DataReport:
    """Findings in a data set.

    Args:
        spec: data spec.
        domains: reports of its domains; one for a plain data set.
    """

    spec: DataSpec
    domains: tuple[DomainReport, ...]

    @property
    def num_problems(self) -> int:
        """Number of errors in all domains."""
        return sum(domain.num_problems for domain in self.domains)

    def to_json(self) -> dict[str, Any]:
        """Return the report in types that JSON knows."""
        names = self.spec.label_space.names
        splits = {part.domain.name: [split.to_json(names) for split in part.splits] for part in self.domains}
        warnings = [warning.to_json() for part in self.domains for warning in part.warnings]
        head = {"schema_version": 1, "name": self.spec.name, "note": self.spec.note, "problems": self.num_problems}
        body = {"domains": splits} if self.spec.domains else {"splits": splits[self.spec.name]}
        files = {part.domain.name: part.files.to_json() for part in self.domains}
        return head | body | {"warnings": warnings, "files": files if self.spec.domains else files[self.spec.name]}


def check_data(spec: DataSpec, split: str | None = None) -> DataReport:
    """Read a data set, every domain of a mixture in its own splits.

    Args:
        spec: data spec.
        split: a split of the data set or mixture; None reads all.

    Raises:
        InputError: a domain lacks the split, has none, or has no root folder.
    """
    if split is not None:
        spec.check_split(split)
    mixed = bool(spec.domains)
    return DataReport(spec, tuple(_check_domain(domain, split, mixed=mixed) for domain in _domains(spec)))


def _domains(spec: DataSpec) -> tuple[Domain, ...]:
    return spec.domains or (Domain(spec.name, spec),)


def _check_domain(domain: Domain, split: str | None, *, mixed: bool) -> DomainReport:
    spec = domain.spec
    for name in domain.splits:
        domain.check_split(name)
    names = list(domain.splits.values()) or spec.readable_splits()
    if split is not None:
        own = domain.split(split)
        names = [own] if own is not None else []
    elif not names:
        raise InputError(f"data set {spec.name!r} has no split: no list {spec.list_file} in {spec.root}")
    trained = next((name for name in ("train", "all") if name in names), names[0] if names and split is None else "")
    if mixed:
        trained = ""  # a class that one domain lacks may be in another
    splits = tuple(check_split(spec, name, training=name == trained) for name in dict.fromkeys(names))
    warnings = split_findings([(report.split, report.ids, report.files.digests) for report in splits])
    advice = "" if mixed or split is not None else spec.validation_advice()
    if advice:
        warnings.append(Finding("no_validation", 1, f"no split validates: {advice}"))
    return DomainReport(domain, splits, tuple(warnings), accounting(spec))
