"""One damaged image costs no evaluation its other results; threads change nothing."""

import dataclasses
import threading
import time
import types

import pytest
from image_folders import SIZES, write_folder
from tiny_pipeline import NAMES, tiny_pipeline

from gss.core.errors import InputError
from gss.data import load_spec, open_ood, open_split
from gss.evaluation import (
    Protocol,
    evaluate,
    evaluate_cross_domain,
    evaluate_ood,
    evaluate_shifts,
    result_tables,
)
from gss.evaluation.images import Behind, ImageShare
from gss.evaluation.reconstruction import reconstruct
from gss.labels.space import LabelSpace
from gss.posterior.bundle import Posterior


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "street")


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def dataset(folder):
    return open_split(load_spec(folder), "val")


class Damaged:
    """A data set in which some images cannot be read."""

    def __init__(self, dataset, damaged, error=InputError):
        self.dataset, self.damaged, self.error = dataset, damaged, error

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def read(self, index):
        return self._read(self.dataset.read, index)

    def read_labels(self, index):
        return self._read(self.dataset.read_labels, index)

    def _read(self, read, index):
        if index in self.damaged:
            raise self.error(f"frame{index}.png is damaged")
        return read(index)


class Part:
    """Some images of a data set."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices
        self.ids = [dataset.ids[index] for index in indices]

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.indices)

    def read(self, index):
        return self.dataset.read(self.indices[index])

    def read_labels(self, index):
        return self.dataset.read_labels(self.indices[index])


def run_segmentation(pipeline, dataset, **options):
    result = evaluate(pipeline, dataset, throughput=False, **options)
    return result, result.unreadable


def run_shifts(pipeline, dataset, **options):
    picked = {"shifts": ["fog", "jpeg"], "severities": [2], "scores": ["energy"]}
    result = evaluate_shifts({"prior": pipeline}, dataset, **picked, **options)
    return result, result.unreadable


def run_cross_domain(pipeline, dataset, **options):
    protocol = Protocol(modes=("aux",), scores=("msp",))
    result = evaluate_cross_domain({"a": {"s0": pipeline}}, {"street": dataset}, protocol=protocol, **options)
    return result, result.data["street"].unreadable


def run_ood(pipeline, dataset, **options):
    result = evaluate_ood(pipeline, dataset, scores=["msp", "energy"], components="obstacle", **options)
    return result, result.unreadable


def run_reconstruction(pipeline, dataset, **options):
    posterior = Posterior(pipeline.codec, pipeline.vqvae, pipeline.likelihood, LabelSpace(tuple(NAMES)))
    result = reconstruct(posterior, dataset, **options)
    return result, result.unreadable


EVALUATIONS = [run_segmentation, run_shifts, run_cross_domain, run_ood, run_reconstruction]


@pytest.fixture(params=EVALUATIONS, ids=lambda run: run.__name__)
def run(request):
    return request.param


@pytest.fixture
def images(run, folder, dataset):
    """The data set that an evaluation takes."""
    return open_ood(folder, "val", outliers=["pole"]) if run is run_ood else dataset


def numbers(result):
    """Return the JSON without the images that were left out."""
    values = result.to_json()
    values.pop("unreadable", None)
    for part in values.get("data", {}).values() if isinstance(values.get("data"), dict) else ():
        part.pop("unreadable")
    return {key: value for key, value in values.items() if key != "notes"}


@pytest.mark.parametrize("error", [InputError, OSError])
def test_one_damaged_image_is_left_out_and_reported(run, pipeline, images, error):
    rest = [index for index in range(len(SIZES)) if index != 2]
    expected, none = run(pipeline, Part(images, rest))
    found, unreadable = run(pipeline, Damaged(images, {2}, error))
    assert none == [] and [image.to_json() for image in unreadable] == [
        {"id": "frame2", "reason": "frame2.png is damaged"}
    ]
    assert numbers(found) == numbers(expected)
    if run is not run_reconstruction:
        text = result_tables(found).text()
        assert "1 of 7 images could not be read and are left out: frame2: frame2.png is damaged" in text


def test_nothing_readable_stops(run, pipeline, images):
    with pytest.raises(InputError, match="no image could be read; the first, frame0: frame0.png is damaged"):
        run(pipeline, Damaged(images, set(range(len(SIZES)))))


def test_threads_change_nothing(run, pipeline, images):
    expected, found = (run(pipeline, Damaged(images, {1}), workers=workers)[0] for workers in (0, 3))
    assert found.to_json() == expected.to_json()


def test_labels_of_another_size_are_damage(dataset):
    class Halved(Part):
        def read(self, index):
            image, labels = super().read(index)
            return image, labels[::2] if index == 1 else labels

    share = ImageShare(Halved(dataset, range(3)), range(3))
    assert [sample.index for sample in share] == [0, 2] == share.readable()
    assert share.unreadable()[0].reason == "the image has size [40, 52], its labels [20, 52]"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_batches_hold_images_of_one_size(dataset, batch_size):
    share = ImageShare(dataset, range(len(SIZES)))
    batches = list(share.batches(batch_size))
    for batch in batches:
        assert len({sample.image.size for sample in batch}) == 1 and len(batch) <= batch_size
    indices = [sample.index for batch in batches for sample in batch]
    assert sorted(indices) == list(range(len(SIZES)))
    if batch_size == 1:
        assert indices == sorted(indices)
    if batch_size == 3:
        assert len(batches[0]) == 3  # of the four images of 40x52


def test_waiting_images_are_bounded():
    """Images of ever new sizes are not kept until the end."""

    def read(index):
        image = types.SimpleNamespace(size=(8, index + 1), width=8, height=index + 1)
        return image, types.SimpleNamespace(shape=(index + 1, 8))

    share = ImageShare(types.SimpleNamespace(read=read), range(100))
    first = next(share.batches(2))
    assert len(first) == 1 and first[0].index < 16


@pytest.mark.parametrize("active", [False, True])
def test_calls_behind_the_network_are_in_order(active):
    seen, threads = [], set()

    def count(number):
        time.sleep(0.01 if number % 2 else 0)
        threads.add(threading.current_thread())
        seen.append(number)

    with Behind(active=active) as behind:
        for number in range(6):
            behind.call(count, number)
    assert seen == list(range(6)) and (threading.main_thread() in threads) != active


@pytest.mark.parametrize("active", [False, True])
def test_an_error_behind_the_network_is_raised(active):
    def fail(number):
        raise InputError(f"call {number}")

    with pytest.raises(InputError, match="call 0"), Behind(active=active) as behind:
        for number in range(5):
            behind.call(fail, number)


def test_results_are_records(pipeline, dataset):
    result, _ = run_segmentation(pipeline, Part(dataset, [0]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.images = 3
    with pytest.raises(KeyError, match="mious"):
        result["mious"]
