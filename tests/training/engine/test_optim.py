import math

import pytest
import torch
from torch import nn

from gss.config.shared import OptimConfig
from gss.training.engine.ema import ParameterEMA
from gss.training.engine.optim import build_optimizer, learning_rate_scale, parameter_groups


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.neck = nn.ModuleDict({"backbone": nn.Linear(4, 4, bias=False), "norm": nn.LayerNorm((2, 3))})
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.head = nn.Linear(4, 5)
        self.fixed = nn.Linear(2, 2).requires_grad_(False)


def test_every_trainable_parameter_is_in_the_right_group_once() -> None:
    model = Model()
    groups = parameter_groups(model, OptimConfig(lr=1e-2, backbone_lr_scale=0.1, weight_decay=0.05))
    names = {p: n for n, p in model.named_parameters()}
    found = {group["name"]: {names[p] for p in group["params"]} for group in groups}
    assert found == {
        "backbone": {"backbone.0.weight", "neck.backbone.weight"},
        "backbone_no_decay": {"backbone.0.bias", "backbone.1.weight", "backbone.1.bias"},
        "head": {"head.weight"},
        "head_no_decay": {
            "head.bias",
            "neck.norm.weight",
            "neck.norm.bias",
            "relative_position_bias_table",
        },
    }
    for group in groups:
        assert group["lr"] == pytest.approx(1e-3 if group["name"].startswith("backbone") else 1e-2)
        assert group["weight_decay"] == (0.0 if group["name"].endswith("no_decay") else 0.05)


def test_a_shared_parameter_is_taken_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = build_optimizer(parameter_groups(model, OptimConfig()), OptimConfig())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trainable parameter"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), OptimConfig())


@pytest.mark.parametrize(
    ("schedule", "middle"),
    [("poly", 0.5**0.9), ("cosine", 0.5), ("constant", 1.0)],
)
def test_schedule_values(schedule: str, middle: float) -> None:
    optim = OptimConfig(schedule=schedule, warmup_steps=10, power=0.9)
    scale = [learning_rate_scale(step, 110, optim) for step in range(110)]
    assert scale[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert scale[10] == 1.0
    assert scale[60] == pytest.approx(middle)
    assert all(0.0 < b <= a for a, b in zip(scale[9:], scale[10:], strict=False))


def test_a_run_shorter_than_the_warm_up_only_warms_up() -> None:
    assert [learning_rate_scale(s, 3, OptimConfig(warmup_steps=10)) for s in range(3)] == [0.1, 0.2, 0.3]


def test_ema_against_a_loop_in_float64_and_buffers_stay_live() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = ParameterEMA(model, decay=0.7)
    expected = model[0].weight.detach().double()
    for step in range(40):
        with torch.no_grad():
            model[0].weight += torch.randn(2, 3)
        model[1].running_mean += 1.0
        ema.update(step)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach().double()
    live = model[0].weight.detach().clone()
    with pytest.raises(RuntimeError), ema.applied():
        torch.testing.assert_close(model[0].weight.detach().double(), expected, atol=1e-5, rtol=0)
        assert model[1].running_mean[0] == 40.0
        raise RuntimeError
    assert torch.equal(model[0].weight, live)
    assert math.isclose(float(ema.average["0.weight"].sum()), float(expected.sum()), abs_tol=1e-4)
