import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_checks import MetricChecks, equal, label_batches
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.functional.classification import multiclass_jaccard_index

from gss.metrics import SegmentationMetrics
from gss.metrics.boundary import BoundaryF
from gss.metrics.calibration import CalibrationError

VOID = 255


def naive(predictions, targets, k, radius=3):
    """Independent reference: plain loops over pixels, classes and pairs of boundary pixels."""
    confusion = np.zeros((k, k), dtype=np.int64)
    counts = np.zeros((4, k), dtype=np.int64)
    for prediction, target in zip(predictions, targets, strict=True):
        height, width = target.shape
        for y in range(height):
            for x in range(width):
                if target[y, x] != VOID:
                    confusion[target[y, x], prediction[y, x]] += 1

        def boundary(labels, c, ignore_void, height=height, width=width):
            points = []
            for y in range(height):
                for x in range(width):
                    if labels[y, x] != c:
                        continue
                    around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                    inside = [labels[p] for p in around if 0 <= p[0] < height and 0 <= p[1] < width]
                    if any(v != c and not (ignore_void and v == VOID) for v in inside):
                        points.append((y, x))
            return points

        voids = list(zip(*np.nonzero(target == VOID), strict=True))

        def near(point, points):
            return any((point[0] - q[0]) ** 2 + (point[1] - q[1]) ** 2 <= radius**2 for q in points)

        for c in range(k):
            true, predicted = boundary(target, c, True), boundary(prediction, c, False)
            for point in predicted:
                if target[point] == VOID:
                    continue
                match = near(point, true)
                counts[0, c] += match
                counts[1, c] += match or not near(point, voids)
            for point in true:
                counts[2, c] += near(point, predicted)
                counts[3, c] += 1
    return confusion, counts


def naive_scores(confusion, counts):
    k = len(confusion)
    iou, recall, boundary = [], [], []
    for c in range(k):
        union = confusion[c].sum() + confusion[:, c].sum() - confusion[c, c]
        iou.append(confusion[c, c] / union if union else None)
        recall.append(confusion[c, c] / confusion[c].sum() if confusion[c].sum() else None)
        if counts[1, c] + counts[3, c] == 0:
            boundary.append(None)
            continue
        precision = counts[0, c] / counts[1, c] if counts[1, c] else 0.0
        found = counts[2, c] / counts[3, c] if counts[3, c] else 0.0
        boundary.append(2 * precision * found / (precision + found) if precision + found else 0.0)

    def mean(values):
        present = [v for v in values if v is not None]
        return float(np.mean(present)) if present else None

    total = confusion.sum()
    weighted = sum(confusion[c].sum() / total * iou[c] for c in range(k) if iou[c] is not None) if total else None
    return {
        "miou": mean(iou),
        "accuracy": np.trace(confusion) / total if total else None,
        "mean_accuracy": mean(recall),
        "fwiou": weighted,
        "boundary_f": mean(boundary),
        "iou": iou,
        "boundary_f_per_class": boundary,
    }


def same(value, wanted):
    if isinstance(wanted, list):
        return len(value) == len(wanted) and all(same(a, b) for a, b in zip(value, wanted, strict=True))
    return value is wanted if wanted is None or value is None else math.isclose(value, wanted, abs_tol=1e-12)


