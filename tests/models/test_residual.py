import math

import numpy as np
import pytest
import torch
from ood_toys import D, Images, K, density_head
from scipy import ndimage
from tiny_pipeline import tiny_pipeline
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.models.residual import ResidualPatternHead, enlarge, perturbed_logits
from gss.ood import SCORES, FittedScores, ScoreInputs, build_score
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.reading import Reader
from gss.training.density.fit_scores import fit_scores

CHANNELS = [64, 128]


def new_head(target="pixel", width=16, **changes):
    options = {"in_channels": CHANNELS, "feature_dim": D, "width": width, "rates": [1, 2], "target": target}
    return ResidualPatternHead(**(options | changes)).eval()


def trained_head(target="pixel"):
    head = new_head(target)
    torch.nn.init.normal_(head.projection.weight, std=0.5)
    return head


@pytest.fixture(scope="module")
def pipeline():
    """A pipeline with all heads; what they say is random."""
    pipe = tiny_pipeline()
    pipe.register_modules(density=density_head(), residual=trained_head())
    pipe.register_modules(ood=fit_scores(pipe, None, Images(), names=["residual_gmm", "residual_ratio"]))
    return pipe


@pytest.fixture
def output(pipeline):
    # 40x72 is no multiple of the 32 pixels that the backbone works in.
    with torch.no_grad():
        return pipeline.prior(torch.rand(2, 3, 40, 72), return_maps=True)


def test_a_new_head_changes_nothing(pipeline, output):
    with torch.no_grad():
        assert torch.equal(perturbed_logits(pipeline.prior, new_head(), output), output.aux_logits)
        tokens = perturbed_logits(pipeline.prior, new_head("token"), output)
    expected = output.token_logits.log_softmax(1) + math.log(64)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


def test_projection_before_enlarging_equals_projection_after(pipeline, output):
    grid = pipeline.prior.padded_grid(40, 72)
    for target in ("pixel", "token"):
        head = trained_head(target)
        with torch.no_grad():
            large = enlarge(head.context(output.maps, grid), grid)
            residual = head.projection(large)[..., :10, :18]
            plain = pipeline.prior.read_features(output.features + residual)
            found = perturbed_logits(pipeline.prior, head, output)
        if target == "pixel":
            expected = plain.aux_logits
        else:
            level = output.token_logits.logsumexp(1, keepdim=True) - math.log(64)
            expected = plain.token_logits - level
        assert (found - expected).abs().max() < 1e-4
        assert (found - perturbed_logits(pipeline.prior, new_head(target), output)).abs().max() > 0.1


def test_the_residual_of_an_image_does_not_depend_on_the_batch(pipeline, output):
    grid = pipeline.prior.padded_grid(40, 72)
    with torch.no_grad():
        both = pipeline.residual(output.maps, grid)
        one = pipeline.residual([x[1:] for x in output.maps], grid)
    assert both.shape == (2, D, 4, 6)
    torch.testing.assert_close(both[1:], one)


def test_only_the_head_learns(pipeline, output):
    head = trained_head()
    prior = pipeline.prior.requires_grad_(False)
    try:
        perturbed_logits(prior, head, output).square().mean().backward()
        assert all(p.grad is not None and p.grad.any() for p in head.parameters())
        assert all(p.grad is None for p in prior.parameters())
    finally:
        prior.requires_grad_(True)


def test_a_head_starts_as_a_copy_of_the_fusion(pipeline):
    head = new_head(width=32)
    assert head.copy_fusion(pipeline.prior.fusion)
    for mine, theirs in zip(head.fusion.projections, pipeline.prior.fusion.projections[-2:], strict=True):
        assert torch.equal(mine.weight, theirs.weight)
    assert torch.equal(head.fusion.mix[3].weight, pipeline.prior.fusion.mix[3].weight)
    assert not new_head(width=16).copy_fusion(pipeline.prior.fusion)


@pytest.mark.parametrize(
    "options", [{}, {"likelihood": False, "decoder_type": "contextual"}, {"vqvae": False}, {"density": True}]
)
@pytest.mark.parametrize("target", ["pixel", "token"])
def test_masks_are_the_same_bit_for_bit(options, target):
    plain = tiny_pipeline(**{name: value for name, value in options.items() if name != "density"})
    if "density" in options:
        plain.register_modules(density=density_head())
    with_head = GSSPipeline(**{**plain.components, "residual": trained_head(target)})
    image = Images().read(0)[0].resize((70, 45))
    assert with_head.decode_modes == plain.decode_modes
    for mode in plain.decode_modes:
        for views in ({}, {"window": "slide", "window_size": (32, 32), "flip": True}):
            first = plain(image, decode=mode, return_probabilities=True, **views)
            second = with_head(image, decode=mode, return_probabilities=True, score="residual_energy", **views)
            assert np.array_equal(first.masks[0], second.masks[0]), mode
            assert np.array_equal(first.probabilities[0], second.probabilities[0]), mode
            assert second.ood_scores[0].std() > 0 and first.ood_scores is None


