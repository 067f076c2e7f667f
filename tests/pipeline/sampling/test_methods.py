"""sample, complete and generate of a tiny pipeline with a joint prior."""

import numpy as np
import pytest
import torch
from joint_toys import joint_pipeline
from tiny_pipeline import NAMES, tiny_pipeline

from gss.core.errors import InputError
from gss.pipeline.sampling.draw import draw_tokens
from gss.pipeline.sampling.fill import cell_windows
from gss.pipeline.sampling.scheduler import TokenScheduler


@pytest.fixture(scope="module")
def pipeline():
    return joint_pipeline()


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [random.random(size, dtype=np.float32) for size in ((50, 70, 3), (33, 64, 3))]


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


def partial(height=50, width=70):
    mask = np.full((height, width), 255, np.uint8)
    mask[10:30, 5:40], mask[40, 3], mask[41:45, 50:60] = 2, 1, 4
    return mask


def test_hypotheses_have_the_size_of_the_image(pipeline, images):
    output = pipeline.sample(images, n=3, steps=4, generator=torch.Generator().manual_seed(0))
    assert [mask.shape for mask in output.masks] == [(3, 50, 70), (3, 33, 64)]
    assert [grid.shape for grid in output.tokens] == [(3, 13, 18), (3, 9, 16)]
    assert all(share.min() >= 0 and share.max() <= 1 for share in output.agreement)
    assert all(values.min() >= 0 and values.max() <= np.log(5) for values in output.mutual_information)
    assert output.probabilities is None


def test_hypotheses_are_the_same_alone_and_in_a_list(pipeline, images):
    together = pipeline.sample(images, n=2, steps=3, generator=seeds(1, 2))
    for number, image in enumerate(images):
        alone = pipeline.sample([image], n=2, steps=3, generator=seeds(number + 1))
        assert np.array_equal(alone.tokens[0], together.tokens[number])
        assert np.array_equal(alone.masks[0], together.masks[number])


def test_one_step_draws_from_the_prior_itself(pipeline, images):
    image = torch.from_numpy(images[1]).movedim(-1, 0)[None]
    padded = torch.nn.functional.pad(image, (0, 0, 0, 31), mode="replicate")
    output = pipeline.sample(images[1], n=1, steps=1, generator=torch.Generator().manual_seed(3))
    seed = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(3)))
    generator = torch.Generator().manual_seed(seed)
    torch.rand(1, generator=generator)
    with torch.no_grad():
        logits = pipeline.predict_tokens(padded).token_logits
    rows = logits.movedim(1, -1).flatten(0, 2).softmax(1)
    drawn = draw_tokens(rows, torch.rand(len(rows), generator=generator)).view(logits.shape[2:])
    assert np.array_equal(output.tokens[0][0], drawn[:9, :16])


