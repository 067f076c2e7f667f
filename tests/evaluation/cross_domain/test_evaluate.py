"""`evaluate_cross_domain` and `gss cross-domain`, with real tiny pipelines on two domains."""

import json

import numpy as np
import pytest
import torch
from domain_toys import SPACE, map_file, write_domain, write_domains
from lockstep import Lockstep
from page_checks import check_answer
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation import (
    Protocol,
    TrainingDomain,
    evaluate,
    evaluate_cross_domain,
    result_tables,
    write_html,
    write_markdown,
)
from gss.evaluation.cross_domain.inputs import find_mappings, open_test_sets
from gss.evaluation.cross_domain.result import Spread
from gss.evaluation.cross_domain.tables import cross_domain_tables


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="module")
def datasets(folders):
    return {
        "home": open_split(load_spec(folders["home"]), "val"),
        "far": open_split(load_spec(folders["far"]), "test"),
    }


@pytest.fixture(scope="module")
def groups():
    second = tiny_pipeline()
    with torch.no_grad():
        second.prior.token_head.weight.mul_(0.9)
        second.prior.aux_head.weight.add_(torch.randn(second.prior.aux_head.weight.shape))
    twin = tiny_pipeline(vqvae=False)
    return {"prior": {"prior_s0": tiny_pipeline(), "prior_s1": second}, "twin": {"twin_s0": twin}}


@pytest.fixture(scope="module")
def mappings(folders, tmp_path_factory):
    tests = open_test_sets([str(folders["home"]), f"{folders['far']}:test"], [], "val")
    file = map_file(tmp_path_factory.mktemp("map"))
    return find_mappings({"prior": SPACE, "twin": SPACE}, tests, files=[str(file)])


SCORES = ("max_logit", "token_entropy")


@pytest.fixture(scope="module")
def result(groups, datasets, mappings):
    return evaluate_cross_domain(groups, datasets, mappings=mappings, protocol=Protocol(scores=SCORES), pictures=2)


def test_in_domain_figures_are_those_of_an_evaluation(groups, datasets, result):
    assert list(result.data) == ["home", "far"] and result.data["far"]["images"] == 3
    for name, pipeline in (("prior_s1", groups["prior"]["prior_s1"]), ("twin_s0", groups["twin"]["twin_s0"])):
        expected = evaluate(pipeline, datasets["home"], pictures=0, throughput=False).modes
        cell = result.pipelines[name]["cells"]["home"]["modes"]
        assert list(cell) == list(pipeline.decode_modes) == list(expected)
        for mode, by_way in cell.items():
            for figures in by_way.values():
                for key in ("miou", "boundary_f", "ece", "accuracy", "iou"):
                    assert figures[key] == pytest.approx(expected[mode][key])
                assert figures["miou_all"] == pytest.approx(expected[mode]["miou"])


def test_classes_the_pipeline_cannot_know(groups, datasets, result):
    pair = result.groups["prior"]["pairs"]["far"]
    assert pair["unreachable"] == pair["foreign"] == ["sea"] and pair["dropped"] == ["pole"]
    assert result.common == ["road", "sky", "tree", "car"]
    cell = result.pipelines["prior_s0"]["cells"]["far"]
    for by_way in cell["modes"].values():
        for figures in by_way.values():
            assert figures["iou"][3] is None and figures["iou_all"][3] == 0.0
            assert 0 < figures["miou_all"] < figures["miou"]
    assert any("sea" in note for note in result.notes)

    pipeline = groups["prior"]["prior_s0"]
    threshold = result.pipelines["prior_s0"]["thresholds"]["far"]["max_logit"]

    def scores(data, keep):
        maps = [pipeline(image, score="max_logit").ood_scores[0] for image, _ in map(data.read, range(len(data)))]
        truth = [data.read(index)[1] for index in range(len(data))]
        return np.concatenate([map[keep(labels)] for map, labels in zip(maps, truth, strict=True)])

    at_home = scores(datasets["home"], lambda labels: labels != 255)
    assert 0.03 < np.mean(at_home >= threshold) <= 0.05
    assert result.pipelines["prior_s0"]["cells"]["home"]["alarms"]["max_logit"] == np.mean(at_home >= threshold)
    familiar = scores(datasets["far"], lambda labels: (labels != 255) & (labels != 3))
    assert cell["alarms"]["max_logit"] == np.mean(familiar >= threshold)
    assert cell["alarms_foreign"]["max_logit"] == np.mean(
        scores(datasets["far"], lambda labels: labels == 3) >= threshold
    )
    assert list(result.pipelines["twin_s0"]["cells"]["far"]["alarms"]) == ["max_logit"]


