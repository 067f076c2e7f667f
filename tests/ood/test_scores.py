import math

import numpy as np
import pytest
import torch
from ood_toys import D, Images, K, density_head, filled_survey
from tiny_pipeline import tiny_pipeline
from torch.nn import functional as F

from gss.models.density import GMMDensityHead
from gss.ood import SCORES, FittedScores, ScoreInputs, available_scores, build_score
from gss.ood.features import largest_products, min_squared_distance
from gss.ood.fitted import Combined, combination_weights, stack_scores
from gss.ood.logits import smooth, suppress_boundaries
from gss.ood.survey import Survey
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.density.fit_scores import fit_scores, labels_on_grid, survey_images

FITTED = ("sml", "mahalanobis", "mahalanobis++", "knn", "vim", "ddu")


def inputs(batch=2, h=7, w=9, **more):
    return ScoreInputs(
        logits=3 * torch.randn(batch, K, h, w), features=torch.randn(batch, D, h, w), size=(4 * h, 4 * w), **more
    )


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


def test_logit_scores_against_numpy():
    given = inputs()
    z = given.logits.double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = {
        "msp": 1 - p.max(1),
        "max_logit": -z.max(1),
        "energy": -np.log(np.exp(z).sum(1)),
        "entropy": -(p * np.log(p)).sum(1) / np.log(K),
    }
    for name, reference in expected.items():
        np.testing.assert_allclose(build_score(name).score(given).numpy(), reference, atol=1e-5, err_msg=name)


def test_token_scores_and_disagreement():
    tokens = torch.randn(2, 11, 7, 9)
    decoded = torch.randn(2, K, 28, 36).softmax(1)
    given = inputs(token_logits=tokens, decoded=decoded)
    p = tokens.double().softmax(1)
    surprise = build_score("token_nll", tokens=True).score(given)
    torch.testing.assert_close(surprise.double(), -p.amax(1).log(), atol=1e-5, rtol=0)
    entropy = build_score("token_entropy", tokens=True).score(given)
    torch.testing.assert_close(entropy.double(), -(p * p.log()).sum(1) / math.log(11), atol=1e-5, rtol=0)
    aux = F.interpolate(given.logits, size=given.size, mode="bilinear").softmax(1).double()
    mean = (aux + decoded) / 2
    divergence = ((aux * (aux / mean).log()).sum(1) + (decoded * (decoded / mean).log()).sum(1)) / 2
    score = build_score("disagreement", tokens=True)
    torch.testing.assert_close(score.score(given).double(), divergence, atol=1e-5, rtol=0)
    same = ScoreInputs(given.logits, given.features, given.size, decoded=aux.float())
    assert score.score(same).abs().max() < 1e-6


def test_mahalanobis_against_numpy():
    survey, rows, labels, _ = filled_survey()
    given = inputs()
    for name in ("mahalanobis", "mahalanobis++"):
        x = F.normalize(rows, dim=1) if name.endswith("++") else rows
        means = torch.stack([x[labels == c].mean(0) for c in range(K)])
        centred = (x - means[labels]).numpy()
        covariance = centred.T @ centred / len(x)
        covariance += 1e-4 * np.trace(covariance) / D * np.eye(D)
        h = given.features.movedim(1, -1).flatten(0, 2).double()
        h = F.normalize(h, dim=1) if name.endswith("++") else h
        difference = (h[:, None] - means).numpy()
        expected = np.einsum("ncd,de,nce->nc", difference, np.linalg.inv(covariance), difference).min(1)
        fitted = FittedScores.from_tensors({name: SCORES[name].fit(survey)})
        found = build_score(name, fitted=fitted).score(given).flatten().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_ddu_against_torch_distributions():
    survey, rows, labels, _ = filled_survey(12_000)
    fitted = FittedScores.from_tensors({"ddu": SCORES["ddu"].fit(survey)})
    given = inputs(1, 4, 5)
    h = given.features.movedim(1, -1).flatten(0, 2).double()
    each = []
    pooled = survey.covariance(within=True)
    for c in range(K):
        own = rows[labels == c]
        n = len(own)
        covariance = n / (n + D) * torch.cov(own.t(), correction=0) + D / (n + D) * pooled
        covariance = covariance + 1e-4 * covariance.diagonal().mean() * torch.eye(D)
        normal = torch.distributions.MultivariateNormal(own.mean(0), covariance)
        each.append(normal.log_prob(h) + math.log(n / len(rows)))
    expected = -torch.stack(each, 1).logsumexp(1)
    found = build_score("ddu", fitted=fitted).score(given).flatten()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)


