"""The joint prior: the prior itself where nothing is known; what is known changes what is near."""

import pytest
import torch

from gss.core.errors import InputError
from gss.models.joint import JointContext, JointPriorModel
from gss.models.joint.pyramid import LocalShift, known_around
from gss.models.prior import GSSPriorOutput

V, K, F = 24, 3, 4


def joint_prior(**config):
    """Return a joint prior whose every weight says something."""
    torch.manual_seed(0)
    joint = JointPriorModel(V, K, F, width=16, levels=2, rank=8, embed_dim=8, **config).eval()
    joint.set_table(torch.randn(V, K, F, F).mul(3).softmax(1))
    joint.set_shares(torch.arange(V))
    torch.nn.init.normal_(joint.code_head.weight)
    return joint


@pytest.fixture(params=[False, True], ids=["plain", "shift"])
def joint(request):
    return joint_prior(shift=request.param)


def image_output(batch=3, h=5, w=7):
    return GSSPriorOutput(token_logits=torch.randn(batch, V, h, w) * 3)


def unknown(batch=3, h=5, w=7):
    return torch.full((batch, h, w), V)


def test_nothing_known_is_the_prior_bit_for_bit_whatever_else_is_in_the_batch(joint):
    output = image_output()
    context = joint.encode(output)
    assert torch.equal(joint(unknown(), context).token_logits, output.token_logits)
    tokens = unknown()
    tokens[1, 2, 3] = 4
    logits = joint(tokens, context).token_logits
    assert torch.equal(logits[[0, 2]], output.token_logits[[0, 2]])
    assert not torch.equal(logits[1], output.token_logits[1])


def test_known_cells_change_what_is_near():
    joint, context = joint_prior(), JointContext.empty(2, 9, 12)
    tokens = unknown(2, 9, 12)
    tokens[1, 4, 5] = 7
    nothing, something = joint(tokens, context).token_logits
    torch.testing.assert_close(nothing.exp().sum(0), torch.ones(9, 12))
    assert (nothing - something)[:, 4, 6].abs().max() > 1e-3
    # The classes of the known code become more likely beside it.
    classes = torch.einsum("vhw,vk->khw", something.exp() - nothing.exp(), joint.share)
    assert classes[joint.share[7].argmax(), 4, 6] > 0


def test_items_are_independent(joint):
    output = image_output()
    tokens = torch.where(torch.rand(3, 5, 7) < 0.3, torch.randint(0, V, (3, 5, 7)), V)
    together = joint(tokens, joint.encode(output)).token_logits
    for item in range(3):
        context = joint.encode(GSSPriorOutput(token_logits=output.token_logits[item : item + 1]))
        alone = joint(tokens[item : item + 1], context).token_logits
        torch.testing.assert_close(alone[0], together[item])
    torch.testing.assert_close(
        joint(tokens.repeat_interleave(2, 0), joint.encode(output).repeat(2)).token_logits,
        together.repeat_interleave(2, 0),
    )


def test_given_pixels_count_as_known_cells_where_they_fill_one_and_as_evidence_elsewhere():
    joint, output = joint_prior(), image_output(1)
    labels = torch.full((1, 5 * F, 7 * F), 255)
    labels[0, :F, :F] = 2
    labels[0, 9, 13] = 1  # in cell (2, 3)
    context = joint.encode(output, labels=labels)
    score = joint.table[:, 2].clamp(min=1e-6).log().flatten(1).sum(1)
    assert context.given[0, 0, 0] == score.argmax() and (context.given != V).sum() == 1
    torch.testing.assert_close(context.pixels[0, :, 2, 3], joint.table[:, 1, 1, 1].log())
    assert context.pixels.flatten(2).abs().amax((0, 1)).count_nonzero() == 1
    assert not torch.equal(joint(unknown(1), context).token_logits, output.token_logits)
    # The same without image, and a cell given by its pixels is the cell given by its token.
    labels[0, 9, 13] = 255
    by_pixels = joint(unknown(1), joint.encode(None, labels=labels)).token_logits
    tokens = unknown(1)
    tokens[0, 0, 0] = score.argmax()
    torch.testing.assert_close(by_pixels, joint(tokens, JointContext.empty(1, 5, 7)).token_logits)