def calls(monkeypatch, owner, *names):
    """Count the calls of methods."""
    counts = dict.fromkeys(names, 0)

    def counted(name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        return call

    for name in names:
        monkeypatch.setattr(owner, name, counted(name))
    return counts


def test_only_what_is_asked_for_is_computed(pipeline, monkeypatch):
    image, _ = Images().read(0)
    prior = calls(monkeypatch, pipeline.prior, "forward", "classify")
    head = calls(monkeypatch, pipeline.residual, "context")
    decoded = calls(monkeypatch, Reader, "decode")
    pipeline.predict_probabilities(image, modes=[], scores=["residual_energy"])
    assert (prior, head, decoded) == ({"forward": 1, "classify": 0}, {"context": 1}, {"decode": 0})
    pipeline.predict_probabilities(image, modes=["marginal"], exact=True)
    assert (prior, head, decoded) == ({"forward": 2, "classify": 1}, {"context": 1}, {"decode": 1})
    pipeline.predict_probabilities(image, modes=["marginal"], scores=["residual_energy", "residual_smooth"], exact=True)
    assert (prior, head, decoded) == ({"forward": 3, "classify": 2}, {"context": 2}, {"decode": 2})


def test_scores_against_references(pipeline):
    logits = 3 * torch.randn(2, K, 7, 9)
    inputs = ScoreInputs(logits=logits, features=torch.randn(2, D, 7, 9), size=(28, 36), perturbed=logits - 1)
    energy = build_score("residual_energy", residual=True).score(inputs)
    expected = -np.log(np.exp(logits.double().numpy() - 1).sum(1))
    np.testing.assert_allclose(energy.numpy(), expected, atol=1e-5)
    large = F.interpolate(energy[:, None], size=(28, 36), mode="bilinear")[:, 0].double().numpy()
    expected = [ndimage.gaussian_filter(part, 1, mode="nearest", radius=3) for part in large]
    found = build_score("residual_smooth", residual=True).score(inputs)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "part"), [("residual_gmm", "gmm_class"), ("residual_ratio", "gmm_ratio")])
def test_combination_with_the_density(pipeline, name, part):
    assert pipeline.default_score == "residual_energy"
    assert {"residual_gmm", "residual_ratio", "residual_smooth"} <= set(pipeline.score_names)
    names = ["residual_energy", part, name]
    image, _ = Images().read(1)
    found = pipeline.predict_probabilities(image, modes=[], scores=names)
    tensors = {key: value.numpy() for key, value in pipeline.ood.tensors(name).items()}
    parts = np.stack([found[name][0][0].numpy() for name in names[:2]], -1)
    expected = ((parts - tensors["mean"]) / tensors["deviation"] * tensors["weight"]).sum(-1)
    np.testing.assert_allclose(found[name][0][0].numpy(), expected, atol=1e-4)
    assert tensors["weight"].sum() == pytest.approx(1) and (tensors["weight"] >= 0).all()


def test_combinations_that_cannot_be(pipeline):
    image, _ = Images().read(1)
    plain = tiny_pipeline()
    with pytest.raises(InputError, match="'residual_energy' needs a residual pattern head"):
        plain(image, score="residual_energy")
    plain.register_modules(residual=trained_head())
    with pytest.raises(InputError, match="'residual_gmm' needs a density head"):
        plain(image, score="residual_gmm")
    with pytest.raises(InputError, match="needs 'gmm_class', which this pipeline cannot give"):
        fit_scores(plain, None, Images(), names=["residual_gmm"])
    with pytest.raises(InputError, match="needs a survey"):
        fit_scores(plain, None, Images(), names=["knn"])


def test_merged_scores():
    def one(names, parts=()):
        return FittedScores.from_tensors({name: {"x": torch.full((2,), float(len(name)))} for name in names}, parts)

    first = one(["knn", "combined", "residual_gmm"], ["knn", "residual_energy"])
    both = first.merged(one(["vim", "knn"]), without=["residual_gmm"])
    assert set(both.names) == {"knn", "vim", "combined"} and both.parts == first.parts
    assert both.tensors("vim")["x"].tolist() == [3, 3]
    assert first.merged(first, without=["combined"]).parts == ()


def test_save_and_load(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    again = load_pipeline(tmp_path)
    assert again.score_names == pipeline.score_names and not again.residual.training
    image, _ = Images().read(2)
    names = [name for name in pipeline.score_names if "residual" in SCORES[name].needs]
    assert len(names) == 4
    found = [pipe.predict_probabilities(image, modes=[], scores=names) for pipe in (pipeline, again)]
    for name in names:
        assert torch.equal(found[0][name][0], found[1][name][0]), name


def test_half_precision_prior(pipeline):
    image, _ = Images().read(2)
    exact = pipeline.predict_probabilities(image, modes=[], scores=["residual_energy"])["residual_energy"][0]
    try:
        rough = pipeline.to(torch.bfloat16).predict_probabilities(image, modes=[], scores=["residual_energy"])
    finally:
        pipeline.to(torch.float32)
    found = rough["residual_energy"][0]
    assert found.dtype == torch.float32 and pipeline.residual.projection.weight.dtype == torch.float32
    assert np.corrcoef(found.flatten(), exact.flatten())[0, 1] > 0.95


def test_heads_of_another_prior_are_refused():
    plain = tiny_pipeline()
    for head, what in (
        (new_head(in_channels=[64, 96]), "channels of the deepest maps"),
        (new_head(feature_dim=D + 1), "feature channels"),
    ):
        with pytest.raises(InputError, match=what):
            GSSPipeline(**{**plain.components, "residual": head})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"target": "pixels"}, "target"),
        ({"width": 0}, "width"),
        ({"rates": []}, "rates"),
        ({"in_channels": [0]}, "in_"),
    ],
)
def test_bad_arguments(change, what):
    with pytest.raises(InputError, match=what):
        new_head(**change)
