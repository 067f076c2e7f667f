"""Generated weak labels: inside their class, the same for the same seed, and a folder that is a data set."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import launch
from scipy import ndimage

from gss.cli import main
from gss.cli.parser import FORM_NAMES
from gss.config.weak_labels import FORMS, BlockConfig, BoxConfig, CoarseConfig, PointConfig, ScribbleConfig, TagConfig
from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec
from gss.data.transforms import JointTransform
from gss.weak.make.coarse import outline, simplified
from gss.weak.make.forms import Truth, weaken
from gss.weak.make.paths import medial_path, sub_path
from gss.weak.make.regions import fits

K = 5
PIXEL_FORMS = [
    ("points", PointConfig()),
    ("points", PointConfig(mode="class", count=7, position="uniform", jitter=3.0)),
    ("points", PointConfig(position="extreme", width=5.0)),
    ("scribbles", ScribbleConfig(tries=5)),
    ("scribbles", ScribbleConfig(method="medial", length=0.5, width=2.0)),
    ("scribbles", ScribbleConfig(method="walk")),
    ("scribbles", ScribbleConfig(length=0.0)),
    ("blocks", BlockConfig(share=0.3, choice="balanced")),
    ("coarse", CoarseConfig(min_area=16)),
]


def regions(seed, size=(57, 73)):
    """Blobs of K classes with holes, thin parts and void."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(K, *size)), (0, 5, 5), mode="wrap")
    labels = smooth.argmax(0).astype(np.uint8)
    labels[smooth.max(0) < np.quantile(smooth.max(0), 0.08)] = 255
    return labels


@pytest.mark.parametrize(("form", "cfg"), PIXEL_FORMS)
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_labels_never_leave_their_class_or_lie_on_void(form, cfg, seed):
    truth = Truth(f"{seed}", regions(seed), K)
    weak = weaken(truth, form, cfg, seed=1)
    drawn = weak.rasterize().labels
    known = drawn != 255
    np.testing.assert_array_equal(drawn[known], truth.labels[known])
    if form != "coarse":
        assert known.any()
    if form in ("points", "scribbles"):
        assert weak.exhaustive
        np.testing.assert_array_equal(weak.present(), truth.counts() > 0)
        assert set(np.unique(drawn[known])) == set(np.unique(truth.labels)) - {255}
    else:
        assert not weak.exhaustive


@pytest.mark.parametrize("form", FORM_NAMES)
def test_same_seed_same_labels(form):
    truth = Truth("x/1", regions(0), K)
    cfg = FORMS[form](miss=0.5) if form == "tags" else FORMS[form](drop=0.3) if form == "boxes" else FORMS[form]()
    results = [weaken(truth, form, cfg, seed=seed) for seed in (3, 3, 4)]
    drawn = [np.append(w.rasterize().labels.ravel(), w.present()) for w in results]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    if form != "coarse":  # nothing about it is random
        assert (drawn[0] != drawn[2]).any()
    other = weaken(Truth("x/2", truth.labels, K), form, cfg, seed=3)
    if form != "coarse":
        assert (np.append(other.rasterize().labels.ravel(), other.present()) != drawn[0]).any()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("choice", ["uniform", "checkerboard", "balanced"])
def test_blocks_reach_their_share_and_little_more(share, choice):
    truth = Truth("a", regions(3, (60, 80)), K)
    drawn = weaken(truth, "blocks", BlockConfig(share=share, choice=choice)).rasterize().labels
    labelled = (drawn != 255).sum() / (truth.labels != 255).sum()
    assert share <= labelled <= share + 1 / 100 + 1e-9 + 0.01
    cells = (drawn != 255).reshape(10, 6, 10, 8).any((1, 3))
    if choice == "checkerboard" and share < 0.5:
        row, column = np.nonzero(cells)
        assert len(set(((row + column) % 2).tolist())) == 1