def test_summaries(result):
    for name in ("prior_s0", "twin_s0"):
        one = result.pipelines[name]
        for mode, by_way in one["summary"].items():
            for way, figures in by_way.items():
                home, far = (one["cells"][data]["modes"][mode][way]["miou_common"] for data in ("home", "far"))
                found = figures["miou_common"]
                assert found["mean"] == pytest.approx((home + far) / 2)
                assert found["harmonic"] == pytest.approx(2 * home * far / (home + far))
                assert found["away"] == far and found["drop"] == pytest.approx(home - far)
    seeds = [result.pipelines[f"prior_s{n}"]["cells"]["far"]["modes"]["aux"]["hard"]["miou"] for n in range(2)]
    stat = result.groups["prior"]["cells"]["far"]["modes"]["aux"]["hard"]["miou"]
    assert seeds[0] != seeds[1]
    assert stat == Spread(pytest.approx(np.mean(seeds)), pytest.approx(np.std(seeds, ddof=1)))
    assert result.groups["twin"]["kind"] == "discriminative" and result.groups["prior"]["default_mode"] == "marginal"
    assert not any("twin" in note and "no discriminative" in note for note in result.notes)


def test_a_missing_twin_is_noted(groups, datasets, mappings):
    alone = {"prior": {"prior_s0": groups["prior"]["prior_s0"]}}
    protocol = Protocol(modes=("aux",), scores=(), limit=1)
    found = evaluate_cross_domain(alone, datasets, mappings=mappings, protocol=protocol, pictures=0)
    assert any("no discriminative twin" in note for note in found.notes)
    assert list(found.pipelines["prior_s0"]["cells"]["home"]["modes"]) == ["aux"]
    assert found.groups["prior"]["default_mode"] == "aux" and "Alarms" not in result_tables(found).text()


def test_the_best_of_several_resolutions_is_named(groups, datasets, mappings):
    twin = {"twin": groups["twin"]}
    options = {"mappings": mappings, "pictures": 0}
    single = {
        side: evaluate_cross_domain(twin, datasets, protocol=Protocol(short_sides=(side,), scores=()), **options)
        for side in (32, 64)
    }
    both = evaluate_cross_domain(twin, datasets, protocol=Protocol(short_sides=(32, 64)), **options)
    for data in datasets:
        found = {
            side: one.pipelines["twin_s0"]["cells"][data]["modes"]["aux"]["probabilities"]["miou"]
            for side, one in single.items()
        }
        assert found[32] != found[64]
        best = max(found, key=found.get)
        assert both.groups["twin"]["short_side"][data] == best
        assert both.groups["twin"]["tried"][data] == {str(side): value for side, value in found.items()}
        cell = both.pipelines["twin_s0"]["cells"][data]["modes"]
        assert cell == single[best].pipelines["twin_s0"]["cells"][data]["modes"]
    best = both.groups["twin"]["short_side"]["far"]
    assert any(f"twin on far: short side {best} is kept" in note for note in both.notes)
    assert any("best of short sides 32, 64" in note and "optimistic" in note for note in both.notes)
    assert not any("best of" in note for note in single[32].notes)


def test_views_reach_the_network(groups, datasets, mappings, result):
    twin = {"twin": groups["twin"]}
    protocol = Protocol(flip=True, scales=(1.0, 1.5), scores=())
    found = evaluate_cross_domain(twin, datasets, mappings=mappings, protocol=protocol, pictures=0)
    figures = [one.pipelines["twin_s0"]["cells"]["home"]["modes"]["aux"] for one in (found, result)]
    assert figures[0]["hard"]["accuracy"] != figures[1]["hard"]["accuracy"]
    assert found.settings["flip"] is True and found.settings["scales"] == (1.0, 1.5)


