"""Filling grids with a joint prior: how much drawn cells count."""

import pytest
import torch
from joint_toys import joint_pipeline

from gss.models.joint import JointContext
from gss.models.prior import GSSPriorOutput
from gss.pipeline.sampling.fill import fill
from gss.pipeline.sampling.scheduler import TokenScheduler

SIZE = (6, 7)


@pytest.fixture(scope="module")
def joint():
    return joint_pipeline().joint


def context(joint, *, image=True, given=False):
    labels = None
    if given:
        labels = torch.full((1, SIZE[0] * 4, SIZE[1] * 4), 255)
        labels[0, :8, :12] = 3
    torch.manual_seed(5)
    output = GSSPriorOutput(token_logits=torch.randn(1, joint.mask_token, *SIZE)) if image else None
    return joint.encode(output, size=(1, *SIZE), labels=labels)


@torch.no_grad()
def paths(joint, where, trust, *, n=1, steps=2, guide=None, tokens=None, order="halton"):
    scheduler = TokenScheduler(mask_token_id=joint.mask_token, schedule="linear", trust=trust, order=order)
    grid = torch.full((n, *SIZE), joint.mask_token) if tokens is None else tokens
    generators = [torch.Generator().manual_seed(number) for number in range(n)]
    options = {"steps": steps, "generators": generators, "probabilities": True, "guide": guide}
    return fill(joint, where, grid, scheduler, **options)


@pytest.mark.parametrize("order", ["halton", "spread_entropy"])
@pytest.mark.parametrize("given", [False, True])
def test_without_trust_every_cell_is_drawn_given_what_was_known_at_the_start(joint, given, order):
    where = context(joint, given=given)
    unknown = torch.full((1, *SIZE), joint.mask_token)
    with torch.no_grad():
        expected = joint(unknown, where).token_logits[0].softmax(0)
    found = paths(joint, where, 0.0, steps=5, order=order)
    free = unknown[0] == joint.mask_token if where.given is None else where.given[0] == joint.mask_token
    torch.testing.assert_close(found.probabilities[:, free], expected[:, free])
    assert not torch.allclose(paths(joint, where, 1.0, steps=5, order=order).probabilities, found.probabilities)


@pytest.mark.parametrize("image", [True, False])
def test_some_trust_lies_between(joint, image):
    where = context(joint, image=image)
    none, some, full = (paths(joint, where, trust) for trust in (0.0, 0.3, 1.0))
    logs = [part.probabilities.clamp(min=1e-30).log() for part in (none, some, full)]
    torch.testing.assert_close(logs[1], torch.lerp(logs[0], logs[2], 0.3).log_softmax(0), atol=1e-4, rtol=1e-4)
    # The first of two steps has drawn nothing to trust; the second has.
    same = (logs[0] - logs[2]).abs().amax(0) < 1e-5
    assert same.sum() == 21


def test_what_differs_between_copies_at_the_start_is_known(joint):
    where = JointContext.empty(1, *SIZE)
    start = torch.full((2, *SIZE), joint.mask_token)
    start[0, :3], start[1, :3] = 4, 9
    found = paths(joint, where, 0.0, n=2, steps=4, tokens=start)
    with torch.no_grad():
        expected = joint(start, JointContext.empty(2, *SIZE)).token_logits.softmax(1).mean(0)
    torch.testing.assert_close(found.probabilities[:, 3:], expected[:, 3:])
    assert (found.tokens[0, :3] == 4).all() and (found.tokens[1, :3] == 9).all()
