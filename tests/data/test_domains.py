"""Mixtures: several data sets in one label space, how often each is read, and figures of each domain."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture_toys import MIXTURE, mixture_folder, put  # noqa: F401 - a fixture
from PIL import Image

from gss.cli import main
from gss.config.shared import DataConfig
from gss.data.domains import describe, share_out
from gss.data.open import build_dataset, open_split
from gss.data.specs.load import load_spec
from gss.metrics.domains import DomainMetrics, domain_figures
from gss.metrics.segmentation import SegmentationMetrics
from gss.training.engine.batches import StepSampler, step_samples
from gss.training.posterior.refine import survey


def spec_of(folder, text, root=None):
    (folder / "own.yaml").write_text(text)
    return load_spec(folder / "own.yaml", root)


def test_labels_of_every_domain_are_in_the_common_space(folder):
    spec = load_spec(folder / "street.yaml")
    assert spec.available_splits() == ["train", "val"]
    assert [domain.annotated for domain in spec.domains] == [(0, 1, 2), (0, 1)]
    data = open_split(spec, "train")
    assert (len(data), data.label_space.names) == (10, ("sky", "road", "car"))
    assert data.ids[0] == "town/train0" and data.ids[7] == "coast/train0"
    assert data.domains == {"town": range(7), "coast": range(7, 10)}
    image, labels = data.read(7)
    assert (image.size, labels.shape) == ((36, 20), (20, 36))
    assert (labels[0] == 255).all()
    assert labels[1].tolist() == [1] * 12 + [0] * 12 + [255] * 12  # street, heaven, sea
    assert data[8]["id"] == "coast/train1" and data[8]["index"] == 8
    with pytest.raises(IndexError):
        data.read(10)


def test_classes_by_domain_and_by_intersection(folder):
    text = "domains: {{town: {{spec: ./town{}}}, coast: {{spec: ./coast, map: {{street: road, heaven: sky}}{}}}}}\n"
    both = text.format(", unmapped: drop", ", unmapped: drop")
    assert spec_of(folder, both).label_space.names == ("sky", "road")
    named = spec_of(folder, text.format("", ", unmapped: drop") + "classes: town\n")
    assert named.label_space == load_spec(folder / "town").label_space
    with pytest.raises(ValueError, match="domain 'town': the mapping is incomplete, it lacks 1 source classes: car"):
        spec_of(folder, text.format("", ", unmapped: drop"))


def test_mixture_in_the_documentation_loads(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "transfer.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    names = ("building", "car", "door", "pavement", "road", "sky", "vegetation", "window")
    put(tmp_path / "my_town", dict(enumerate(names)), size=(8, 16), counts={"train": 1})
    spec = spec_of(tmp_path, block)
    assert [domain.name for domain in spec.domains] == ["camvid", "facades", "mine"]
    assert spec.domains[0].spec.root == tmp_path / "camvid"
    # Facades follow what their spec says of CamVid.
    assert [len(domain.annotated) for domain in spec.domains] == [11, 6, 5]


def test_map_file_splits_and_roots(folder, tmp_path_factory, monkeypatch):
    (folder / "map.yaml").write_text(
        "from: [street, heaven, sea]\nto: [sky, road, car]\nmap: {street: road, heaven: sky}\nunmapped: drop\n"
    )
    text = (
        "name: far\nclasses: town\ndomains:\n  town: {spec: ./town, splits: {train: val}}\n"
        "  coast: {spec: ./coast, map: map.yaml}\n"
    )
    spec = spec_of(folder, text)
    assert spec.available_splits() == ["train", "val"]
    train, val = open_split(spec, "train"), open_split(spec, "val")
    assert [len(positions) for positions in train.domains.values()] == [2, 3]
    assert list(val.domains) == ["coast"]
    other = tmp_path_factory.mktemp("other")
    for name in ("town", "coast"):
        put(other / name, {0: "sky", 1: "road", 2: "car"}, size=(8, 12), counts={"train": 1, "val": 1})
    text = text.replace("./", "").replace(", map: map.yaml", "")
    assert len(open_split(spec_of(other, text), "train")) == 2
    # The folder given wins over the environment, and that over the folder of the file.
    (folder / "own.yaml").write_text(text.replace("map.yaml", ""))
    monkeypatch.setenv("GSS_DATA_FAR", str(other))
    assert len(open_split(load_spec(folder / "own.yaml"), "train")) == 2


def test_generated_domains_are_mapped_too(tmp_path):
    scenes = "generator: scenes\nlength: {train: 2, val: 1}\nimage_size: [48, 64]\ndomain: "
    (tmp_path / "clear.yaml").write_text(scenes + "clear\n")
    (tmp_path / "fog.yaml").write_text(scenes + "fog\n")
    text = (
        "classes: [ground, sky]\ndomains:\n"
        "  clear: {spec: clear.yaml, map: {road: ground, pavement: ground}, unmapped: drop}\n"
        "  fog: {spec: fog.yaml, map: {road: ground, pavement: ground}, unmapped: drop}\n"
    )
    data = open_split(spec_of(tmp_path, text), "train", cache=True)
    whole = open_split(load_spec(tmp_path / "clear.yaml"), "train")
    wanted = np.full(256, 255)
    wanted[[whole.label_space.index(name) for name in ("road", "pavement", "sky")]] = 0, 0, 1
    for index in (0, 0, 1):
        assert (data.read(index)[1] == wanted[whole.read(index)[1]]).all()
    assert not (np.asarray(data.read(2)[0]) == np.asarray(data.read(0)[0])).all()
    assert load_spec("scenes_mixed").label_space == whole.label_space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("domains: [a, b]\n", "domains must be a mapping"),
        ("domains: {a: town}\n", "'a' must be a mapping with the key spec"),
        ("image: x\ndomains: {a: {spec: ./town}}\n", "'image' has no meaning in a mixture"),
        ("domains: {a: {spec: ./town, mapp: {}}}\n", "unknown key 'mapp', did you mean 'map'"),
        ("domains: {a/b: {spec: ./town}}\n", "a name has letters"),
        ("domains: {a: {spec: camvd}}\n", "domain 'a': .*unknown data spec 'camvd', did you mean 'camvid'"),
        (
            "domains: {a: {spec: ./town, map: {skyy: sky}}}\n",
            "domain 'a': no source class is called 'skyy' .did you mean 'sky'",
        ),
        ("domains: {a: {spec: ./town, map: none.yaml}}\n", "domain 'a': map .*none.yaml does not exist"),
        ("domains: {a: {spec: ./town, map: [1]}}\n", "does not exist; give class: class"),
        ("domains: {a: {spec: ./town, map: own.yaml}}\n", "domain 'a': mapping .*own.yaml: must be a YAML mapping"),
        ("domains: {a: {spec: ./town, splits: [train]}}\n", "splits is .* must map"),
        ("domains: {a: {spec: ./town, unmapped: skip}}\n", "must be error or drop"),
        ("domains: {a: {spec: ./town}, b: {spec: ./coast}}\n", "no class in common.*a: sky, road, car; b: street"),
        ("classes: twon\ndomains: {town: {spec: ./town}}\n", "'twon', did you mean 'town'"),
        (
            "classes: [sky, road, car]\ndomains: {a: {spec: ./town, map: {car: carr}}}\n",
            "no target class is called 'carr' .did you mean 'car'",
        ),
        ("classes: [sky, road, car, tree]\ndomains: {a: {spec: ./town}}\n", "no domain annotates tree"),
        (
            "classes: [x]\ndomains: {a: {spec: ./town, unmapped: drop}}\n",
            "domain 'a': no class of the one label space maps",
        ),
        ("domains: {a: {spec: ./street.yaml}}\n", "is a mixture itself"),
        (
            "classes: [sky, road, car]\ndomains:\n  a: {spec: ./town, map: {car: road}}\n  b: {spec: ./town}\n",
            "contradictory maps: class 'car' is 'road' in domain 'a' and 'car' in domain 'b'",
        ),
    ],
)
def test_mistakes_in_a_mixture_are_named(folder, text, message):
    with pytest.raises(ValueError, match=message) as raised:
        spec_of(folder, text)
    assert "own.yaml" in str(raised.value) and "\n" not in str(raised.value)


def test_missing_splits_name_the_domain(folder):
    (folder / "coast" / "val.txt").unlink()
    spec = load_spec(folder / "street.yaml")
    assert spec.available_splits() == ["train"]
    with pytest.raises(ValueError, match="domain 'coast': .* no split 'val'"):
        open_split(spec, "val")
    with pytest.raises(ValueError, match="is a mixture"):
        spec.samples("train")
    (folder / "town" / "images" / "train0.png").unlink()
    with pytest.raises(ValueError, match="domain 'town': 1 file"):
        open_split(spec, "train")


def test_check_lists_what_a_domain_does_not_annotate(folder, capsys):
    sheet, report = folder / "sheet.png", folder / "r.json"
    assert main(["data", "check", str(folder / "street.yaml"), "--sheet", str(sheet)]) == 0
    text = capsys.readouterr().out
    town, coast = text.split("domain coast")
    assert "nothing, every class is" in town and "not annotated here: car" in coast
    assert sheet.is_file() and not report.exists()
    Image.fromarray(np.full((20, 36), 77, np.uint8)).save(folder / "coast/masks/val0.png")
    assert main(["data", "check", str(folder / "street.yaml"), "--split", "val"]) == 1
    assert "value 77" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sampling", "drawn"),
    [
        ("equal", [50, 50]),
        ("proportional", [80, 20]),
        ("temperature:1", [80, 20]),
        ("temperature:2", [67, 33]),
        ("temperature:1e9", [50, 50]),
        ("1,3", [25, 75]),
        ("1,1e-9", [99, 1]),
    ],
)
def test_shares(sampling, drawn):
    assert share_out(sampling, {"a": 80, "b": 20}) == drawn


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.floats(0.05, 50))
def test_shares_add_up_and_leave_no_domain_out(sizes, temperature):
    domains = {str(i): size for i, size in enumerate(sizes)}
    for sampling in ("equal", "proportional", f"temperature:{temperature}"):
        drawn = share_out(sampling, domains)
        assert sum(drawn) == sum(sizes) and min(drawn) >= 1
    assert share_out("proportional", domains) == sizes


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ("1,2,3", r"3 numbers for 2 domains \(a, b\)"),
        ("equall", "did you mean 'equal'"),
        ("1,-2", "a positive number for each"),
        ("1,nan", "a positive number for each"),
        ("temperature:0", "temperature:T"),
        ("", "unknown value ''"),
    ],
)
def test_wrong_shares_are_refused(sampling, message):
    with pytest.raises(ValueError, match=message):
        share_out(sampling, {"a": 1, "b": 2})


def test_sampling_needs_domains(folder):
    cfg = DataConfig(spec=str(folder / "town"), sampling="proportional", crop=(16, 16))
    with pytest.raises(ValueError, match="has no domains"):
        build_dataset(cfg, "train", train=True)


QUOTAS = ((7, 5), (3, 5))


@pytest.mark.parametrize("processes", [1, 2])
def test_plan_is_the_same_for_any_number_of_processes_and_after_a_resume(processes):
    def stream(steps):
        options = {"size": 10, "batch_size": 6, "accumulate": 1, "seed": 4, "quotas": QUOTAS, "processes": processes}
        parts = [list(StepSampler(**options, steps=steps, process=process)) for process in range(processes)]
        return [sum(group, []) for group in zip(*parts, strict=True)]

    whole = [step_samples(step, size=10, batch_size=6, seed=4, quotas=QUOTAS) for step in range(20)]
    assert stream(range(20)) == whole
    assert stream(range(9, 20)) == whole[9:]


def test_every_domain_is_read_in_its_own_rounds():
    flat = [s for step in range(70) for s in step_samples(step, size=10, batch_size=6, seed=4, quotas=QUOTAS)]
    assert len(set(flat)) == len(flat) == 420  # no sample comes twice with one augmentation
    for epoch in range(42):
        taken = Counter(index >= 7 for _, index in flat[10 * epoch : 10 * epoch + 10])
        assert taken == {False: 5, True: 5}
    for size, first in ((7, 0), (3, 7)):
        own = [sample for sample in flat if first <= sample[1] < first + size]
        assert [round_ for round_, _ in own] == [i // size for i in range(210)]
        assert all({i for _, i in own[k : k + size]} == set(range(first, first + size)) for k in range(0, 210, size))
    # Evenly spread: wherever a batch lies, each domain has its share of it, give or take one and the borders.
    assert all(1 <= sum(index < 7 for _, index in flat[k : k + 6]) <= 5 for k in range(0, 420, 6))


def test_a_plain_data_set_is_read_as_one_permutation_after_the_other():
    flat = [sample for step in range(9) for sample in step_samples(step, size=5, batch_size=7, seed=3)]
    assert flat == [(p // 5, int(np.random.default_rng([3, p // 5]).permutation(5)[p % 5])) for p in range(63)]


def test_training_samples_of_two_domains_are_augmented_differently(folder):
    cfg = DataConfig(spec=str(folder / "street.yaml"), crop=(16, 16), scale=(1.0, 1.0), photometric=0.0, flip=0.0)
    data = build_dataset(cfg, "train", train=True, seed=1)
    assert data.quotas == ((7, 5), (3, 5))
    assert describe(data).startswith("domains: town 7 images, 50.0 % (x 0.71); coast 3 images, 50.0 % (x 1.67)")
    data.set_epoch(2)
    item = data[7]
    assert item["image"].shape == (3, 16, 16) and item["labels"].shape == (16, 16)
    alone = build_dataset(DataConfig(**{**vars(cfg), "spec": str(folder / "coast")}), "train", train=True, seed=1)
    alone.set_epoch(2)
    assert not (alone[0]["image"] == item["image"]).all()
    data.set_epoch(3)
    assert not (data[7]["image"] == item["image"]).all()


def test_survey_sees_every_domain(folder, monkeypatch):
    monkeypatch.setattr("gss.training.posterior.refine._SURVEY_IMAGES", 4)
    data = open_split(load_spec(folder / "street.yaml"), "train")
    assert survey(data) == [0, 6, 7, 9]
    assert survey(open_split(load_spec(folder / "town"), "train")) == [0, 2, 4, 6]


def test_figures_of_domains_go_over_annotated_classes(folder):
    data = open_split(load_spec(folder / "street.yaml"), "val")
    metrics = DomainMetrics(data, 3)
    whole = SegmentationMetrics(3)
    for index in range(len(data)):
        labels = data.read(index)[1]
        prediction = np.where(labels == 255, 0, labels).astype(np.int64)
        prediction[1, :3] = 2  # three cars where there are roads or skies
        single = SegmentationMetrics(3)
        single.update(prediction, labels)
        metrics.add(index, single)
        whole.merge(single)
    found = metrics.compute()
    coast = found["coast"]["iou"]
    assert coast[2] == 0.0  # a car was predicted, none was there
    assert found["coast"]["miou"] == pytest.approx((coast[0] + coast[1]) / 2)
    assert found["coast"]["pixels"] + found["town"]["pixels"] == whole.compute()["pixels"]
    assert DomainMetrics(open_split(load_spec(folder / "town"), "val"), 3).compute() == {}


def test_domain_figures_against_plain_means():
    domains = {"a": {"miou": 0.5}, "b": {"miou": 0.25}, "c": {"miou": None}}
    assert domain_figures("m", domains, "miou") == pytest.approx(
        {"m/a": 0.5, "m/b": 0.25, "m/mean": 0.375, "m/harmonic_mean": 1 / 3}
    )
    assert domain_figures("m", {"a": {"miou": 0.0}, "b": {"miou": 1.0}}, "miou")["m/harmonic_mean"] == 0.0
    assert domain_figures("m", {}, "miou") == {}
