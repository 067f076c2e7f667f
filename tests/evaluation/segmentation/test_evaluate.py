"""`evaluate` and `gss evaluate` with a real tiny pipeline on a folder of images."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from image_folders import SIZES, write_folder
from page_checks import check_answer
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.core.errors import InputError
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation import evaluate, result_tables, write_html, write_markdown
from gss.evaluation.checks import check_classes
from gss.evaluation.segmentation.page import build_page
from gss.evaluation.segmentation.pictures import PICTURE_TITLES, pick_images
from gss.evaluation.segmentation.result import ImageMetrics, ModeMetrics
from gss.metrics import SegmentationMetrics


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def dataset(data):
    return open_split(load_spec(str(data)), "val")


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def saved(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    pipeline.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def result(pipeline, dataset):
    return evaluate(pipeline, dataset, pictures=3)


def test_equals_metrics_of_plain_pipeline_calls(pipeline, dataset, result):
    assert tuple(result.modes) == pipeline.decode_modes and result.default_mode == pipeline.default_decode
    for mode in pipeline.decode_modes:
        metrics = SegmentationMetrics(5)
        for index in range(len(dataset)):
            image, labels = dataset.read(index)
            output = pipeline(image, decode=mode, return_probabilities=True, output_type="pt")
            metrics.update(output.probabilities[0], labels)
        assert result.modes[mode] == ModeMetrics.from_counts(metrics.compute())
        if mode == result.default_mode:
            assert result.confusion == metrics.confusion.tolist()
    assert result.images == len(SIZES)
    assert [image.id for image in result.image_scores] == dataset.ids
    assert result.images_per_second > 0 and result.peak_memory_mib > 0


def test_pictures_are_worst_median_best(dataset, result):
    ranked = sorted(result.image_scores, key=lambda image: image.miou)
    assert [caption.split(" · ")[:2] for caption, _ in result.pictures] == [
        ["worst", ranked[0].id],
        ["median", ranked[3].id],
        ["best", ranked[-1].id],
    ]
    for caption, pictures in result.pictures:
        image, _ = dataset.read(dataset.ids.index(caption.split(" · ")[1]))
        assert [picture.size for picture in pictures] == [image.size] * len(PICTURE_TITLES)


@pytest.mark.parametrize("count", range(9))
@pytest.mark.parametrize("images", [1, 2, 3, 5, 8])
def test_picked_images_are_distinct_and_ranked(images, count):
    scores = [(index, ImageMetrics(f"{index}", ((7 * index) % 11) / 11, 0.5)) for index in range(images)]
    picked = pick_images([*scores, (99, ImageMetrics("void", None, None))], count)
    assert len({index for _, index, _ in picked}) == len(picked) == min(images, count)
    values = [miou for _, _, miou in picked]
    assert values == sorted(values)
    if picked:
        assert picked[0][2] == min(image.miou for _, image in scores)


def test_batches_and_settings(pipeline, dataset, result):
    batched = evaluate(pipeline, dataset, batch_size=3, pictures=0, throughput=False)
    assert batched.modes["aux"].miou == pytest.approx(result.modes["aux"].miou, abs=1e-3)
    assert batched.images_per_second is None and batched.pictures == []
    small = evaluate(pipeline, dataset, modes=["hard", "hard"], size=(32, 32), limit=3, pictures=0, throughput=False)
    assert list(small.modes) == ["hard"] and small.default_mode == "hard"
    assert [image.id for image in small.image_scores] == ["frame0", "frame3", "frame6"]
    assert small.settings["size"] == (32, 32)


def test_pipeline_keeps_its_mode(pipeline, dataset):
    pipeline.prior.train()
    evaluate(pipeline, dataset, limit=1, pictures=1)
    assert pipeline.prior.training
    pipeline.prior.eval()


def test_discriminative_pipeline(dataset):
    result = evaluate(tiny_pipeline(vqvae=False), dataset, limit=2, pictures=1, throughput=False)
    assert list(result.modes) == ["aux"]
    assert "aux" in result_tables(result).text()


def test_all_void_image_is_counted_but_not_shown(pipeline, dataset):
    class AllVoid:
        ids, label_space = ["void"], dataset.label_space

        def __len__(self):
            return 1

        def read(self, index):
            image, labels = dataset.read(index)
            return image, np.full_like(labels, 255)

    result = evaluate(pipeline, AllVoid(), pictures=6, throughput=False)
    assert result.modes["hard"].miou is None and result.pictures == []
    text = result_tables(result).text()
    assert "-" in text and "note: no pixel of the measured images has a label; check the split" in text


def test_json_and_html(result, tmp_path):
    stored = json.loads(json.dumps(result.to_json()))
    assert stored["schema_version"] == 1 and stored["class_names"] == NAMES and "pictures" not in stored
    assert stored["modes"]["aux"]["iou"] == result.modes["aux"].iou == result["modes"]["aux"]["iou"]
    assert stored["modes"]["aux"]["reliability"][-1]["pixels"] == result.modes["aux"].reliability[-1].pixels
    write_html(result, tmp_path / "result.html")
    page = (tmp_path / "result.html").read_text()
    for name in (*NAMES, *result.modes, "worst · ", "Most frequent confusions"):
        assert name in page
    miou = result.modes[result.default_mode].miou
    assert f"a mIoU of {miou:.1%}" in check_answer(page)
    bare = build_page(dataclasses.replace(result, pictures=[])).html()
    assert "a mIoU of" in check_answer(bare)  # with a chart in place of pictures
    assert page.count("data:image/") == 15 + 4  # and the four that prove the answer


def test_class_names_are_no_markup(result, tmp_path):
    odd = dataclasses.replace(result, class_names=["<b>road</b>", "a|b", "*sky*", "[x](y)", "pole"], pictures=[])
    write_markdown(odd, tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    assert "<b>" not in text and "&lt;b&gt;road" in text and "a\\|b" in text and "\\*sky\\*" in text
    write_html(odd, tmp_path / "r.html")
    assert "<b>road" not in (tmp_path / "r.html").read_text()


def test_command(saved, data, tmp_path, capsys):
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    assert main(["evaluate", saved, "--data", str(data), "--limit", "2", "--size", "32x48", *files]) == 0
    printed = capsys.readouterr().out
    for word in ("mIoU", "boundary F", "images/s", "fused", "marginal", *NAMES):
        assert word in printed
    assert json.loads((tmp_path / "r.json").read_text())["pipeline"] == saved
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_command_refuses_bad_input_and_keeps_outputs(saved, data, tmp_path, capsys):
    other = write_folder(tmp_path / "other", ["road", "sky", "tree", "auto", "pole"])
    kept = tmp_path / "r.json"
    kept.write_text("old")
    assert main(["evaluate", saved, "--data", str(other), "--json", str(kept)]) == 2
    message = capsys.readouterr().err
    assert "the pipeline lacks auto; the data set lacks car" in message and message.count("\n") == 1
    assert main(["evaluate", saved, "--data", str(data), "--split", "test", "--json", str(kept)]) == 2
    assert main(["evaluate", saved, "--data", str(data), "--json", str(tmp_path)]) == 2
    assert "--json" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path), "--data", str(data), "--json", str(kept)]) == 2
    assert kept.read_text() == "old"


def test_bad_arguments(pipeline, dataset):
    for arguments, message in (
        ({"modes": ["softt"]}, "softt"),
        ({"modes": []}, "modes is empty"),
        ({"window": "half"}, "window"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(pipeline, dataset, **arguments)


def test_class_order_matters():
    check_classes(NAMES, tuple(NAMES))
    with pytest.raises(ValueError, match="order differs from class 1: 'sky' is 'tree' there"):
        check_classes(NAMES, ["road", "tree", "sky", "car", "pole"])
    with pytest.raises(ValueError, match="and 3 more"):
        check_classes(NAMES, [f"c{index}" for index in range(11)])


def test_a_class_renamed_after_training_is_given_its_name_back():
    renamed = ["road", "sky", "tree", "auto", "pole"]
    words = "give 'auto' its name of training back, 'car', in the data set; otherwise map the labels in the data spec$"
    with pytest.raises(InputError, match=f"lacks auto; the data set lacks car; if the class is the same, {words}"):
        check_classes(NAMES, renamed)
    with pytest.raises(
        InputError, match="give 'dog' its name .* and 'floor' its name of training back, 'background', in"
    ):
        check_classes(["object", "background"], ["dog", "floor"])
    for others in (renamed[:4], ["sky", "road", "tree", "auto", "pole"], [f"c{index}" for index in range(5)]):
        with pytest.raises(InputError) as error:
            check_classes(NAMES, others)
        assert "name of training" not in str(error.value)


def test_two_processes_equal_one(saved, data, dataset, tmp_path):
    from processes import launch

    script = "import sys; from gss.cli import main; sys.exit(main(sys.argv[1:]))"
    launch(2, ["-c", script, "evaluate", saved, "--data", str(data), "--json", str(tmp_path / "two.json")])
    two = json.loads((tmp_path / "two.json").read_text())
    assert main(["evaluate", saved, "--data", str(data), "--json", str(tmp_path / "one.json")]) == 0
    one = json.loads((tmp_path / "one.json").read_text())
    assert two["settings"]["processes"] == 2
    for name in ("modes", "confusion", "image_scores", "images"):
        assert two[name] == one[name], name


def test_training_images_are_marked_and_the_card_can_be_left_alone(saved, data, tmp_path, capsys):
    folder = tmp_path / "pipeline"
    shutil.copytree(saved, folder)
    before = (folder / "README.md").read_text()
    data = write_folder(tmp_path / "photos")
    shutil.copy(data / "val.txt", data / "train.txt")
    words = ["evaluate", str(folder), "--data", str(data), "--split", "train", "--modes", "aux"]
    assert main([*words, "--no-card", "--html", str(tmp_path / "r.html")]) == 0
    assert (folder / "README.md").read_text() == before
    assert "note: figures perhaps on the training images. Of new images" in capsys.readouterr().out
    assert "(perhaps on the training images) the masks reach" in check_answer((tmp_path / "r.html").read_text())
    assert main(words) == 0
    card = (folder / "README.md").read_text()
    assert ", perhaps on the training images\n" in card
    assert card.split("---")[1] == before.split("---")[1]  # the model-index is what it was
    assert "gss evaluate pipeline --data photos --split train --modes aux" in card
