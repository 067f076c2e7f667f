"""Means over fewer classes than there are say over how many, wherever they are shown."""

import numpy as np
from image_folders import write_folder
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.page import build_page
from gss.evaluation.segmentation.tables import averages_note, segmentation_tables


def test_a_class_that_occurs_nowhere_is_named(tmp_path):
    root = write_folder(tmp_path / "data", NAMES)
    for path in (root / "masks").iterdir():
        labels = np.asarray(Image.open(path)).copy()
        labels[labels == 4] = 255
        Image.fromarray(labels).save(path)
    pipeline = tiny_pipeline()
    pipeline.prior.aux_head.bias.data[4] = -1e4  # never predicted either
    result = evaluate(pipeline, open_split(load_spec(root), "val"), modes=["aux"], pictures=0, throughput=False)
    assert result.modes["aux"].iou[4] is None and result.modes["aux"].iou[0] is not None
    assert averages_note(result) == "Means go over 4 of 5 classes: pole occur nowhere."
    text = segmentation_tables(result).text()
    assert averages_note(result) in text and "%" in text
    build_page(result).save(tmp_path / "report.html")
    assert "aux decode, 4 of 5 classes" in (tmp_path / "report.html").read_text()
    assert result.figures()["aux_classes"] == 4.0
