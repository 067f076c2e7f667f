"""`evaluate_ood` and `gss evaluate-ood` with a real tiny pipeline on folders of images."""

import json
import shutil
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
import torch
from page_checks import check_answer
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.cli.measure import evaluate_ood as command
from gss.data.outliers.benchmarks import open_ood
from gss.evaluation import evaluate_ood, result_tables
from gss.evaluation.ood.page import build_page
from gss.evaluation.ood.pictures import pick_frames
from gss.evaluation.ood.result import FrameMetrics
from gss.evaluation.ood.score_files import DTYPES, FORMATS, ScoreFiles
from gss.metrics import ComponentMetrics, OODMetrics
from gss.metrics.components import TRACKS
from gss.metrics.ood import FPR_RULES, MODES
from gss.metrics.open_set import open_miou, open_set_counts

SIZES = [(40, 52), (33, 64), (48, 31), (40, 52), (64, 48)]
SCORES = ["msp", "energy", "token_entropy"]


def write(folder: Path, masks: list[np.ndarray], names: list[str], splits: dict[str, list[int]]) -> Path:
    rng = np.random.default_rng(1)
    for index, mask in enumerate(masks):
        image = rng.integers(0, 60, (*mask.shape, 3)) + (mask % 200)[..., None] * 40
        for part, array in (("images", image), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / part / f"frame{index}.png")
    for split, frames in splits.items():
        (folder / f"{split}.txt").write_text("".join(f"frame{index}\n" for index in frames))
    classes = {str(index): name for index, name in enumerate(names)}
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": 255}))
    return folder


