"""Results that show themselves."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss.data.specs.load import load_spec
from gss.labels.space import LabelSpace
from gss.pipeline.outputs import SegmentationOutput

IMAGES = [np.random.default_rng(i).integers(0, 256, (20, 20 + 8 * i, 3), dtype=np.uint8) for i in range(2)]


@pytest.mark.parametrize("output_type", ["np", "pil", "pt"])
def test_an_image_of_an_output(tmp_path, output_type):
    pipeline = tiny_pipeline()
    output = pipeline(IMAGES, score="entropy", output_type=output_type)
    second = output[1]
    assert second.overlay().size == (28, 20)
    shares = second.classes()
    assert sum(share for _, _, share in shares) == pytest.approx(1) and {name for name, _, _ in shares} <= set(NAMES)
    assert [share for _, _, share in shares] == sorted((share for _, _, share in shares), reverse=True)
    assert Image.open(io.BytesIO(second._repr_png_())).size == (28, 20)
    files = second.save(tmp_path, "two")
    assert set(files) == {"mask", "overlay", "confidence", "ood"}
    assert np.array_equal(np.asarray(Image.open(files["mask"])), np.asarray(output.masks[1]))
    assert np.load(tmp_path / "two_ood.npy").shape == (20, 28)
    assert repr(second).startswith("SegmentedImage(20x28: ") and "\n" not in repr(second)


def test_fields_by_name_and_slices_stay(tmp_path):
    output = tiny_pipeline()(IMAGES)
    assert output["masks"] is output.masks and output[:1] == (output.masks,)
    assert output[-1].index == 1
    with pytest.raises(IndexError):
        output[2]
    written = output.save(tmp_path)
    assert [set(files) for files in written] == [{"mask", "overlay", "confidence"}] * 2
    assert (tmp_path / "000001_mask.png").exists()
    assert repr(output) == "SegmentationOutput(2 images: 20x20, 20x28; masks, confidence, maskiges, tokens)"


def test_files_have_the_names_of_the_images_files(tmp_path):
    for name in ("a/street.png", "b/street.png", "b/park.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(IMAGES[0]).save(tmp_path / name)
    pipeline = tiny_pipeline()

    def names(images):
        return [Path(files["mask"]).name for files in pipeline(images).save(tmp_path / "out")]

    assert names(str(tmp_path / "b/park.png")) == ["park_mask.png"]
    given = [tmp_path / "a/street.png", str(tmp_path / "b/street.png"), IMAGES[0], tmp_path / "b/park.png"]
    assert names(given) == ["000000_mask.png", "000001_mask.png", "000002_mask.png", "park_mask.png"]
    assert names(np.stack([IMAGES[0]] * 2)) == ["000000_mask.png", "000001_mask.png"]


def test_names_are_text_in_a_notebook():
    pipeline = tiny_pipeline()
    pipeline.prior.config.id2label = dict.fromkeys(range(5), "<script>alert(1)</script>")
    page = pipeline(IMAGES)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and page.count("data:image/png") == 2


def test_an_output_without_a_pipeline_shows_its_numbers(tmp_path):
    output = SegmentationOutput(masks=[np.ones((4, 6), np.uint8)], confidence=[np.full((4, 6), 0.5, np.float32)])
    assert output[0].classes() == [("1", (1, 1, 1), 1.0)] and output[0].overlay().size == (6, 4)
    photo = tmp_path / "gone.png"
    Image.fromarray(IMAGES[0]).save(photo)
    output = tiny_pipeline()(photo)
    photo.unlink()
    assert output[0].overlay().size == (20, 20)


def test_a_pipeline_in_one_line():
    text = repr(tiny_pipeline(short_side=48))
    assert text.startswith("GSSPipeline(5 classes: road, sky, tree, car, pole; decode marginal; images shorter side")
    assert "\n" not in text and "cpu, float32" in text


def test_pictures_of_two_classes_have_color_and_leave_the_background_alone():
    pipeline = tiny_pipeline(classes=2)
    pipeline.prior.config.id2label = {0: "background", 1: "sheep"}
    assert pipeline.background == (0,)
    assert pipeline.colors.tolist() == [list(color) for color in LabelSpace(("background", "sheep")).colors]
    photo = np.full((24, 24, 3), 128, np.uint8)  # grey, so that all colour is that of a class
    result = pipeline(photo)[0]
    result.mask = np.zeros((24, 24), np.uint8)
    result.mask[:, 12:] = 1
    shown = np.asarray(result.overlay()).astype(int)
    assert (shown[:, :12] == 128).all()
    assert (np.ptp(shown[:, 13:], axis=2) > 40).all()


def test_a_pipeline_shows_the_colors_of_its_data():
    pipeline = tiny_pipeline()
    before = pipeline(IMAGES[0], output_type="np")
    pipeline.prior.config.label_colors = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [200, 9, 9]]
    after = pipeline(IMAGES[0], output_type="np")
    assert pipeline.colors.tolist() == pipeline.prior.config.label_colors
    assert np.array_equal(after.maskiges[0], before.maskiges[0])  # painted in the colours that it was trained on
    # One saved without colours has those of the data set that is known by these names.
    pipeline.prior.config.label_colors = None
    camvid = load_spec("camvid").label_space
    pipeline.prior.config.id2label = dict(enumerate(camvid.names))
    assert pipeline.colors.tolist() == [list(color) for color in camvid.colors]
