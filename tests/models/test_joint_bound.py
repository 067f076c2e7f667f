"""Bits of a mask: normalised, exact where cells are independent, a bound of the mean over orders otherwise."""

import itertools
import math

import torch

from gss.models.joint import JointContext, JointPriorModel
from gss.models.joint.bound import bits_per_pixel, cell_nats, cell_scores, order_bound

V, K, F = 3, 2, 1
H, W = 2, 2


def joint_prior():
    """Return a joint prior over 2 x 2 cells of one pixel whose known cells change the others a lot."""
    torch.manual_seed(3)
    joint = JointPriorModel(V, K, F, context_ratio=1, width=8, levels=2, rank=4, embed_dim=4).eval()
    joint.set_table(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])[:, :, None, None])
    joint.set_shares(torch.tensor([5, 3, 1]))
    torch.nn.init.normal_(joint.code_head.weight)
    return joint


def best_codes(joint, labels):
    return cell_scores(joint.table, labels).argmax(1)


def order_nats(joint, labels, order):
    """Return -log p_s(c) of one order, cell after cell."""
    tokens, scores = best_codes(joint, labels), cell_scores(joint.table, labels)
    known, nats = torch.full((1, H, W), V), 0.0
    for cell in order:
        row, column = divmod(cell, W)
        logits = joint(known, JointContext.empty(1, H, W)).token_logits
        nats += cell_nats(logits, scores)[0, row, column].item()
        known[0, row, column] = tokens[0, row, column]
    return nats


def masks():
    return [torch.tensor(cells).view(1, H, W) for cells in itertools.product(range(K), repeat=H * W)]


def test_every_order_is_a_distribution_over_masks():
    joint = joint_prior()
    for order in ((0, 1, 2, 3), (2, 0, 3, 1)):
        total = sum(math.exp(-order_nats(joint, labels, order)) for labels in masks())
        assert abs(total - 1) < 1e-5


def test_the_bound_is_the_mean_over_orders_and_above_the_exact_likelihood():
    joint = joint_prior()
    for labels in masks()[1:8:3]:
        each = [order_nats(joint, labels, order) for order in itertools.permutations(range(H * W))]
        exact = -math.log(sum(math.exp(-nats) for nats in each) / len(each))
        mean = sum(each) / len(each)
        assert mean > exact
        # Many draws of one mask at once: the estimate has no bias.
        many = 4000
        context = JointContext.empty(many, H, W)
        tokens, scores = best_codes(joint, labels), cell_scores(joint.table, labels)
        bound = order_bound(
            joint,
            context,
            tokens.expand(many, -1, -1),
            scores.expand(many, -1, -1, -1),
            draws=4,
            generator=torch.Generator().manual_seed(0),
        )
        error = bound.std() / math.sqrt(many)
        assert abs(bound.mean().item() - mean) < 4 * error.item() + 1e-4


def test_independent_cells_are_exact():
    joint = joint_prior()
    torch.nn.init.zeros_(joint.code_head.weight)
    with torch.no_grad():
        joint.class_scale.zero_()
    labels = torch.tensor([[[0, 1], [1, 255]]])
    share = joint.token_log_share.exp() @ joint.table[:, :, 0, 0]  # [K]
    expected = -float(share[[0, 1, 1]].log().sum())
    scores, context = cell_scores(joint.table, labels), JointContext.empty(1, H, W)
    logits = joint(torch.full((1, H, W), V), context).token_logits
    assert abs(float(cell_nats(logits, scores).sum()) - expected) < 1e-5
    assert abs(bits_per_pixel(cell_nats(logits, scores), labels) - expected / math.log(2) / 3) < 1e-5
    # Nothing is learnt from known cells, so the bound is the exact figure; void cells add nothing.
    tokens = best_codes(joint, labels).masked_fill(labels == 255, -100)
    bound = [
        order_bound(joint, context, tokens, scores, draws=4, generator=torch.Generator().manual_seed(seed))
        for seed in range(400)
    ]
    assert abs(float(torch.cat(bound).mean()) - expected) < 0.05
