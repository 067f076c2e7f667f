"""What every out-of-distribution score must do: a new score's test states how it is built and what is unusual."""

import dataclasses

import pytest
import torch
from ood_toys import D, K, density_head, filled_survey
from torch.nn import functional as F

from gss.ood import SCORES, FittedScores, ScoreInputs, available_scores, build_score

V = 11


def score_inputs(batch=3, h=7, w=9, *, seed=0):
    """Inputs with everything that a score may need, on a grid that is not square."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random)

    return ScoreInputs(
        logits=3 * normal(batch, K, h, w),
        features=normal(batch, D, h, w),
        size=(4 * h, 4 * w),
        token_logits=3 * normal(batch, V, h, w),
        decoded=normal(batch, K, 4 * h, 4 * w).softmax(1),
        perturbed=3 * normal(batch, K, h, w),
    )


def single(inputs, index):
    """Return the inputs of one image of a batch."""
    tensors = ("logits", "features", "token_logits", "decoded", "perturbed")
    parts = {name: getattr(inputs, name)[index : index + 1] for name in tensors}
    return ScoreInputs(size=inputs.size, **parts)


class ScoreChecks:
    """Base of the test class of a score.

    Subclasses say how the score is built, what is unusual, and what plain float64 arithmetic makes of the inputs.

    Attributes:
        name: name of the score.
        full_size: whether maps have the size of the images, not of the grid.
        tolerance: largest absolute and relative difference from the reference.
    """

    name = ""
    full_size = False
    tolerance = 1e-4

    def parts(self):
        """Return the components that `build_score` takes."""
        return {}

    def unusual(self, inputs):
        """Return inputs that the score must call more unusual."""
        raise NotImplementedError

    def reference(self, inputs):
        """Return the map by plain float64 arithmetic, [B, h, w]; None without one."""
        return None

    def build(self):
        torch.manual_seed(1)
        return build_score(self.name, **self.parts())

    def test_coarse_features_give_an_enlarged_score(self):
        inputs, score = score_inputs(), self.build()
        coarse = torch.randn(3, D, 5, 6, generator=torch.Generator().manual_seed(3))
        values = score(dataclasses.replace(inputs, coarse=coarse, ratio=2, computed={}))
        assert values.shape == score(inputs).shape
        if not score.cellwise:
            return  # it reads none, or combines other scores
        alone = dataclasses.replace(inputs, features=coarse, computed={})
        expected = F.interpolate(score(alone)[:, None], scale_factor=2, mode="bilinear")[:, 0, :7, :9]
        torch.testing.assert_close(values, expected)

    def test_is_a_finite_float32_map(self):
        inputs = score_inputs()
        values = self.build()(inputs)
        height, width = inputs.size if self.full_size else inputs.logits.shape[-2:]
        assert values.shape == (3, height, width) and values.dtype == torch.float32
        assert values.isfinite().all() and values.std() > 0

    def test_equals_the_reference(self):
        inputs = score_inputs()
        values, expected = self.build()(inputs), self.reference(inputs)
        if expected is not None:
            torch.testing.assert_close(
                values.double(), expected.reshape(values.shape), atol=self.tolerance, rtol=self.tolerance
            )

    def test_images_of_a_batch_do_not_change_each_other(self):
        inputs, score = score_inputs(), self.build()
        values = score(inputs)
        for index in range(len(values)):
            torch.testing.assert_close(score(single(inputs, index))[0], values[index], atol=1e-4, rtol=1e-4)

    def test_is_higher_on_unusual_inputs(self):
        inputs, score = score_inputs(), self.build()
        assert score(self.unusual(inputs)).mean() > score(inputs).mean()

    def test_is_taken_once_of_the_same_inputs(self):
        inputs, score = score_inputs(), self.build()
        assert score(inputs) is score(inputs) and inputs.computed.keys() >= {self.name}

    def test_is_available_where_its_needs_are_met(self):
        parts = self.parts()
        assert self.name in available_scores(**parts)
        if SCORES[self.name].needs:
            assert self.name not in available_scores()
            with pytest.raises(ValueError, match=f"score '{self.name.replace('+', '.')}' needs") as error:
                build_score(self.name)
            assert "\n" not in str(error.value)


class LogitChecks(ScoreChecks):
    """Base for scores of the class logits, which are higher where the logits are flatter."""

    def unusual(self, inputs):
        return dataclasses.replace(inputs, logits=inputs.logits / 10, computed={})


class FittedChecks(ScoreChecks):
    """Base for scores with statistics, which are higher far from the features of training.

    Attributes:
        survey: (survey, features [N, D], labels [N], logits [N, K]) of training, float64.
    """

    @pytest.fixture(autouse=True)
    def _fill(self):
        torch.manual_seed(0)
        self.survey = filled_survey()

    def parts(self):
        return {"fitted": FittedScores.from_tensors({self.name: SCORES[self.name].fit(self.survey[0])})}

    def unusual(self, inputs):
        return dataclasses.replace(inputs, features=inputs.features * 30, computed={})

    def test_statistics_survive_saving(self, tmp_path):
        parts = self.parts()
        parts["fitted"].save_pretrained(tmp_path)
        again = parts | {"fitted": FittedScores.from_pretrained(tmp_path)}
        first, second = (build_score(self.name, **some)(score_inputs()) for some in (parts, again))
        assert torch.equal(first, second)


class DensityChecks(ScoreChecks):
    """Base for scores of the density head."""

    def parts(self):
        torch.manual_seed(2)
        return {"density": density_head()}

    def unusual(self, inputs):
        return dataclasses.replace(inputs, features=-self.usual(inputs).features, computed={})

    def usual(self, inputs):
        """Return inputs whose features are means of the mixture."""
        means = self.parts()["density"].gaussians.means
        chosen = torch.arange(inputs.features[:, 0].numel()) % len(means)
        features = means[chosen].view(*inputs.features[:, 0].shape, D).movedim(-1, 1)
        return dataclasses.replace(inputs, features=features, computed={})

    def test_is_higher_on_unusual_inputs(self):
        inputs, score = score_inputs(), self.build()
        assert score(self.unusual(inputs)).mean() > score(self.usual(inputs)).mean()


class TokenChecks(ScoreChecks):
    """Base for scores of the token logits, which are higher where they are flatter."""

    def parts(self):
        return {"tokens": True}

    def unusual(self, inputs):
        return dataclasses.replace(inputs, token_logits=inputs.token_logits / 10, computed={})


def as_rows(features):
    """Return features [B, D, h, w] as float64 [B * h * w, D]."""
    return features.movedim(1, -1).flatten(0, 2).double()


def unit(rows):
    return F.normalize(rows, dim=-1)