def test_knn_against_cdist():
    survey, rows, _, _ = filled_survey(600)
    bank = SCORES["knn"].fit(survey)["bank"]
    assert len(bank) <= 500 and torch.allclose(bank.norm(dim=1), torch.ones(len(bank)))
    given = inputs()
    h = F.normalize(given.features.movedim(1, -1).flatten(0, 2), dim=1)
    expected = torch.cdist(h.double(), bank.double()).topk(3, largest=False).values.mean(1)
    found = build_score("knn", fitted=FittedScores.from_tensors({"knn": {"bank": bank}})).score(given).flatten()
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("points", [1, 2, 100, 250, 401])
def test_largest_products(points, monkeypatch):
    monkeypatch.setattr("gss.ood.features._CACHED_BLOCK", 1000)
    rows, bank = F.normalize(torch.randn(37, 8), dim=1), F.normalize(torch.randn(points, 8), dim=1)
    bank[points // 2 :] = bank[points // 2]  # ties, also across groups
    expected = (rows @ bank.t()).topk(min(3, points), dim=1).values
    torch.testing.assert_close(largest_products(rows, bank, 3), expected)
    torch.testing.assert_close(largest_products(-bank[:1], bank[:1], 3), torch.full((1, 1), -1.0))
    assert largest_products(rows[:0], bank, 3).shape == (0, min(3, points))


def test_vim_against_the_definition():
    survey, rows, _, logits = filled_survey()
    tensors = SCORES["vim"].fit(survey)
    weight, bias = (part.double() for part in survey.classifier)
    origin = -torch.linalg.pinv(weight) @ bias
    centred = rows - origin
    values, vectors = torch.linalg.eigh(centred.t() @ centred)
    residual = vectors[:, : D // 2]
    given = inputs()
    h = given.features.movedim(1, -1).flatten(0, 2).double() - origin
    expected = (h @ residual).norm(dim=1)
    found = build_score("vim", fitted=FittedScores.from_tensors({"vim": tensors})).score(given)
    norm = (found + given.logits.logsumexp(1)).flatten() / tensors["scale"]
    torch.testing.assert_close(norm.double(), expected, rtol=1e-3, atol=1e-3)
    scale = logits.amax(1).double().mean() / (centred @ residual).norm(dim=1).mean()
    assert abs(float(tensors["scale"]) / float(scale) - 1) < 0.1  # from a sample


def test_sml_statistics_and_smoothing():
    survey, _, _, logits = filled_survey()
    tensors = SCORES["sml"].fit(survey)
    largest, predicted = logits.max(1)
    for c in range(K):
        own = largest[predicted == c]
        assert tensors["mean"][c].isclose(own.mean(), atol=1e-4)
        assert tensors["deviation"][c].isclose(own.std(correction=0), atol=1e-4)
    flat = torch.full((1, 40, 50), 2.5)
    assert torch.allclose(smooth(flat), flat)
    predicted = torch.zeros(1, 40, 50, dtype=torch.long)
    predicted[:, :, 25:] = 1
    score = torch.where(predicted == 0, 1.0, 2.0)
    score[:, :, 23:27] = 50.0  # small logits along the boundary
    clean = suppress_boundaries(score, predicted)
    assert clean.max() < 10 and torch.equal(clean[:, :, :20], score[:, :, :20])
    single = torch.randn(1, 12, 13)
    assert torch.equal(suppress_boundaries(single, torch.zeros(1, 12, 13, dtype=torch.long)), single)


def test_distances_in_blocks(monkeypatch):
    rows, points = 30 + torch.randn(50, 6), 30 + torch.randn(9, 6)
    monkeypatch.setattr("gss.ood.features._BLOCK", 40)
    expected = torch.cdist(rows.double(), points.double()).square().amin(1)
    torch.testing.assert_close(min_squared_distance(rows, points).double(), expected, atol=1e-3, rtol=0)


def test_combination_uses_no_outliers_and_shares_weight_among_copies():
    z = torch.randn(5000, 2, dtype=torch.float64)
    scores = torch.stack([10 * z[:, 0] + 3, 10 * z[:, 0] + 3, z[:, 1], torch.full_like(z[:, 0], 7.0)], 1)
    tensors = combination_weights(scores.mean(0), scores.t() @ scores / len(scores))
    weight = tensors["weight"]
    assert weight[3] == 0 and torch.allclose(weight[:3], torch.tensor([0.25, 0.25, 0.5]), atol=0.02)
    given = inputs()
    parts = [build_score("energy"), build_score("entropy")]
    stacked = stack_scores(parts, given)
    rows = stacked.flatten(0, 2).double()
    tensors = combination_weights(rows.mean(0), rows.t() @ rows / len(rows))
    expected = ((stacked - tensors["mean"]) / tensors["deviation"] * tensors["weight"]).sum(-1)
    torch.testing.assert_close(Combined(parts, tensors).score(given), expected)


def test_unknown_far_from_training_scores_higher(scored):
    """Features of nothing seen score higher than features of training, with every score of features."""
    survey, rows, _, _ = filled_survey()
    tensors = {name: SCORES[name].fit(survey) for name in FITTED if name != "sml"}
    fitted = FittedScores.from_tensors(tensors)
    logits = torch.zeros(1, K, 10, 10)
    known = ScoreInputs(logits, rows[:100].float().t().reshape(1, D, 10, 10), (40, 40))
    strange = ScoreInputs(logits, 8 * torch.randn(1, D, 10, 10), (40, 40))
    for name in tensors:
        score = build_score(name, fitted=fitted)
        assert score.score(strange).mean() > score.score(known).mean(), name


def test_survey_sample_is_even_over_images():
    survey = Survey(1, 2, pixels_per_class=100, pixels_per_image=60)
    for i in range(40):
        survey.add(
            torch.full((2, 8, 10), float(i)) + torch.rand(2, 8, 10) / 9,
            torch.zeros(1, 8, 10),
            torch.zeros(8, 10).long(),
            seeds=(i,),
        )
    survey.finish()
    sample = survey.sample["features"][:, 0].long()
    assert len(sample) == 100 and len(sample.unique()) > 25
    assert survey.count.tolist() == [3200]


def test_survey_names_what_is_wrong():
    survey = Survey(K, D)
    features, logits, labels = torch.randn(D, 6, 7), torch.randn(K, 6, 7), torch.zeros(6, 7, dtype=torch.long)
    bad = features.clone()
    bad[3, 2, 5] = math.nan
    with pytest.raises(
        ValueError, match="features of image street_7 are not finite at 1 of 42 cells, first at row 2, column 5"
    ):
        survey.add(bad, logits, labels, seeds=(0,), name="street_7")
    survey.add(features, logits, torch.full((6, 7), 255), seeds=(0,), name="void")
    with pytest.raises(ValueError, match="no pixel of the training images has a label"):
        survey.finish()
    constant = Survey(K, D)
    constant.add(torch.full((D, 6, 7), 0.3), logits, labels, seeds=(0,))
    with pytest.raises(ValueError, match="features are constant over 42 pixels"):
        constant.finish()


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
