"""All scores of a pipeline, fitted through the front door."""

import math

import numpy as np
import pytest
import torch
from ood_toys import D, Images, K, density_head, filled_survey
from tiny_pipeline import tiny_pipeline

from gss.models.density import GMMDensityHead
from gss.ood import SCORES, FittedScores, ScoreInputs, available_scores
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.density.fit_scores import fit_scores, labels_on_grid, survey_images

FITTED = ("sml", "mahalanobis", "mahalanobis++", "knn", "vim", "ddu")


@pytest.fixture(scope="module")
def scored():
    """A pipeline with everything a score may need, fitted through the front door."""
    pipeline = tiny_pipeline()
    pipeline.register_modules(density=density_head())
    survey = survey_images(pipeline, Images(), bank_size=200)
    combine = ["gmm_max", "knn", "energy", "token_entropy"]
    fitted = fit_scores(pipeline, survey, Images(), names=[*FITTED, "combined"], combine=combine)
    pipeline.register_modules(ood=fitted)
    return pipeline


def test_every_score_is_a_finite_float32_map(scored):
    assert set(scored.score_names) == {name for name, score in SCORES.items() if "residual" not in score.needs}
    image, _ = Images().read(0)
    wide = image.resize((70, 45))  # no multiple of anything
    found = scored.predict_probabilities([image, wide], modes=[], scores=scored.score_names)
    for name, (first, second) in found.items():
        assert first.shape == (1, 48, 64) and second.shape == (1, 45, 70), name
        assert first.dtype == torch.float32 and first.isfinite().all() and second.isfinite().all(), name
        assert first.std() > 0, name


def test_scores_in_a_call(scored):
    image, _ = Images().read(1)
    out = scored(image, score="energy")
    assert out.ood_scores[0].shape == (48, 64) and out.ood_scores[0].dtype == np.float32
    direct = scored.predict_probabilities(image, modes=["aux"], scores=["energy"])
    np.testing.assert_allclose(out.ood_scores[0], direct["energy"][0][0].numpy(), atol=1e-6)
    assert direct["aux"][0].shape == (K, 48, 64)
    np.testing.assert_array_equal(out.masks[0], scored(image).masks[0])
    assert scored(image).ood_scores is None
    default = scored(image, return_ood=True, output_type="pt").ood_scores[0]
    torch.testing.assert_close(default, torch.tensor(scored(image, score="gmm_max").ood_scores[0]))
    slid = scored(image, return_ood=True, window="slide", window_size=(32, 32), flip=True).ood_scores[0]
    assert slid.shape == (48, 64) and np.isfinite(slid).all()


def test_joint_multiplies_the_posteriors_of_tokens_and_mixture(scored):
    image, _ = Images().read(1)
    found = {
        mode: values[0].double()
        for mode, values in scored.predict_probabilities(image, modes=("marginal", "density", "joint")).items()
    }
    expected = found["marginal"].clamp(min=1e-6) * found["density"].clamp(min=1e-6)
    torch.testing.assert_close(found["joint"], expected / expected.sum(0), atol=1e-5, rtol=1e-4)
    # Whether its parts were asked for too makes no difference.
    alone = scored.predict_probabilities(image, modes=("joint",))["joint"][0]
    assert torch.equal(alone.double(), found["joint"])


def test_the_mixture_is_a_decode_mode(scored):
    image, _ = Images().read(1)
    assert scored.decode_modes[-2:] == ("density", "joint") and scored.default_decode == "marginal"
    out = scored(image, decode="density", return_probabilities=True, return_tokens=False)
    np.testing.assert_allclose(out.probabilities[0].sum(0), 1, atol=1e-5)
    scored.density.log_weights[3] = -math.inf
    try:
        assert (scored(image, decode="density").masks[0] != 3).all()
    finally:
        scored.density.log_weights[3] = -math.log(2)


def test_save_and_load(scored, tmp_path):
    scored.save_pretrained(tmp_path)
    again = load_pipeline(tmp_path)
    assert again.score_names == scored.score_names and again.ood.parts == scored.ood.parts
    image, _ = Images().read(2)
    names = scored.score_names
    found = [pipe.predict_probabilities(image, modes=[], scores=names) for pipe in (scored, again)]
    for name in names:
        torch.testing.assert_close(found[0][name][0], found[1][name][0], msg=name)
    assert torch.equal(found[0]["gmm_ratio"][0], found[1]["gmm_ratio"][0])


def test_scores_a_pipeline_cannot_give(scored):
    plain, twin = tiny_pipeline(), tiny_pipeline(vqvae=False)
    logits = ("msp", "max_logit", "energy", "entropy")
    assert set(plain.score_names) == {*logits, "token_entropy", "token_nll", "disagreement"}
    assert set(twin.score_names) == set(logits) and twin.default_score == "max_logit"
    without = GSSPipeline(
        **{**plain.components, "density": GMMDensityHead(K, 2, D, outlier_components=3)}
    )  # not fitted
    assert "gmm_max" in without.score_names and "gmm_ratio" not in without.score_names
    image, _ = Images().read(0)
    assert twin(image, return_ood=True).ood_scores[0].shape == (48, 64)
    for pipeline, name, reason in (
        (plain, "gmm_max", "density head"),
        (plain, "gmm_ratio", "density head"),
        (without, "gmm_ratio", r"needs a mixture of outliers \(.*outliers.spec=FOLDER"),
        (plain, "knn", "statistics of training data"),
        (twin, "token_nll", "discriminative"),
        (plain, "energi", "did you mean 'energy'"),
    ):
        with pytest.raises(ValueError, match=reason) as error:
            pipeline(image, score=name)
        assert "\n" not in str(error.value)


def test_components_of_another_pipeline_are_refused():
    pipeline = tiny_pipeline()
    for head, what in (
        (GMMDensityHead(K + 1, 2, D), "number of classes"),
        (GMMDensityHead(K, 2, D + 1), "feature channels"),
    ):
        with pytest.raises(ValueError, match=what):
            GSSPipeline(**{**pipeline.components, "density": head})


def test_labels_on_the_grid_of_cells():
    labels = np.full((6, 8), 255, dtype=np.uint8)
    labels[:, :4] = 1
    given = ScoreInputs(torch.zeros(1, K, 4, 4), torch.zeros(1, D, 4, 4), (16, 16))
    grid = labels_on_grid(labels, (12, 16), given)  # enlarged twice, then padded below
    assert grid.tolist() == [[1, 1, 255, 255]] * 3 + [[255] * 4]


def test_fitting_refuses_what_it_cannot_fit(scored):
    survey, *_ = filled_survey(600)
    for names, combine, reason in (
        (["msp"], [], "needs no fitting"),
        (["mahalanobi"], [], "did you mean 'mahalanobis'"),
        (["combined"], ["nonsense"], "unknown"),
        (["combined"], ["ddu"], "none of the scores to combine"),
    ):
        with pytest.raises(ValueError, match=reason):
            fit_scores(scored, survey, Images(), names=names, combine=combine)


def test_available_scores_follow_components():
    fitted = FittedScores.from_tensors({"knn": {"bank": torch.ones(2, D)}})
    assert "knn" in available_scores(fitted=fitted) and "vim" not in available_scores(fitted=fitted)