def test_boxes_are_tight_and_leave_over_background():
    labels = np.zeros((40, 50), np.uint8)
    labels[5:15, 8:20], labels[30:38, 30:45] = 1, 2
    labels[33:35, 35:38] = 255
    weak = weaken(Truth("a", labels, K, background=0), "boxes", BoxConfig())
    assert sorted(map(tuple, weak.boxes.tolist())) == [(8, 5, 20, 15, 1), (30, 30, 45, 38, 2)]
    assert weak.boxes_exhaustive and weak.exhaustive
    drawn = weak.rasterize().labels
    assert drawn[0, 0] == 0 and drawn[10, 14] == 1 and drawn[5, 8] == 255
    dropped = weaken(Truth("a", labels, K, background=0), "boxes", BoxConfig(drop=1.0))
    assert len(dropped.boxes) == 0 and not dropped.boxes_exhaustive and not dropped.exhaustive
    assert (dropped.rasterize().labels == 255).all()
    loose = weaken(Truth("a", labels, K, background=0), "boxes", BoxConfig(loose=0.5))
    assert (loose.boxes[:, :2] <= weak.boxes[:, :2]).all() and (loose.boxes[:, 2:4] >= weak.boxes[:, 2:4]).all()
    jittered = weaken(Truth("a", labels, K, background=0), "boxes", BoxConfig(jitter=0.2))
    assert not np.array_equal(jittered.boxes, weak.boxes)


def test_tags_and_their_mistakes():
    labels = np.zeros((40, 50), np.uint8)
    labels[5:15, 8:20], labels[0, :3] = 1, 2
    truth = Truth("a", labels, K, background=0)
    clean = weaken(truth, "tags", TagConfig())
    assert clean.tags.tolist() == [True, True, False, False, False] and clean.exhaustive
    missed = weaken(truth, "tags", TagConfig(miss=1.0))
    assert missed.tags.tolist() == [True, False, False, False, False]
    wrong = weaken(truth, "tags", TagConfig(false=1.0))
    assert wrong.tags.tolist() == [True, True, False, True, True]
    # Class 3 always comes with class 1, class 4 never.
    companions = np.eye(K, dtype=np.int64) * 10
    companions[1, 3] = companions[3, 1] = 10
    truth = Truth("a", labels, K, 0, companions)
    drawn = [weaken(truth, "tags", TagConfig(false=0.3, context=True), seed=s).tags[3:] for s in range(40)]
    single = [tags for tags in drawn if tags.sum() == 1]
    assert single and all(tags[0] for tags in single)


def test_medial_path_runs_along_the_middle():
    mask = np.zeros((40, 120), bool)
    mask[8:33, 5:115] = True
    depth = ndimage.distance_transform_edt(mask)
    path = medial_path(depth, 3.0)
    assert fits(mask, path, 3.0)
    assert abs(path[0, 0] - path[-1, 0]) > 75
    middle = path[(path[:, 0] > 25) & (path[:, 0] < 95)]
    assert np.abs(middle[:, 1] - 20.5).max() < 3
    part = sub_path(path, 0.4, np.random.default_rng(0))
    length = [np.hypot(*np.diff(p, axis=0).T).sum() for p in (path, part)]
    assert length[1] == pytest.approx(0.4 * length[0], rel=1e-6)
    assert medial_path(ndimage.distance_transform_edt(np.eye(9, dtype=bool)), 3.0) is None


def test_outlines_are_exact_and_simplified_within_tolerance():
    labels = regions(5)
    mask = labels == 1
    rings = outline(mask)
    filled = np.zeros(mask.shape, bool)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    for ring in rings:
        inside = np.zeros(mask.shape, bool)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
            if x0 == x1:  # crossing number of the ray to the left
                inside ^= (x > x0) & (y > min(y0, y1)) & (y < max(y0, y1))
        filled |= inside
    np.testing.assert_array_equal(filled, ndimage.binary_fill_holes(mask))
    ring = max(rings, key=len)
    few = simplified(ring, 2.0)
    assert 3 <= len(few) < len(ring) / 3
    near = np.full(len(ring), np.inf)
    for (x0, y0), (x1, y1) in zip(few, np.roll(few, -1, 0), strict=True):
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1)
        t = np.clip(((ring[:, 0] - x0) * (x1 - x0) + (ring[:, 1] - y0) * (y1 - y0)) / length, 0, 1)
        near = np.minimum(near, np.hypot(ring[:, 0] - x0 - t * (x1 - x0), ring[:, 1] - y0 - t * (y1 - y0)))
    assert near.max() <= 2.0 + 1e-9


