"""HTML pages of results."""

from __future__ import annotations

import os

from gss.evaluation.cross_domain.page import build_page as build_cross_domain_page
from gss.evaluation.cross_domain.result import CrossDomainResult
from gss.evaluation.ood.page import build_page as build_ood_page
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.segmentation.page import build_page as build_segmentation_page
from gss.evaluation.segmentation.result import EvaluationResult
from gss.evaluation.shifts.page import build_page as build_shift_page
from gss.evaluation.shifts.result import ShiftResult
from gss.report.page import Report

Result = EvaluationResult | ShiftResult | CrossDomainResult | OODEvaluation


def build_page(result: Result) -> Report:
    """Return the page of a result, with tables, charts and pictures."""
    if isinstance(result, EvaluationResult):
        return build_segmentation_page(result)
    if isinstance(result, ShiftResult):
        return build_shift_page(result)
    if isinstance(result, CrossDomainResult):
        return build_cross_domain_page(result)
    return build_ood_page([result])


def write_html(result: Result, path: str | os.PathLike[str]) -> None:
    """Write the page of a result into one file that needs no network."""
    build_page(result).save(path)
