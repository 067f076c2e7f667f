"""Files of results: HTML pages and Markdown."""

from __future__ import annotations

import os

from gss.core.files import atomic_path
from gss.evaluation.cross_domain.page import build_page as build_cross_domain_page
from gss.evaluation.cross_domain.result import CrossDomainResult
from gss.evaluation.cross_domain.tables import cross_domain_tables
from gss.evaluation.ood.page import build_page as build_ood_page
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.ood.tables import ood_tables
from gss.evaluation.samples.page import build_page as build_sample_page
from gss.evaluation.samples.result import SampleResult
from gss.evaluation.samples.tables import sample_tables
from gss.evaluation.segmentation.page import build_page as build_segmentation_page
from gss.evaluation.segmentation.result import EvaluationResult
from gss.evaluation.segmentation.tables import segmentation_tables
from gss.evaluation.shifts.page import build_page as build_shift_page
from gss.evaluation.shifts.result import ShiftResult
from gss.evaluation.shifts.tables import shift_tables
from gss.evaluation.table_set import ResultTables
from gss.report.page import Report

Result = EvaluationResult | ShiftResult | CrossDomainResult | OODEvaluation | SampleResult


def result_tables(result: Result) -> ResultTables:
    """Return the tables of a result; `text()` and `markdown()` render them."""
    match result:
        case EvaluationResult():
            return segmentation_tables(result)
        case ShiftResult():
            return shift_tables(result)
        case CrossDomainResult():
            return cross_domain_tables(result)
        case OODEvaluation():
            return ood_tables(result)
        case SampleResult():
            return sample_tables(result)


def build_page(result: Result) -> Report:
    """Return the page of a result, with tables, charts and pictures."""
    match result:
        case EvaluationResult():
            return build_segmentation_page(result)
        case ShiftResult():
            return build_shift_page(result)
        case CrossDomainResult():
            return build_cross_domain_page(result)
        case OODEvaluation():
            return build_ood_page([result])
        case SampleResult():
            return build_sample_page(result)


def write_html(result: Result, path: str | os.PathLike[str]) -> None:
    """Write the page of a result into one file that needs no network."""
    build_page(result).save(path)


def write_markdown(result: Result, path: str | os.PathLike[str]) -> None:
    """Write the tables of a result as Markdown."""
    text = result_tables(result).markdown()
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