def blocks(size, values, seed):
    height, width = size
    cells = np.random.default_rng(seed).choice(values, (-(-height // 8), -(-width // 8)))
    return np.kron(cells, np.ones((8, 8), int))[:height, :width]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Outlier truth; frame 3 holds no outlier, frame 4 is void."""
    masks = [blocks(size, [0, 0, 1, 255], seed) for seed, size in enumerate(SIZES)]
    masks[3] = np.where(masks[3] == 1, 0, masks[3])
    masks[4] = np.full_like(masks[4], 255)
    splits = {"val": [0, 1, 2, 3, 4], "void": [3, 4]}
    return write(tmp_path_factory.mktemp("data") / "strange", masks, ["in", "out"], splits)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """The classes of the pipeline, in two splits."""
    masks = [blocks(size, [0, 1, 2, 3, 4, 255], 10 + seed) for seed, size in enumerate(SIZES)]
    splits = {"val": [0, 1, 2], "other": [3, 4]}
    return write(tmp_path_factory.mktemp("classes") / "known", masks, NAMES, splits)


@pytest.fixture(scope="module")
def dataset(data):
    return open_ood(data)


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def saved(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    pipeline.save_pretrained(folder)
    return str(folder)


def maps(pipeline, dataset, name):
    """Every frame's truth and score map, by plain calls of the pipeline."""
    for index in range(len(dataset)):
        image, truth = dataset.read(index)
        yield dataset.ids[index], truth, pipeline(image, score=name).ood_scores[0]


def test_pooled_figures_are_those_of_the_metrics(pipeline, dataset):
    result = evaluate_ood(pipeline, dataset, scores=SCORES, components="obstacle", pictures=2)
    assert result.mode == "pooled" and result.lead == "msp" and list(result.scores) == SCORES
    assert (result.images, result.without_outliers, result.void) == (5, 2, 1)
    assert [frame.id for frame in result.frames] == dataset.ids
    for name, figures in result.scores.items():
        metrics, objects = OODMetrics(), ComponentMetrics("obstacle")
        for id, truth, scores in maps(pipeline, dataset, name):
            metrics.update(scores, truth, ids=id)
        assert figures.pooled == metrics.compute() and figures.per_image is None
        for _, truth, scores in maps(pipeline, dataset, name):
            objects.update(scores >= metrics.compute().best_f1_threshold, truth)
        assert figures.components == objects.compute() and figures.components.true_components > 0
        assert figures.curve["tpr"][-1] == 1 and sum(figures.histogram["inliers"]) == pytest.approx(1)
    text = result_tables(result).text()
    assert "2 of 5 images hold no outlier pixel (1 of them void all over)" in text
    for words in (
        "Scores, pooled over images",
        "FPR at 95% TPR",
        "(first_at_least)",
        "obstacle track: predicted from 50 px",
    ):
        assert words in text


def test_per_image_figures_and_frames(pipeline, dataset):
    result = evaluate_ood(
        pipeline, dataset, scores=["token_entropy", "msp"], mode="per_image", fpr_rule="nearest", pictures=3
    )
    assert result.lead == "token_entropy"
    for name, figures in result.scores.items():
        metrics = OODMetrics(mode="per_image")
        for id, truth, scores in maps(pipeline, dataset, name):
            metrics.update(scores, truth, ids=id)
        assert figures.per_image == metrics.compute() == result.result(name)
        assert result.row(name)["FPR at 95% TPR"] == metrics.compute().fpr["nearest"]
    # Two frames have an AP, so two are shown, the worse one first.
    ranked = sorted((frame.ap, frame.id) for frame in result.frames if frame.ap is not None)
    assert [caption.split(" · ")[:2] for caption, _ in result.pictures] == [
        ["worst", ranked[0][1]],
        ["worst", ranked[1][1]],
        ["best", ranked[2][1]],
    ]
    assert result.picture_titles == ("image", "truth", "token_entropy", "msp")
    for caption, pictures in result.pictures:
        image, _ = dataset.read(dataset.ids.index(caption.split(" · ")[1]))
        assert [picture.size for picture in pictures] == [image.size] * 4
    assert "left out of the means" in result_tables(result).text()


@pytest.mark.parametrize("count", range(7))
@pytest.mark.parametrize("frames", [0, 1, 2, 5, 9])
def test_picked_frames_are_distinct_and_ranked(frames, count):
    aps = [*(((7 * place) % 11) / 11 for place in range(frames)), None]
    records = [FrameMetrics(f"{ap}", 1, 1, ap, ap, None, ap) for ap in aps]
    picked = pick_frames(records, count)
    assert len({place for _, place, _ in picked}) == len(picked) == min(frames, count)
    values = [ap for _, _, ap in picked]
    assert values == sorted(values)
    if len(picked) > 1:
        assert values[0] == min(aps[:-1]) and values[-1] == max(aps[:-1])


def test_all_scores_limit_and_exact_counts(pipeline, dataset):
    result = evaluate_ood(pipeline, dataset, limit=2, fpr_rule="nearest_thinned", pictures=0)
    assert tuple(result.scores) == pipeline.score_names and result.lead == pipeline.default_score
    assert [frame.id for frame in result.frames] == ["frame0", "frame4"]
    assert result.settings["exact"] and result.scores["msp"].pooled.fpr["nearest_thinned"] is not None
    assert result.pictures == []


@pytest.mark.parametrize("held_out_of_network", [True, False])
def test_open_set(classes, held_out_of_network):
    pipeline = tiny_pipeline(classes=4 if held_out_of_network else 5)
    dataset, other = (open_ood(classes, split, outliers=["pole"]) for split in ("val", "other"))
    result = evaluate_ood(pipeline, dataset, scores=SCORES, threshold_from=other, pictures=0)
    for name, figures in result.scores.items():
        metrics = OODMetrics()
        for _, truth, scores in maps(pipeline, other, name):
            metrics.update(scores, truth)
        threshold = metrics.ranking().threshold(0.95, "first_above")
        assert figures.open_set.threshold == threshold
        counts = torch.zeros(2, 5, 4, dtype=torch.int64)
        for index in range(len(dataset)):
            image, _ = dataset.read(index)
            raw = np.asarray(Image.open(classes / "masks" / f"{dataset.ids[index]}.png"))
            output = pipeline(image, score=name, return_probabilities=True)
            prediction = output.probabilities[0][:4].argmax(0)
            counts += open_set_counts(prediction, output.ood_scores[0], raw, threshold=threshold, num_classes=4)
        assert figures.open_set.result == open_miou(counts)
    text = result_tables(result).text()
    assert "Open set, threshold at 95 % TPR on known other" in text and "closed mIoU" in text


def test_open_set_needs_the_classes_of_the_pipeline(pipeline, classes, dataset):
    with pytest.raises(ValueError, match=r"no open-set mIoU on strange val: the pipeline lacks its classes in, .*road"):
        evaluate_ood(pipeline, dataset, threshold_from=dataset)
    held_out = open_ood(classes, "val", outliers=["car"])
    with pytest.raises(ValueError, match="would come from known val, where it is used"):
        evaluate_ood(pipeline, held_out, threshold_from=held_out)
    with pytest.raises(ValueError, match=r"lacks its classes tree, it lacks \(none\)"):
        evaluate_ood(
            tiny_pipeline(classes=2), open_ood(classes, "val", outliers=["car", "pole"]), threshold_from=held_out
        )


def test_a_threshold_needs_outliers(pipeline, classes, tmp_path):
    masks = [blocks((24, 40), [0, 1, 2, 3, 4], 0), blocks((24, 40), [0, 1, 2, 3], 0)]
    folder = write(tmp_path / "few", masks, NAMES, {"val": [0], "none": [1]})
    dataset, other = (open_ood(folder, split, outliers=["pole"]) for split in ("val", "none"))
    with pytest.raises(ValueError, match="few none holds no outlier or no inlier pixel"):
        evaluate_ood(pipeline, dataset, threshold_from=other)


def test_nothing_to_find(pipeline, data, tmp_path):
    result = evaluate_ood(pipeline, open_ood(data, "void"), scores=SCORES, components="anomaly", pictures=4)
    assert result.scores["msp"].pooled.ap is None and result.scores["msp"].components is None
    assert result.pictures == [] and result.remarks[-1] == "the metrics are undefined: no outlier pixel"
    text = result_tables(result).text()
    assert "2 of 2 images hold no outlier pixel (1 of them void all over)" in text
    assert "undefined: no outlier pixel" in text and "0.000" not in text
    build_page([result]).save(tmp_path / "r.html")
    assert "undefined: no outlier pixel" in (tmp_path / "r.html").read_text()


def test_bad_arguments(pipeline, dataset):
    for arguments, message in (
        ({"scores": ["enegry"]}, r"'enegry', did you mean 'energy'\?"),
        ({"scores": ["gmm_max"]}, "'gmm_max' needs a density head"),
        ({"scores": []}, "scores is empty"),
        ({"mode": "image"}, "unknown mode 'image'.*Modes: pooled, per_image"),
        ({"fpr_rule": "last"}, "unknown fpr_rule 'last'"),
        ({"components": "road"}, "unknown track 'road'"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"window": "half"}, "window"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_ood(pipeline, dataset, **arguments)


def test_size_of_labels_and_nan_are_refused(dataset, data):
    class Halved(type(dataset)):
        def read_labels(self, index):
            image, labels = super().read_labels(index)
            return image, labels[::2]

    with pytest.raises(ValueError, match=r"no image .* frame0: the image has size \[40, 52\], its labels \[20, 52\]"):
        evaluate_ood(tiny_pipeline(), Halved(dataset.spec, "val"), scores=["msp"])
    broken = tiny_pipeline()
    with torch.no_grad():
        broken.prior.aux_head.bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"score 'energy' of frame0: scores hold \d+ NaN"):
        evaluate_ood(broken, dataset, scores=["energy"])


def test_pipeline_keeps_its_mode(pipeline, dataset):
    pipeline.prior.train()
    evaluate_ood(pipeline, dataset, scores=["msp"], limit=1)
    assert pipeline.prior.training
    pipeline.prior.eval()


def test_score_files(pipeline, dataset, data, tmp_path):
    save = ScoreFiles(tmp_path / "out", file_format="npy")
    evaluate_ood(pipeline, dataset, scores=["msp", "energy"], save=save, pictures=0)
    for name in ("msp", "energy"):
        for id, _, scores in maps(pipeline, dataset, name):
            stored = np.load(tmp_path / "out" / "anomaly_p" / name / "strange-val" / f"{id}.npy")
            assert stored.dtype == np.float32 and np.array_equal(stored, scores)
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 2 * len(dataset)
    with pytest.raises(ValueError, match="already holds 'anomaly_p'"):
        ScoreFiles(tmp_path / "out", file_format="npy")
    half = ScoreFiles(tmp_path / "out", file_format="npy", dtype="float16", overwrite=True)
    half.write("energy", dataset, "a/b.1", np.array([[1.5, -np.inf]], np.float32))
    stored = np.load(tmp_path / "out" / "anomaly_p" / "energy" / "strange-val" / "a" / "b.1.npy")
    assert stored.dtype == np.float16 and stored.tolist() == [[1.5, -np.inf]]
    with pytest.raises(ValueError, match=r"score 'energy' of x reaches 1e\+05, too much for float16"):
        half.write("energy", dataset, "x", np.array([[1e5, -np.inf]], np.float32))
    assert not (tmp_path / "out" / "anomaly_p" / "energy" / "strange-val" / "x.npy").exists()
    with pytest.raises(ValueError, match="not a name below the folder"):
        half.path("energy", dataset, "../../x")
    for wrong in ({"file_format": "png"}, {"dtype": "float64"}):
        with pytest.raises(ValueError, match="unknown"):
            ScoreFiles(tmp_path / "other", **wrong)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("spec", "split", "id", "expected"),
    [
        ("smiyc_anomaly21", "val", "validation0000", "AnomalyTrack-all/validation0000"),
        ("smiyc_obstacle21", "val", "validation_1", "ObstacleTrack-all/validation_1"),
        ("lost_and_found", "test_noknown", "01_A/01_A_000000_000010", "LostAndFound-test/01_A_000000_000010"),
        ("streethazards", "test", "t5/300", "streethazards-test/t5/300"),
    ],
)
def test_folders_of_the_benchmark_tool(tmp_path, spec, split, id, expected):
    class Named:
        pass

    dataset = Named()
    dataset.spec, dataset.split = Named(), split
    dataset.spec.name = spec
    path = ScoreFiles(tmp_path, file_format="npy").path("msp", dataset, id)
    assert path == tmp_path / "anomaly_p" / "msp" / f"{expected}.npy"


def test_hdf5_holds_what_the_tool_reads(dataset, tmp_path):
    h5py = pytest.importorskip("h5py")
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    save = ScoreFiles(tmp_path, dtype="float16")
    save.write("msp", dataset, "frame0", values)
    with h5py.File(tmp_path / "anomaly_p" / "msp" / "strange-val" / "frame0.hdf5") as file:
        assert list(file) == ["value"] and file["value"].dtype == np.float16
        assert np.array_equal(file["value"][:], values.astype(np.float16))


def test_hdf5_without_its_library_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"need h5py: pip install 'gss\[hdf5\]', or choose the format npy"):
        ScoreFiles(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command(saved, data, classes, tmp_path, capsys):
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    scores = [
        "--scores",
        "msp, energy",
        "--save-scores",
        str(tmp_path / "s"),
        "--save-as",
        "npy",
        "--save-dtype",
        "float16",
    ]
    argv = ["evaluate-ood", saved, "--data", str(data), str(copy), "--split", "val", "--limit", "3", "--size", "32x48"]
    assert main([*argv, *scores, *files, "--components", "obstacle"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "strange val · 3 images",
        "copy val",
        "Scores, pooled over images",
        "threshold of best F1",
        "Whole objects",
    ):
        assert words in printed
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [result["data"] for result in results] == ["strange val", "copy val"]
    assert results[0]["pipeline"] == saved and results[0]["settings"]["size"] == [32, 48]
    figure = results[0]["scores"]["energy"]["pooled"]["fpr"]["first_at_least"]
    assert 0 <= figure["lower"] <= figure["value"] <= figure["upper"] <= 1
    assert results[0]["scores"] == results[1]["scores"]
    page = (tmp_path / "r.html").read_text()
    assert "The unknown is found best by" in check_answer(page)
    for words in (
        "Overview",
        "strange val: curves",
        "Precision over recall, pooled over images",
        "worst · frame",
        "mean F1",
    ):
        assert words in page
    assert page.count("data:image/") == 2 * 2 * 4 + 4 and "http://" not in page
    assert len(list((tmp_path / "s").rglob("*.npy"))) == 2 * 2 * 3


def test_command_refuses_bad_input_and_keeps_outputs(saved, data, classes, tmp_path, capsys):
    kept = tmp_path / "r.json"
    kept.write_text("old")
    argv = ["evaluate-ood", saved, "--data", str(data), "--json", str(kept)]
    for more, part in (
        (["--scores", "mspp"], "did you mean 'msp'?"),
        (["--split", "test"], "no split 'test'"),
        (["--root", "a", "b"], "--root names 2 folders for 1 data sets"),
        (["--save-dtype", "float16"], "--save-dtype say how scores are saved; add --save-scores DIR"),
        (["--threshold-from", "void"], "no open-set mIoU on strange val"),
        (["--outliers", "inn"], "unknown class 'inn'"),
        (["--save-scores", str(tmp_path), "--save-as", "npy"], "already holds 'r.json'"),
        (["--html", str(tmp_path)], "--html"),
        (["--data", str(data), str(data)], "twice"),
        (["--data", str(classes)], "none is said to be unknown"),
    ):
        assert main([*argv, *more]) == 2
        message = capsys.readouterr().err
        assert part in message and message.count("\n") == 1, message
    assert kept.read_text() == "old"


def test_a_damaged_image_does_not_lose_the_others(saved, data, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    image = next(path for path in sorted((copy / "images").rglob("*")) if path.is_file())
    image.write_bytes(b"nothing")
    target = tmp_path / "r.json"
    argv = [
        "evaluate-ood",
        saved,
        "--data",
        str(copy),
        str(data),
        "--split",
        "val",
        "--scores",
        "msp",
        "--size",
        "32x48",
    ]
    assert main([*argv, "--json", str(target)]) == 1
    assert [result["images"] for result in json.loads(target.read_text())["results"]] == [4, 5]
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: error")]
    assert len(errors) == 1 and image.name in errors[0]


def test_choices_of_the_command_are_those_of_the_modules():
    parser = ArgumentParser()
    command.add_arguments(parser)
    actions = {action.dest: tuple(action.choices or ()) for action in parser._actions}
    assert actions["fpr_rule"] == FPR_RULES and actions["mode"] == MODES and actions["components"] == tuple(TRACKS)
    assert actions["save_as"] == FORMATS and actions["save_dtype"] == DTYPES


def test_a_chart_draws_no_more_curves_than_a_reader_can_follow():
    from gss.report.charts import MOST_CURVES, line_chart

    chart = line_chart({f"score {index}": [(0, 0), (1, 1)] for index in range(16)})
    assert MOST_CURVES == 6 and chart.count('class="line ') == 6
    assert "score 5" in chart and "score 6" not in chart and "10 more not drawn" in chart


def test_two_processes_equal_one(saved, data, classes, tmp_path):
    from processes import launch

    script = "import sys; from gss.cli import main; sys.exit(main(sys.argv[1:]))"
    one, two = tmp_path / "one", tmp_path / "two"
    argv = ["evaluate-ood", saved, "--data", str(classes), "--split", "val", "--outliers", "pole"]
    argv += ["--threshold-from", "other", "--components", "obstacle", "--mode", "per_image", "--save-as", "npy"]
    launch(2, ["-c", script, *argv, "--json", f"{two}.json", "--save-scores", str(two)])
    assert main([*argv, "--json", f"{one}.json", "--save-scores", str(one)]) == 0
    (first,), (second,) = (json.loads(Path(f"{run}.json").read_text())["results"] for run in (one, two))
    assert second["settings"].pop("processes") == 2 and first["settings"].pop("processes") == 1
    assert first == second and first["scores"]["msp"]["open_set"]["open_miou"] is not None
    files = sorted(path.relative_to(one) for path in one.rglob("*.npy"))
    assert files == sorted(path.relative_to(two) for path in two.rglob("*.npy"))
    assert all((one / path).read_bytes() == (two / path).read_bytes() for path in files)