def test_items_without_image_in_a_batch_with_images():
    joint, output = joint_prior(), image_output()
    tokens = torch.where(torch.rand(3, 5, 7) < 0.3, torch.randint(0, V, (3, 5, 7)), V)
    context = joint.encode(output)
    context.image[1] = False
    mixed = joint(tokens, context).token_logits
    torch.testing.assert_close(mixed[1], joint(tokens, JointContext.empty(3, 5, 7)).token_logits[1])


def test_save_and_load(tmp_path):
    joint = joint_prior()
    joint.save_pretrained(tmp_path)
    loaded = JointPriorModel.from_pretrained(tmp_path)
    tokens = unknown(1)
    tokens[0, 2, 2] = 3
    context = JointContext.empty(1, 5, 7)
    assert torch.equal(loaded(tokens, context).token_logits, joint(tokens, context).token_logits)


def test_bad_input():
    joint = joint_prior()
    with pytest.raises(InputError, match="return_tokens=True"):
        joint.encode(GSSPriorOutput())
    with pytest.raises(InputError, match=f"30 codes, this joint prior of {V}"):
        joint.encode(GSSPriorOutput(token_logits=torch.zeros(1, 30, 4, 4)))
    with pytest.raises(InputError, match="size"):
        joint.encode(None)
    with pytest.raises(InputError, match="the context is of"):
        joint(unknown(1, 4, 4), JointContext.empty(1, 4, 5))
    with pytest.raises(InputError, match="do not divide into cells of 4"):
        joint.encode(None, labels=torch.zeros(1, 9, 8, dtype=torch.long))
    with pytest.raises(InputError, match="class 5; this joint prior has 3"):
        joint.encode(None, labels=torch.full((1, 8, 8), 5))
    with pytest.raises(InputError, match="width=0"):
        JointPriorModel(V, K, F, width=0)


def test_cells_that_are_asked_for_are_those_of_the_whole_grid(joint):
    output = image_output(2)
    labels = torch.full((2, 5 * F, 7 * F), 255)
    labels[:, :F, : F // 2] = 1
    tokens = torch.where(torch.rand(2, 5, 7) < 0.3, torch.randint(0, V, (2, 5, 7)), V)
    cells = torch.stack([torch.randperm(35)[:9] for _ in range(2)])
    dropped = joint.encode(output, labels=labels)
    dropped.image[1] = False
    for context in (joint.encode(output), dropped, JointContext.empty(2, 5, 7)):
        for grid in (tokens, unknown(2)):
            whole = joint(grid, context).token_logits.flatten(2)
            some = joint(grid, context, cells=cells).token_logits
            torch.testing.assert_close(some, whole.gather(2, cells[:, None].expand(-1, V, -1)))


def test_the_local_shift_is_zero_where_the_image_is_right_and_follows_the_known_cells_elsewhere():
    shift = LocalShift(3)
    known = torch.zeros(1, K, 8, 11)
    known[0, 1, 2:4, 3:6] = 1
    right = known_around(known, 3)
    torch.testing.assert_close(shift(right, right), torch.zeros(1, K, 8, 11))
    # The image said class 0 there: class 1 gains, class 0 loses, class 2 stays; less so farther away.
    wrong = known_around(known[:, [1, 0, 2]], 3)
    found = shift(right, wrong)
    assert found[0, 1].min() > 0 and found[0, 0].max() < 0 and found[0, 2].abs().max() < 1e-6
    assert found[0, 1, 2, 4] > found[0, 1, 7, 10]
    # By hand, at one level: (N + k) / (E + k) with the weights 1, 1/2 and 1/4 of the neighbours.
    single = LocalShift(1)
    single.log_strength.data.fill_(0.0)
    corner = single(known_around(known, 1), known_around(known / 4, 1))[0, 1, 1, 2]
    torch.testing.assert_close(corner, torch.tensor((0.25 + 1) / (0.25 / 4 + 1)).log())