def test_two_processes_equal_one(datasets, mappings, monkeypatch):
    protocol = Protocol(scores=("msp",))
    options = {"protocol": protocol, "mappings": mappings, "pictures": 0}
    own = [{"twin": {"twin": tiny_pipeline(vqvae=False)}} for _ in range(2)]
    expected = evaluate_cross_domain(own[0], datasets, **options)
    lockstep = Lockstep()
    monkeypatch.setattr("gss.evaluation.images.shard", lambda count: range(lockstep.process_index(), count, 2))
    monkeypatch.setattr("gss.evaluation.cross_domain.evaluate.num_processes", lambda: 2)
    lockstep.stand_in(monkeypatch, "gss.metrics.base", "gss.evaluation.cross_domain.counts", "gss.evaluation.images")
    for found in lockstep.run(lambda rank: evaluate_cross_domain(own[rank], datasets, **options)):
        assert found.pipelines == expected.pipelines and found.groups == expected.groups
        assert found.settings["processes"] == 2


def test_texts_and_files(result, tmp_path):
    printed = result_tables(result).text()
    for text in (
        "prior · marginal",
        "twin · aux · far",
        "harmonic mean",
        "out of domain",
        "drop",
        "±",
        "sea",
        "token_entropy",
        "common",
    ):
        assert text in printed
    assert "4 of 5 classes of far (prior cannot predict sea)" in printed and "occur nowhere" not in printed
    stored = json.loads(json.dumps(result.to_json()))
    assert stored["schema_version"] == 1 and "pictures" not in stored and stored["common"] == result.common
    miou = stored["groups"]["prior"]["summary"]["aux"]["hard"]["miou"]["drop"]
    assert miou == result.groups["prior"].summary["aux"]["hard"]["miou"].drop.to_json()
    write_markdown(result, tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    assert "| model · decode | home | far | mean |" in text and "## Notes" in text
    assert all(line.count("|") == text_columns for _, lines in blocks(text) for text_columns, line in lines)
    write_html(result, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "reaches a mIoU of" in check_answer(page)
    assert page.count('class="heat"') == 2  # boundary F and calibration error; mIoU is in the table
    assert page.count("data:image/") == 2 * 2 * 4 + 4  # test sets, images, and image, truth, two models; a row on top
    for name in ("sea", "Pictures of far", "prior · marginal"):
        assert name in page


def blocks(markdown):
    """(title, [(columns of the header, line)]) of every table."""
    for part in markdown.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        yield part.splitlines()[0], [(lines[0].count("|"), line) for line in lines]


def test_pictures_show_the_classes_of_the_test_set(groups, datasets, mappings, result):
    caption, pictures = result.pictures["far"][0]
    assert caption == "frame0" and len(pictures) == 4
    image, labels = datasets["far"].read(0)
    assert np.array_equal(np.asarray(pictures[0]), np.asarray(image))
    probs = groups["twin"]["twin_s0"].predict_probabilities(image, modes=["aux"])["aux"][0]
    best = mappings["twin", "far"][0].predict(probs).numpy()
    # Class colours at 55 % over the image, but for the white lines between classes.
    blended = 0.45 * np.asarray(image) + 0.55 * np.asarray(datasets["far"].label_space.colors)[best]
    away = np.abs(np.asarray(pictures[3]) - blended).max(-1) > 1
    edge = np.zeros_like(away)
    edge[:, 1:] |= best[:, 1:] != best[:, :-1]
    edge[1:] |= best[1:] != best[:-1]
    assert not (away & ~edge).any()


def test_bad_arguments(groups, datasets, mappings):
    for arguments, message in (
        ({"modes": ("margnal",)}, "did you mean 'marginal'"),
        ({"scores": ("enrgy",)}, "did you mean 'energy'"),
        ({"limit": 0}, "limit is 0; it must be at least 1"),
        ({"false_alarms": 5}, "false_alarms is 5"),
        ({"short_sides": (0,)}, "short_sides is"),
        ({"short_sides": (64, 64)}, "give different numbers"),
        ({"size": (32, 48), "short_sides": (32,)}, "exclude each other"),
        ({"window": "half"}, "unknown window 'half'"),
        ({"scales": (0.0,)}, "scales is"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_cross_domain(groups, datasets, mappings=mappings, protocol=Protocol(**arguments))
    for some, sets in (({}, datasets), (groups, {}), ({"prior": {}}, datasets)):
        with pytest.raises(ValueError, match="is empty; name at least one"):
            evaluate_cross_domain(some, sets)
    mixed = {"all": {**groups["prior"], **groups["twin"]}}
    with pytest.raises(ValueError, match="twin_s0 has other classes or is of another kind"):
        evaluate_cross_domain(mixed, datasets)


def test_without_a_test_set_in_domain(groups, datasets, mappings):
    twin, home = {"twin": groups["twin"]}, {"twin": TrainingDomain("elsewhere, split train", None, "model card")}
    protocol = Protocol(scores=("msp",), limit=1)
    found = evaluate_cross_domain(twin, datasets, mappings=mappings, training=home, protocol=protocol, pictures=0)
    summary = found.groups["twin"]["summary"]["aux"]["hard"]["miou"]
    assert summary["drop"]["mean"] is None and summary["away"] == summary["mean"]
    assert found.groups["twin"]["reference"] == "home" and any("no test set in domain" in n for n in found.notes)


def test_one_test_set_has_one_column_and_no_trivial_table(groups, datasets):
    home = {"home": datasets["home"]}
    found = evaluate_cross_domain({"twin": groups["twin"]}, home, protocol=Protocol(scores=("msp",)), pictures=0)
    tables = {table.title: table for table in cross_domain_tables(found).tables}
    assert list(tables["mIoU"].columns) == ["model · decode", "home"]
    assert not any("larm" in title for title in tables)
    assert "out of domain" not in cross_domain_tables(found).text().lower()


def test_different_ignore_indices_mean_the_same(groups, tmp_path):
    twin, protocol = {"twin": groups["twin"]}, Protocol(scores=("msp",))
    sets = {
        f"void{void}": open_split(load_spec(write_domain(tmp_path / f"void{void}", NAMES, void=void)), "val")
        for void in (255, 11)
    }
    cells = evaluate_cross_domain(twin, sets, protocol=protocol, pictures=0).pipelines["twin_s0"]["cells"]
    assert cells["void255"] == cells["void11"]


def test_command(groups, folders, tmp_path, capsys):
    paths = [str(tmp_path / name / "pipeline") for name in ("prior_s0", "prior_s1", "twin_s0")]
    flat = {**groups["prior"], **groups["twin"]}
    for pipeline, path in zip(flat.values(), paths, strict=True):
        pipeline.save_pretrained(path, training_data="home, split val")
    command = ["cross-domain", "--pipelines", *paths, "--data", str(folders["home"]), f"{folders['far']}:test"]
    command += ["--map", str(map_file(tmp_path)), "--limit", "1", "--modes", "aux", "--scores", "energy"]
    files = [arg for kind in ("json", "markdown", "html") for arg in (f"--{kind}", str(tmp_path / f"r.{kind}"))]
    assert main([*command, *files, "--short-side", "32", "--flip", "--scales", "1,1.5"]) == 0
    captured = capsys.readouterr()
    for text in ("prior · aux", "twin · aux · far", "short side 32", "which it was trained on"):
        assert text in captured.out
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["settings"]["pipelines"]["prior"] == dict(zip(["prior_s0", "prior_s1"], paths[:2], strict=True))
    assert stored["settings"]["scales"] == [1.0, 1.5] and stored["settings"]["flip"] is True
    assert stored["data"]["far"]["split"] == "test" and stored["groups"]["prior"]["in_domain"] == "home"
    assert (tmp_path / "r.markdown").read_text().startswith("# Train here") and (tmp_path / "r.html").stat().st_size
    (tmp_path / "r.json").write_text("old")
    for options, message in (
        (["--in-domain", "hme"], "did you mean 'home'"),
        (["--scores", "enrgy"], "did you mean 'energy'"),
        (["--short-side", "x"], "'x' is not a whole number"),
        (["--short-side", "32", "--size", "32x48"], "not allowed with"),
        (["--scales", "a"], "not a list of numbers"),
        (["--mseg", str(tmp_path / "none.tsv")], "cannot read the MSeg table"),
        (["--html", str(tmp_path)], "cannot write --html"),
    ):
        try:
            code = main([*command, "--json", str(tmp_path / "r.json"), *options])
        except SystemExit as stop:
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2 and message in error and error.count("\n") == 1
    assert (tmp_path / "r.json").read_text() == "old"
