"""The last lines of `gss predict`."""

import pytest

from gss.jobs.predict import Settings
from gss.jobs.predict.records import Prediction, Predictions
from gss.jobs.predict.summary import summary

TRAINED = "shorter side resized to 213, as in training"


@pytest.mark.parametrize(
    ("resolution", "sizes", "said"),
    [
        (TRAINED, [(213, 284), (300, 213)], "that of the images, as in training"),
        (TRAINED, [(213, 284), (426, 568)], f"{TRAINED}; --size native keeps theirs"),
        ("resized to 96x128 (height x width)", [(96, 128)], "that of the images"),
        ("resized to 96x128 (height x width)", [(128, 96)], "resized to 96x128 (height x width)"),
        ("as given", [(5, 6)], "as given"),
        (TRAINED, [], f"{TRAINED}; --size native keeps theirs"),
    ],
)
def test_images_that_keep_their_size_are_not_said_to_be_resized(resolution, sizes, said):
    images = [Prediction(f"{size}.png", size, {}, 0.5, [], 0.1) for size in sizes]
    result = Predictions("run", "", "float32", Settings("hard"), resolution, {0: "road"}, {}, images)
    assert f"resolution: {said}" in list(summary(result, len(images), "out"))