def blobs(seed, k, shape, void=0.1):
    """Random but connected regions, with some void."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, k, (-(-shape[0] // 4), -(-shape[1] // 4)))
    labels = np.kron(coarse, np.ones((4, 4), dtype=np.int64))[: shape[0], : shape[1]]
    labels[rng.random(shape) < void] = VOID
    return labels


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("void", [0.0, 0.03, 0.4])
def test_counts_equal_plain_loops(void, radius):
    targets = [blobs(seed, 4, (13, 22), void) for seed in range(3)]
    predictions = [blobs(seed, 4, (13, 22), 0.0) for seed in (0, 1, 7)]
    metrics = SegmentationMetrics(5, boundary_px=radius)
    for prediction, target in zip(predictions, targets, strict=True):
        metrics.update(prediction, target)
    confusion, counts = naive(predictions, targets, 5, radius)
    assert np.array_equal(metrics.confusion.numpy(), confusion)
    assert np.array_equal(metrics.boundary_counts.numpy(), counts)
    wanted = naive_scores(confusion, counts)
    result = metrics.compute()
    for name, value in wanted.items():
        assert same(result[name], value), name
    assert result["iou"][4] is None
    assert result["ece"] is None


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 8),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_noise_equals_plain_loops(height, width, k, radius, seed, with_void):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(0, k, (height, width))
    target = rng.integers(0, k, (height, width))
    if with_void:
        target[rng.random(target.shape) < 0.3] = VOID
    metrics = SegmentationMetrics(k, boundary_px=radius)
    metrics.update(prediction, target)
    confusion, counts = naive([prediction], [target], k, radius)
    assert np.array_equal(metrics.confusion.numpy(), confusion)
    assert np.array_equal(metrics.boundary_counts.numpy(), counts)
    result = metrics.compute()
    for name, value in naive_scores(confusion, counts).items():
        assert same(result[name], value), name


def test_agrees_with_torchmetrics_on_present_classes():
    target, prediction = torch.tensor(blobs(3, 4, (24, 40))), torch.tensor(blobs(4, 4, (24, 40), 0.0))
    metrics = SegmentationMetrics(6)
    metrics.update(prediction, target)
    wanted = multiclass_jaccard_index(prediction, target, 6, average="macro", ignore_index=VOID)
    assert metrics.compute()["miou"] == pytest.approx(float(wanted), abs=1e-6)


def test_calibration_error_equals_reference():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 11, 17)) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = rng.integers(0, 4, (2, 11, 17))
    target[0, :3] = VOID
    metrics = SegmentationMetrics(4, ece_bins=10)
    metrics.update(torch.tensor(probabilities, dtype=torch.float32), target)
    valid = target != VOID
    confidence, correct = probabilities.max(1)[valid], (probabilities.argmax(1) == target)[valid]
    wanted = 0.0
    for b in range(10):
        inside = (confidence > b / 10) & (confidence <= (b + 1) / 10)
        if inside.any():
            wanted += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    result = metrics.compute()
    assert result["ece"] == pytest.approx(wanted, abs=1e-6)
    assert sum(entry["pixels"] for entry in result["reliability"]) == valid.sum() == result["pixels"]


def test_certain_and_right_is_perfect():
    target = torch.tensor(blobs(1, 3, (16, 20)))
    filled = torch.where(target == VOID, 0, target)
    metrics = SegmentationMetrics(3)
    metrics.update(torch.nn.functional.one_hot(filled, 3).permute(2, 0, 1).float(), target)
    result = metrics.compute()
    assert result["miou"] == result["accuracy"] == result["fwiou"] == result["mean_accuracy"] == 1
    assert result["ece"] == 0
    assert result["boundary_f"] == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.permutations(range(5)))
def test_order_and_batching_do_not_matter(seed, order):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(5, 3, 6, 9, generator=generator).softmax(1)
    target = torch.randint(0, 4, (5, 6, 9), generator=generator)
    target[target == 3] = VOID
    together, single = SegmentationMetrics(3), SegmentationMetrics(3)
    together.update(probabilities, target)
    for index in order:
        single.update(probabilities[index], target[index])
    assert equal(single.counts(), together.counts())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.permutations(range(4)))
def test_renaming_classes_permutes_the_scores(seed, names):
    rng = np.random.default_rng(seed)
    prediction, target = rng.integers(0, 4, (9, 12)), rng.integers(0, 4, (9, 12))
    rename = np.array(names)
    first, second = SegmentationMetrics(4), SegmentationMetrics(4)
    first.update(prediction, target)
    second.update(rename[prediction], rename[target])
    before, after = first.compute(), second.compute()
    assert [after["iou"][rename[c]] for c in range(4)] == before["iou"]
    assert [after["boundary_f_per_class"][rename[c]] for c in range(4)] == before["boundary_f_per_class"]
    assert after["miou"] == pytest.approx(before["miou"], abs=1e-12)


def test_prediction_on_void_does_not_matter_for_counted_pixels():
    target = blobs(2, 3, (12, 16), 0.2)
    first = np.where(target == VOID, 0, target)
    second = np.where(target == VOID, 2, target)
    results = []
    for prediction in (first, second):
        metrics = SegmentationMetrics(3)
        metrics.update(prediction, target)
        results.append(metrics.compute())
    assert results[0]["iou"] == results[1]["iou"]
    # Borders the prediction draws around void are no mistakes.
    assert results[0]["boundary_f"] == results[1]["boundary_f"] == 1


def test_boundary_shift_within_and_beyond_tolerance():
    target = np.zeros((20, 40), dtype=np.int64)
    target[:, 20:] = 1
    for shift, wanted in ((0, 1.0), (3, 1.0), (4, 0.0)):
        prediction = np.zeros_like(target)
        prediction[:, 20 + shift :] = 1
        metrics = SegmentationMetrics(2)
        metrics.update(prediction, target)
        assert metrics.compute()["boundary_f"] == wanted, shift


def test_boundary_does_not_leak_across_images_of_a_batch():
    target = np.zeros((2, 8, 8), dtype=np.int64)
    target[0, 6:] = 1
    prediction = np.zeros_like(target)
    prediction[1, :2] = 1
    metrics = SegmentationMetrics(2)
    metrics.update(prediction, target)
    assert metrics.boundary_counts[0].sum() == 0 and metrics.boundary_counts[2].sum() == 0


def test_all_void_gives_nothing_to_measure():
    metrics = SegmentationMetrics(3)
    metrics.update(torch.rand(3, 4, 5).softmax(0), np.full((4, 5), VOID, dtype=np.uint8))
    result = metrics.compute()
    for name in ("miou", "accuracy", "mean_accuracy", "fwiou", "boundary_f", "ece"):
        assert result[name] is None, name
    assert result["iou"] == [None] * 3 and result["pixels"] == 0


def test_one_class_and_one_pixel_wide():
    metrics = SegmentationMetrics(1)
    metrics.update(np.zeros((1, 9), dtype=np.uint8), np.zeros((1, 9), dtype=np.uint8))
    result = metrics.compute()
    assert result["miou"] == result["accuracy"] == 1
    assert result["boundary_f"] is None


def test_predicted_but_never_true_class_counts_as_zero():
    metrics = SegmentationMetrics(3)
    metrics.update(np.array([[0, 1]]), np.array([[0, 0]]))
    assert metrics.compute()["iou"] == [0.5, 0.0, None]
    assert metrics.compute()["miou"] == 0.25


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types(dtype):
    metrics = SegmentationMetrics(2)
    metrics.update(torch.tensor([[[0.75, 0.25]], [[0.25, 0.75]]], dtype=dtype), np.array([[0, 0]], dtype=np.uint8))
    assert metrics.compute()["accuracy"] == 0.5
    assert metrics.compute()["ece"] == 0.25


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64, bool])
def test_integer_types(dtype):
    labels = np.array([[0, 1], [1, 1]]).astype(dtype)
    metrics = SegmentationMetrics(2)
    metrics.update(labels, labels)
    assert metrics.compute()["miou"] == 1


def test_arguments_are_not_written_to():
    target = blobs(0, 3, (8, 9))
    prediction = torch.rand(3, 8, 9).softmax(0)
    copies = target.copy(), prediction.clone()
    SegmentationMetrics(3).update(prediction, target)
    assert np.array_equal(target, copies[0]) and torch.equal(prediction, copies[1])


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((4, 6), int), np.zeros((4, 5), int), "differs from target size"),
        (np.zeros((2, 4, 5), np.float32), np.zeros((4, 5), int), "num_classes=3"),
        (np.zeros((4, 5), np.float32), np.zeros((4, 5), int), "prediction must be integer labels"),
        (np.zeros((4, 5), int), np.zeros((4, 5), np.float32), "target must be an integer"),
        (np.full((4, 5), 3), np.zeros((4, 5), int), "prediction holds label 3"),
        (np.zeros((4, 5), int), np.full((4, 5), 11), "target holds label 11"),
        (np.full((3, 4, 5), 2.0, np.float32), np.zeros((4, 5), int), "apply softmax"),
        (np.full((3, 4, 5), np.nan, np.float32), np.zeros((4, 5), int), "apply softmax"),
    ],
)
def test_bad_input_is_refused_and_nothing_counted(prediction, target, message):
    metrics = SegmentationMetrics(3)
    with pytest.raises(ValueError, match=message) as caught:
        metrics.update(prediction, target)
    assert "\n" not in str(caught.value)
    assert not any(state.any() for state in metrics.counts().values())


@pytest.mark.parametrize("settings_", [{"num_classes": 0}, {"num_classes": 256}, {"num_classes": 3, "boundary_px": -1}])
def test_bad_settings(settings_):
    with pytest.raises(ValueError, match="must be between"):
        SegmentationMetrics(**settings_)


def by_name(prediction, target, radius=3):
    return naive_scores(*naive(np.concatenate(prediction), np.concatenate(target), 4, radius))


class TestSegmentation(MetricChecks):
    def make(self, **options):
        return SegmentationMetrics(4, **options)

    def other(self):
        return SegmentationMetrics(4, boundary_px=1)

    def batches(self):
        return label_batches(4)

    def reference(self, batches):
        scores = by_name(*zip(*batches, strict=True))
        return {name: scores[name] for name in ("miou", "accuracy", "mean_accuracy", "fwiou", "boundary_f")}

    def figures(self, result):
        return {name: result[name] for name in ("miou", "accuracy", "mean_accuracy", "fwiou", "boundary_f")}


class TestProbabilities(TestSegmentation):
    """The same metric on class probabilities."""

    def batches(self):
        rng = np.random.default_rng(2)
        return [
            (np.moveaxis(np.eye(4)[labels] * 0.5 + rng.dirichlet(np.ones(4), labels.shape) * 0.5, -1, 1), target)
            for labels, target in label_batches(4)
        ]

    def reference(self, batches):
        return super().reference([(probabilities.argmax(1), target) for probabilities, target in batches])


class TestBoundaryF(MetricChecks):
    def make(self, **options):
        return BoundaryF(4, boundary_px=2, **options)

    def other(self):
        return BoundaryF(4, boundary_px=0)

    def batches(self):
        return label_batches(4)

    def reference(self, batches):
        return by_name(*zip(*batches, strict=True), radius=2)["boundary_f"]

    def figures(self, result):
        return result["boundary_f"]


class TestCalibrationError(TestProbabilities):
    tolerance = 1e-6

    def make(self, **options):
        return CalibrationError(4, bins=10, **options)

    def other(self):
        return CalibrationError(4, bins=11)

    def reference(self, batches):
        probabilities, target = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        valid = target != VOID
        confidence, right = probabilities.max(1)[valid], (probabilities.argmax(1) == target)[valid]
        place = np.ceil(confidence * 10).clip(1) - 1
        return sum(abs((right - confidence)[place == b].sum()) for b in range(10)) / valid.sum()

    def figures(self, result):
        return result["ece"]

    def test_equals_torchmetrics(self):
        theirs = MulticlassCalibrationError(4, n_bins=10, ignore_index=VOID)
        for probabilities, target in self.batches():
            theirs.update(torch.from_numpy(probabilities).float(), torch.from_numpy(target))
        found = self.fed(self.batches()).compute()["ece"]
        assert found == pytest.approx(float(theirs.compute()), abs=1e-6)

    def test_labels_are_refused(self):
        with pytest.raises(ValueError, match="needs class probabilities"):
            self.make().update(*label_batches(4)[0])