def test_mutual_information_is_that_of_the_class_tables(pipeline, images):
    output = pipeline.sample(images[0], n=4, steps=2, return_probabilities=True)
    table = pipeline.likelihood.table.double().numpy()
    rows, columns = np.indices((50, 70))
    chances = table[output.tokens[0][:, rows // 4, columns // 4], :, rows % 4, columns % 4]  # [n, H, W, K]
    mean = chances.mean(0)
    expected = -(mean * np.log(mean)).sum(-1) + (chances * np.log(chances)).sum(-1).mean(0)
    np.testing.assert_allclose(output.mutual_information[0], expected, atol=1e-5)
    np.testing.assert_allclose(output.probabilities[0], mean.transpose(2, 0, 1), atol=1e-6)
    assert np.array_equal(output.masks[0], chances.argmax(-1))


def test_regions_come_in_order_and_name_what_is_shown(pipeline, images):
    output = pipeline.sample(images[0], n=3)
    (regions,) = output.regions
    assert regions == sorted(regions, key=lambda region: -region.information)
    for region in regions:
        assert sum(region.classes.values()) == pytest.approx(1)
        assert set(region.classes) <= set(NAMES)
        assert 0 < region.share <= 1
    assert sum(region.share for region in regions) <= 1 + 1e-6


@pytest.mark.parametrize("with_image", [True, False])
def test_given_pixels_are_kept(pipeline, images, with_image):
    mask = partial()
    with pytest.warns(UserWarning, match="no code paints the given pixels"):
        output = pipeline.complete(images[0] if with_image else None, mask, n=2, steps=3)
    known = mask != 255
    assert np.array_equal(output.masks[0][known], mask[known])
    assert (output.hypotheses[0][:, known] == mask[known]).all()
    assert (output.mutual_information[0][known] == 0).all()
    assert (output.confidence[0][known] == 1).all()
    assert output.given_share[0] == pytest.approx(known.mean())
    assert (output.whole_cells, output.part_cells) == ([32], [29])
    assert output.masks[0].max() < 5


def test_given_pixels_are_kept_where_the_model_runs_at_another_size(images):
    pipeline, mask = joint_pipeline(size=(32, 48), one_class_codes=True), partial()
    output = pipeline.complete(images[0], mask, n=2, steps=2)
    assert np.array_equal(output.masks[0][mask != 255], mask[mask != 255])
    assert output.hypotheses[0].shape == (2, 50, 70)


def test_known_cells_hold_the_code_of_their_class():
    pipeline = joint_pipeline(one_class_codes=True)
    mask = np.full((16, 24), 255, np.uint8)
    mask[4:8, 8:12] = 3
    output = pipeline.complete(None, mask, n=3, steps=4)
    assert (output.tokens[0][:, 1, 2] % 5 == 3).all()
    assert output.unexplained_cells == [0]


def test_pixels_of_a_part_of_a_cell_are_evidence():
    pipeline = joint_pipeline(one_class_codes=True)
    mask = np.full((8, 8), 255, np.uint8)
    mask[1, 1:3] = 4  # two of sixteen pixels
    tokens = pipeline.complete(None, mask, n=16, steps=2, generator=torch.Generator().manual_seed(0)).tokens[0]
    assert (tokens[:, 0, 0] % 5 == 4).mean() > 0.9
    assert (tokens[:, 1, 1] % 5 == 4).mean() < 0.9


def test_nothing_unknown_returns_the_mask(pipeline, images):
    mask = np.random.default_rng(1).integers(0, 5, (50, 70), dtype=np.uint8)
    with pytest.warns(UserWarning, match="better than chance"):
        output = pipeline.complete(images[0], mask, n=1)
    assert np.array_equal(output.masks[0], mask)
    assert output.regions == [[]]


def test_everything_unknown_and_one_known_cell_work(pipeline, images):
    mask = np.full((50, 70), 255, np.uint8)
    assert pipeline.complete(images[0], mask, n=1, steps=2).masks[0].max() < 5
    mask[4:8, 8:12] = 1
    assert (pipeline.complete(images[0], mask, n=1, steps=2).masks[0][4:8, 8:12] == 1).all()


def test_a_size_that_does_not_divide_into_cells_works(pipeline):
    mask = np.full((7, 9), 255, np.uint8)
    mask[0, 0] = 1
    assert pipeline.complete(None, mask, n=1).masks[0].shape == (7, 9)
    assert pipeline.generate(2, (7, 9)).masks[1].shape == (7, 9)


@pytest.mark.filterwarnings("ignore:.*better than chance")
def test_large_images_are_drawn_in_windows(images):
    pipeline = joint_pipeline(window_size=(32, 32))
    output = pipeline.sample(images[0], n=2, steps=2, max_pixels=2000)
    assert output.masks[0].shape == (2, 50, 70)
    mask = partial()
    completed = pipeline.complete(images[0], mask, n=1, steps=2, max_pixels=2000)
    assert np.array_equal(completed.masks[0][mask != 255], mask[mask != 255])


def test_windows_cover_the_grid_and_overlap():
    windows = cell_windows((20, 30), (8, 12), 0.5)
    covered = np.zeros((20, 30), int)
    for rows, columns in windows:
        assert (rows.stop - rows.start, columns.stop - columns.start) == (8, 12)
        assert not covered.any() or covered[rows, columns].any()
        covered[rows, columns] += 1
    assert covered.min() > 0
    assert cell_windows((5, 6), (8, 12), 0.5) == cell_windows((5, 6), None, 0) == [(slice(0, 5), slice(0, 6))]


def test_masks_of_any_size_without_an_image(pipeline):
    output = pipeline.generate(3, (50, 90), window_size=(32, 32), steps=3, generator=torch.Generator().manual_seed(0))
    assert [mask.shape for mask in output.masks] == [(50, 90)] * 3
    assert output.tokens.shape == (3, 13, 23)
    counts = [np.bincount(mask.ravel(), minlength=5) / mask.size for mask in output.masks]
    np.testing.assert_allclose(output.proportions, counts)
    again = pipeline.generate(3, (50, 90), window_size=(32, 32), steps=3, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(again.tokens, output.tokens)


@pytest.mark.parametrize("window", [(64, 64), (32, 32)])
def test_proportions_are_reached(window):
    pipeline = joint_pipeline(one_class_codes=True)
    wanted = {"road": 0.6, "sky": 0.1, "car": 0.3}
    free = pipeline.generate(2, (64, 64), window_size=window, steps=8)
    output = pipeline.generate(2, (64, 64), wanted, window_size=window, steps=8)
    target = np.array([wanted.get(name, 0) for name in NAMES])
    assert np.abs(output.proportions - target).sum(1).max() < 0.1
    assert np.abs(free.proportions - target).sum(1).min() > 0.3


def test_refined_is_a_mean_of_marginals(pipeline, images):
    assert pipeline.decode_modes == ("hard", "marginal", "refined", "aux", "fused")
    assert pipeline.default_decode == "marginal"
    maps = pipeline.predict_probabilities(images, modes=("refined", "marginal"))
    for refined, marginal in zip(maps["refined"], maps["marginal"], strict=True):
        torch.testing.assert_close(refined.sum(0), torch.ones(refined.shape[1:]))
        assert (refined - marginal).abs().max() > 0.01
    alone = pipeline.predict_probabilities(images[1], modes=("refined",))["refined"][0]
    assert torch.equal(alone, maps["refined"][1])
    assert pipeline(images[0], decode="refined").masks[0].shape == (50, 70)


def test_refined_with_one_code_for_all_is_the_marginal(images):
    """A joint prior without weights changes nothing, so every path has the marginals of the prior."""
    pipeline = joint_pipeline(one_class_codes=True)
    torch.nn.init.zeros_(pipeline.joint.code_head.weight)
    torch.nn.init.zeros_(pipeline.joint.class_scale)
    pipeline.joint.gate[2].bias.data[1] = -50.0
    maps = pipeline.predict_probabilities(images, modes=("refined", "marginal"), exact=True)
    for refined, marginal in zip(maps["refined"], maps["marginal"], strict=True):
        torch.testing.assert_close(refined, marginal, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("output_type", ["np", "pil", "pt"])
def test_output_types(pipeline, images, output_type):
    kind = {"np": np.ndarray, "pil": list, "pt": torch.Tensor}[output_type]
    output = pipeline.sample(images[1], n=2, steps=1, output_type=output_type)
    assert isinstance(output.masks[0], kind)
    mask = np.full((33, 64), 255, np.uint8)
    completed = pipeline.complete(images[1], mask, n=2, steps=1, output_type=output_type)
    assert isinstance(completed.hypotheses[0], kind)
    assert len(pipeline.generate(2, (8, 8), output_type=output_type).masks) == 2


def test_a_pipeline_without_joint_prior_says_which_command_trains_one(images):
    pipeline, mask = tiny_pipeline(), np.zeros((50, 70), np.uint8)
    assert "refined" not in pipeline.decode_modes
    for call in (
        lambda: pipeline.sample(images),
        lambda: pipeline.complete(images[0], mask),
        lambda: pipeline.generate(2),
    ):
        with pytest.raises(InputError, match="train one with 'gss train joint'"):
            call()


def test_a_contextual_decoder_needs_a_local_one(images):
    pipeline = tiny_pipeline(decoder_type="contextual", likelihood=False)
    with pytest.raises(InputError, match="needs a local decoder"):
        pipeline.sample(images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, i: p.sample(i, n=0), "n is 0; it must be a whole number of at least 1"),
        (lambda p, i: p.sample(i, steps=0), "steps is 0"),
        (lambda p, i: p.sample(i, overlap=1.0), "overlap is 1.0"),
        (lambda p, i: p.sample(i, output_type="jpg"), "output_type is 'jpg'"),
        (lambda p, i: p.sample(i, size=(0, 3)), "size is"),
        (lambda p, i: p.sample(i, generator=[torch.Generator()]), "list of 1; give one, or one for each of 2 images"),
        (lambda p, i: p.sample(i, scheduler=TokenScheduler(mask_token_id=7)), "mask_token_id 7, this pipeline has 64"),
        (lambda p, i: p.complete(i, []), "masks is an empty list"),
        (lambda p, i: p.complete(i[0], np.full((50, 70), 7)), "holds label 7, allowed are 0..4 and 255"),
        (lambda p, i: p.complete(i[0], np.zeros((50, 71), int)), "50x71 pixels, its image 50x70"),
        (lambda p, i: p.complete(i, np.zeros((50, 70), int)), "images are 2, masks are 1"),
        (lambda p, i: p.complete(i[0], np.zeros((50, 70))), "masks is float64"),
        (lambda p, i: p.generate(0), "n is 0"),
        (lambda p, i: p.generate(1, (8, 0)), "size is"),
        (lambda p, i: p.generate(1, proportions={"road": 0.5, "sky": 0.4}), "proportions sum to 0.9"),
        (lambda p, i: p.generate(1, proportions={"raod": 1.0}), "unknown class 'raod', did you mean 'road'"),
        (lambda p, i: p.generate(1, proportions={"road": 1.5, "sky": -0.5}), "share of road is 1.5"),
    ],
)
def test_bad_input_is_one_line(pipeline, images, call, message):
    with pytest.raises(InputError) as caught:
        call(pipeline, images)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