@pytest.fixture
def full(tmp_path):
    """Six images with full masks; the mask files hold 10 times the class, void is 9."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for part in ("images", "masks"):
            (tmp_path / "full" / part / split).mkdir(parents=True)
        for number in range(count):
            labels = regions(number)
            Image.fromarray(rng.integers(0, 256, (57, 73, 3), dtype=np.uint8)).save(
                tmp_path / f"full/images/{split}/{number}.png"
            )
            raw = np.where(labels == 255, 9, labels * 10).astype(np.uint8)
            Image.fromarray(raw).save(tmp_path / f"full/masks/{split}/{number}.png")
    spec = tmp_path / "full.yaml"
    spec.write_text(
        "root: full\nimage: images/{split}/{id}.png\nmask: masks/{split}/{id}.png\nsplits: [train, val]\n"
        "classes: [a, b, c, d, e]\nlabel_map: [0, 10, 20, 30, 40]\nignore: 9\n"
    )
    return spec


@pytest.mark.parametrize("form", FORM_NAMES)
def test_make_writes_a_data_set(full, tmp_path, form, capsys):
    out = tmp_path / "weak"
    assert main(["weak", "make", str(full), "--form", form, "--out", str(out), "--seed", "2"]) == 0
    assert "4 images" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert report["images"] == 4 and report["form"] == form and report["seed"] == 2
    assert Image.open(out / "sheet.png").width > 500
    spec = load_spec(out)
    data = SegmentationDataset(spec, "train", transform=JointTransform((48, 64), photometric=0.0))
    truth = SegmentationDataset(load_spec(full), "train")
    for index in range(4):
        again = weaken(Truth(data.ids[index], truth.read(index)[1], 5), form, FORMS[form](), seed=2)
        weak, _ = data.read_weak(index)
        np.testing.assert_array_equal(weak.rasterize().labels, again.rasterize().labels)
        np.testing.assert_array_equal(weak.present(), again.present())
        assert weak.exhaustive == again.exhaustive
        if form != "tags":
            stored = np.array(Image.open(out / "masks" / f"{data.ids[index]}.png"))
            np.testing.assert_array_equal(stored, again.rasterize().labels)
    item = data[1]
    assert item["labels"].shape == item["valid"].shape == (48, 64) and item["tags"].shape == (5,)
    assert item["labels"].dtype == torch.int64 and item["tags"].dtype == torch.bool
    assert item["labels"][~item["valid"]].eq(255).all()
    batch = torch.utils.data.default_collate([data[0], item])
    assert batch["exhaustive"].shape == (2,) and batch["tags"].shape == (2, 5)
    # The other split keeps its full masks.
    val, want = SegmentationDataset(spec, "val"), SegmentationDataset(load_spec(full), "val")
    np.testing.assert_array_equal(val.read(1)[1], want.read(1)[1])
    assert "tags" not in val[0]


def test_make_with_limit_settings_and_generated_scenes(tmp_path, capsys):
    spec = tmp_path / "tiny.yaml"
    spec.write_text("generator: scenes\nlength: {train: 4, val: 1}\nimage_size: [48, 64]\n")
    out = tmp_path / "out"
    arguments = ["weak", "make", str(spec), "--form", "blocks", "--share", "0.5", "--limit", "2", "--out", str(out)]
    assert main([*arguments, "choice=balanced"]) == 0
    assert "choice: balanced" in (out / "make.yaml").read_text()
    data = SegmentationDataset(load_spec(out), "train")
    assert data.ids == ["train_00000", "train_00003"]
    assert 0.3 < (data.read(0)[1] != 255).mean() < 0.6
    assert len(SegmentationDataset(load_spec(out), "val")) == 1
    assert main(["data", "check", str(out)]) == 0
    assert "0 problems found" in capsys.readouterr().out


def test_cached_and_resized_weak_labels(full, tmp_path):
    out = tmp_path / "weak"
    main(["weak", "make", str(full), "--form", "points", "--out", str(out)])
    spec = load_spec(out)
    plain, cached = (SegmentationDataset(spec, "train", size=(30, 41), cache=c) for c in (False, True))
    first = cached[2]
    for other in (cached[2], plain[2]):
        assert all(torch.equal(first[key], other[key]) for key in ("image", "labels", "tags", "valid"))
    clicks = plain.read_weak(2)[0].points
    labels = plain.read(2)[1]
    seen = {(int(y), int(x)): int(k) for x, y, k in clicks}
    assert all(labels[spot] == k for spot, k in seen.items())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--form", "points", "--share", "0.1"], "--share is the labelled share of blocks"),
        (["--form", "points", "counts=3"], "did you mean 'count'"),
        (["--form", "scribbles", "length=2"], "must be at most 1"),
        (["--form", "point"], "did you mean 'points'"),
        (["--form", "points", "--split", "trian"], "no split 'trian'"),
    ],
)
def test_mistakes(full, tmp_path, capsys, more, message):
    try:
        code = main(["weak", "make", str(full), "--out", str(tmp_path / "out"), *more])
    except SystemExit as error:
        code = error.code
    assert code == 2 and message in capsys.readouterr().err


def test_weak_labels_are_not_made_from_weak_labels(full, tmp_path, capsys):
    out = tmp_path / "weak"
    main(["weak", "make", str(full), "--form", "points", "--out", str(out)])
    assert main(["weak", "make", str(out), "--form", "tags", "--out", str(tmp_path / "other")]) == 2
    assert "has weak labels" in capsys.readouterr().err


def test_form_names_are_those_of_the_generators():
    assert tuple(FORMS) == FORM_NAMES


@pytest.mark.slow
def test_two_processes_make_refine_and_report_as_one(full, tmp_path):
    script = (
        "import sys\nfrom gss.cli import main\nfrom gss.core.distributed import barrier\nspec, out = sys.argv[1:]\n"
        "codes = [main(['weak', 'make', spec, '--form', 'scribbles', '--out', out + '/weak'])]\nbarrier()\n"
        "codes += [main(['weak', 'refine', out + '/weak', '--out', out + '/fine', 'abstain=0.3'])]\nbarrier()\n"
        "report = ['weak', 'report', out + '/fine', '--truth', spec, '--json', out + '/r.json']\n"
        "codes += [main(report)]\nsys.exit(any(codes))"
    )
    launch(2, ["-c", script, str(full), str(tmp_path / "two")])
    launch(1, ["-c", script, str(full), str(tmp_path / "one")])
    for name in ("weak/report.json", "r.json"):
        ours, theirs = (json.loads((tmp_path / way / name).read_text()) for way in ("one", "two"))
        assert ours == theirs
    manifests = [json.loads((tmp_path / way / "fine/manifest.json").read_text()) for way in ("one", "two")]
    assert manifests[0]["masks"] == manifests[1]["masks"] and len(manifests[0]["masks"]) == 4


@pytest.mark.parametrize("command", ["make", "refine", "import"])
def test_results_do_not_replace_the_data_that_is_read(full, tmp_path, capsys, command):
    root = tmp_path / "full"
    assert main(["weak", "make", str(full), "--form", "coarse", "--out", str(tmp_path / "coarse")]) == 0
    words = {
        "make": [str(full), "--form", "points", "--out", str(root)],
        "refine": [str(tmp_path / "coarse"), "--out", str(tmp_path / "coarse")],
        "import": [str(full), "--masks", str(root / "masks" / "train"), "--out", str(root)],
    }[command]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["weak", command, *words, "--overwrite"]) == 2
    assert "whose files would be replaced" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
