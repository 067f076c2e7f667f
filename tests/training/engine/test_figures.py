"""Validation figures are told as a table in percent, the rest as before."""

import math

from gss.training.engine.stage import figures_text
from gss.training.posterior.refine import smoke_share


def test_figures_by_decode_mode_are_a_table_with_a_legend():
    text = figures_text({"hard_miou": 0.8488, "hard_boundary_f": 0.5, "aux_miou": math.nan, "log_likelihood": -3.25})
    lines = text.splitlines()
    assert lines[0] == "Validation" and "mIoU: overlap of predicted and true regions" in lines[1]
    assert [line.split() for line in lines[-4:]] == [
        ["decode", "mIoU", "boundary", "F"],
        ["hard", "84.9%", "50.0%"],
        ["aux", "-", "-"],
        ["log_likelihood", "-3.2500"],
    ]


def test_means_over_fewer_classes_say_so():
    text = figures_text({"aux_miou": 1.0, "aux_classes": 1.0})
    assert "The means of aux go over 1 classes; others occur nowhere." in text and "100.0%" in text


def test_figures_without_decode_modes_stay_a_line():
    assert (
        figures_text({"rounds": 3.0, "outlier_log_likelihood": math.nan}) == "rounds 3.0000  outlier_log_likelihood -"
    )


def test_smoke_runs_shorten_the_last_step_of_stage_1_in_proportion():
    assert [smoke_share(steps) for steps in (3, 30, 60, 2000)] == [0.05, 0.5, 1.0, 1.0]
