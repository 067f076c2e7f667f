"""`evaluate_shifts`, `gss evaluate-shifts` and the threshold of false alarms, with real tiny pipelines."""

import json

import numpy as np
import pytest
from image_folders import SIZES, write_folder
from lockstep import Lockstep
from page_checks import check_answer
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.data.open import open_split
from gss.data.shifts.apply import SHIFTS, ShiftedImages
from gss.data.specs.load import load_spec
from gss.evaluation import evaluate, evaluate_shifts, result_tables, write_html

PICKED = {"shifts": ["fog", "gaussian_noise"], "severities": [4, 2], "scores": ["max_logit", "token_entropy"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def dataset(data):
    return open_split(load_spec(str(data)), "val")


@pytest.fixture(scope="module")
def pipelines():
    return {"prior": tiny_pipeline(), "twin": tiny_pipeline(vqvae=False)}


@pytest.fixture(scope="module")
def result(pipelines, dataset):
    return evaluate_shifts(pipelines, dataset, **PICKED, modes=["aux"], limit=4)


def test_equals_an_evaluation_of_each_shifted_data_set(pipelines, dataset, result):
    assert result.shifts == ["fog", "gaussian_noise"] and result.severities == [2, 4] and result.images == 4
    assert list(result.pipelines["prior"]["clean"]["modes"]) == ["marginal", "aux"]
    assert list(result.pipelines["twin"]["clean"]["modes"]) == ["aux"]
    for name, pipeline in pipelines.items():
        cell = result.pipelines[name]
        views = {"clean": (dataset, cell["clean"])}
        views |= {
            (shift, severity): (ShiftedImages(dataset, shift, severity), cell["shifts"][shift][severity])
            for shift, severity in (("fog", 4), ("gaussian_noise", 2))
        }
        for seen, found in views.values():
            expected = evaluate(
                pipeline, seen, modes=tuple(found["modes"]), limit=4, pictures=0, throughput=False
            ).modes
            for mode, figures in found["modes"].items():
                assert figures.to_json() == {key: expected[mode][key] for key in figures.to_json()}
    assert result.pipelines["prior"]["clean"] != result.pipelines["prior"]["shifts"]["fog"][4]


def test_alarms_are_counted_at_the_clean_threshold(pipelines, dataset, result):
    chosen = np.linspace(0, len(SIZES) - 1, 4).astype(int)
    assert list(result.pipelines["prior"]["thresholds"]) == ["max_logit", "token_entropy"]
    assert list(result.pipelines["twin"]["thresholds"]) == ["max_logit"]
    for name, score in (("prior", "max_logit"), ("prior", "token_entropy"), ("twin", "max_logit")):

        def scores(seen, name=name, score=score):
            values = []
            for index in chosen:
                image, labels = seen.read(int(index))
                map = pipelines[name](image, score=score, output_type="pt").ood_scores[0].numpy()
                values.append(map[labels != 255])
            return np.concatenate(values)

        cell = result.pipelines[name]
        clean, threshold = scores(dataset), cell["thresholds"][score]
        assert cell["clean"]["alarms"][score] == np.mean(clean >= threshold)
        assert 0.04 < cell["clean"]["alarms"][score] <= 0.05
        foggy = scores(ShiftedImages(dataset, "fog", 4))
        assert cell["shifts"]["fog"][4]["alarms"][score] == np.mean(foggy >= threshold)


def test_summary_holds_the_means(result):
    cell = result.pipelines["prior"]
    means = cell["summary"]["modes"]["marginal"]["miou"]
    table = np.array(
        [
            [cell["shifts"][shift][severity]["modes"]["marginal"]["miou"] for severity in (2, 4)]
            for shift in result.shifts
        ]
    )
    clean = cell["clean"]["modes"]["marginal"]["miou"]
    assert list(means["by_shift"].values()) == pytest.approx(table.mean(axis=1))
    assert list(means["by_severity"].values()) == pytest.approx(table.mean(axis=0))
    assert means["shifted"] == pytest.approx(table.mean())
    assert means["drop"] == pytest.approx(clean - table.mean())
    assert means["relative_drop"] == pytest.approx(1 - table.mean() / clean)
    assert cell["summary"]["alarms"]["max_logit"]["clean"] == cell["clean"]["alarms"]["max_logit"]
    assert result.curve("twin", "fog", "aux", "miou")[0] == (
        0.0,
        result.pipelines["twin"]["clean"]["modes"]["aux"]["miou"],
    )
    assert [point[0] for point in result.curve("prior", "fog", "max_logit", "alarms")] == [0, 2, 4]


def test_threshold_of_other_images(pipelines, dataset, result):
    class Half:
        label_space = dataset.label_space

        def __init__(self, indices):
            self.indices, self.ids = indices, [dataset.ids[index] for index in indices]

        def __len__(self):
            return len(self.indices)

        def read(self, index):
            return dataset.read(self.indices[index])

    twin = {"twin": pipelines["twin"]}
    options = {"shifts": ["jpeg"], "severities": [3], "pictures": False, "false_alarms": 0.2}
    found = evaluate_shifts(twin, Half([0, 1]), threshold_data=Half([2, 3, 4]), **options)
    same = evaluate_shifts(twin, Half([2, 3, 4]), **options)
    assert found.pipelines["twin"]["thresholds"] == same.pipelines["twin"]["thresholds"]
    assert same.pipelines["twin"]["clean"]["alarms"]["max_logit"] == pytest.approx(0.2, abs=0.01)
    alone = evaluate_shifts(twin, Half([0, 1]), **options)
    assert found.pipelines["twin"]["clean"]["modes"] == alone.pipelines["twin"]["clean"]["modes"]
    assert found.pipelines["twin"]["thresholds"] != alone.pipelines["twin"]["thresholds"]


def test_batches_find_the_same(pipelines, dataset, result):
    twin = {"twin": pipelines["twin"]}
    batched = evaluate_shifts(
        twin, dataset, **PICKED | {"scores": ["max_logit"]}, limit=4, batch_size=3, pictures=False
    )
    for shift, by_severity in batched.pipelines["twin"]["shifts"].items():
        for severity, cell in by_severity.items():
            expected = result.pipelines["twin"]["shifts"][shift][severity]
            assert cell["modes"]["aux"]["miou"] == pytest.approx(expected["modes"]["aux"]["miou"], abs=1e-3)
            assert cell["alarms"]["max_logit"] == pytest.approx(expected["alarms"]["max_logit"], abs=1e-3)


def test_two_processes_equal_one(dataset, monkeypatch):
    options = {"shifts": ["night", "jpeg"], "severities": [5], "pictures": False}
    single = evaluate_shifts({"twin": tiny_pipeline(vqvae=False)}, dataset, limit=3, **options)
    few = evaluate_shifts({"twin": tiny_pipeline(vqvae=False)}, dataset, limit=1, **options)
    lockstep = Lockstep()
    monkeypatch.setattr("gss.evaluation.images.shard", lambda count: range(lockstep.process_index(), count, 2))
    monkeypatch.setattr("gss.evaluation.shifts.evaluate.num_processes", lambda: 2)
    lockstep.stand_in(monkeypatch, "gss.metrics.base", "gss.evaluation.images")
    own = [{"twin": tiny_pipeline(vqvae=False)} for _ in range(2)]
    # One image leaves the second process without any.
    for limit, expected in ((3, single), (1, few)):
        for found in lockstep.run(
            lambda rank, limit=limit: evaluate_shifts(own[rank], dataset, limit=limit, **options)
        ):
            assert found.pipelines == expected.pipelines and found.settings["processes"] == 2


def test_texts_and_files(result, tmp_path):
    printed = result_tables(result).text()
    for word in (
        "prior · marginal",
        "twin · aux",
        "twin · max_logit",
        "fog",
        "severity 4",
        "mean of shifts",
        "mIoU drop",
    ):
        assert word in printed
    stored = json.loads(json.dumps(result.to_json()))
    assert stored["schema_version"] == 1 and "pictures" not in stored
    assert stored["pipelines"]["twin"]["shifts"]["fog"]["4"] == result.pipelines["twin"].shifts["fog"][4].to_json()
    write_html(result, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "falls from" in check_answer(page)
    assert page.count("<svg") == 4 * 2  # mIoU, boundary F, ECE and alarms of two shifts
    assert page.count("data:image/") == 2 * 6 + 4 and "fog, severity 4" in page
    for name in (*NAMES, "twin · alarms of max_logit", "Means"):
        assert name in page


def test_scores_may_be_left_out(pipelines, dataset):
    found = evaluate_shifts({"a": pipelines["twin"]}, dataset, shifts=["jpeg"], severities=[1], scores=[], limit=1)
    assert found.pipelines["a"]["thresholds"] == {} and "false alarms" not in result_tables(found).text()
    assert [len(pictures) for _, pictures in found.pictures] == [3]


def test_bad_arguments(pipelines, dataset):
    for arguments, message in (
        ({"shifts": ["fogg"]}, "did you mean 'fog'"),
        ({"severities": [0]}, "severity is 0"),
        ({"modes": ["margnal"]}, "decode mode 'margnal', did you mean 'marginal'"),
        ({"scores": ["enrgy"]}, "score 'enrgy', did you mean 'energy'"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"false_alarms": 5}, "false_alarms is 5"),
        ({"window": "half"}, "window"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_shifts(pipelines, dataset, **arguments)
    with pytest.raises(ValueError, match="pipelines is empty"):
        evaluate_shifts({}, dataset)
    with pytest.raises(ValueError, match="the data set lacks pole"):
        evaluate_shifts({"a": tiny_pipeline(classes=5)}, FourClasses(dataset))


class FourClasses:
    def __init__(self, dataset):
        self.ids = dataset.ids
        space = dataset.label_space
        self.label_space = type(space)(space.names[:4], space.colors[:4])

    def __len__(self):
        return len(self.ids)


def test_command(pipelines, data, tmp_path, capsys):
    folders = [str(tmp_path / name / "pipeline") for name in pipelines]
    for pipeline, folder in zip(pipelines.values(), folders, strict=True):
        pipeline.save_pretrained(folder)
    command = ["evaluate-shifts", "--pipelines", *folders, "--data", str(data), "--limit", "1"]
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    picked = ["--shifts", "blur", "--severities", "3", "--scores", "energy", "--size", "32x48"]
    assert main([*command, *files, *picked]) == 0
    captured = capsys.readouterr()
    assert "prior · energy" in captured.out and "motion_blur" in captured.out
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["settings"]["pipelines"] == dict(zip(pipelines, folders, strict=True))
    assert stored["settings"]["threshold_from"] == "clean images of val" and stored["settings"]["size"] == [32, 48]
    (tmp_path / "r.json").write_text("old")
    for options, message in (
        (["--shifts", "moton_blur"], "did you mean 'motion_blur'"),
        (["--severities", "7"], "severity is 7"),
        (["--severities", "1,x"], "'x' is not a whole number"),
        (["--scores", "enrgy"], "did you mean 'energy'"),
        (["--threshold-split", "trian"], "has no split 'trian'"),
    ):
        try:
            code = main([*command, "--json", str(tmp_path / "r.json"), *options])
        except SystemExit as stop:
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2 and message in error and error.count("\n") == 1
    assert (tmp_path / "r.json").read_text() == "old"


def test_every_shift_is_measured_by_default(pipelines, dataset):
    found = evaluate_shifts({"twin": pipelines["twin"]}, dataset, severities=[1], limit=1, pictures=False)
    assert found.shifts == list(SHIFTS) == list(found.pipelines["twin"]["shifts"])
