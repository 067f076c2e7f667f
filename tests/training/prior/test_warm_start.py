"""Parts of a prior that start from another one or stay fixed: bit-identical, or refused with what differs."""

import pytest
import torch
from mixture_runs import mixture_run_folder, prior_config, weights  # noqa: F401 - a fixture
from tiny_pipeline import tiny_pipeline

from gss.labels.space import LabelSpace
from gss.models.parts import PARTS, freeze_parts, part_of
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.bundle import Posterior
from gss.training.run import train


@pytest.fixture(scope="module")
def source(folder, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("source")
    train("prior", prior_config(folder, "train.steps=2", "optim.lr=0.01", "train.seed=5"), out)
    return out


def test_every_tensor_belongs_to_a_part():
    prior = tiny_pipeline().prior
    found = {part_of(name) for name in prior.state_dict()}
    assert found == set(PARTS)
    assert {part_of(name) for name, _ in prior.backbone.named_parameters(prefix="backbone")} == {"backbone"}


@pytest.mark.parametrize("frozen", [["backbone", "fusion", "blocks"], ["token", "aux"], ["backbone"]])
def test_frozen_parts_stay_bit_identical(folder, source, tmp_path, frozen):  # noqa: F811
    more = [f"model.init_from={source}", f"model.freeze=[{','.join(frozen)}]", "train.ema_decay=0.9"]
    train("prior", prior_config(folder, *more, "train.steps=3", "optim.lr=0.01", "train.seed=1"), tmp_path)
    before, after = weights(source), weights(tmp_path)
    assert before.keys() == after.keys()
    changed = {part_of(name) for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == set(PARTS) - set(frozen)
    statistics = [name for name in before if "running_mean" in name]
    assert statistics  # this backbone has batch norms: with the backbone fixed, their statistics stay too
    assert ("backbone" in frozen) == all(torch.equal(before[name], after[name]) for name in statistics)


def test_start_from_some_parts(folder, source, tmp_path):  # noqa: F811
    more = [f"model.init_from={source / 'pipeline'}", "model.init_parts=[backbone,blocks]"]
    # All parts are fixed but those of the heads, hence what was not taken over is the initial value of this seed.
    train("prior", prior_config(folder, *more, "model.freeze=[backbone,fusion,blocks]", "train.steps=1"), tmp_path)
    before, after = weights(source), weights(tmp_path)
    same = {part: all(torch.equal(before[n], after[n]) for n in before if part_of(n) == part) for part in PARTS}
    assert same == {"backbone": True, "blocks": True, "fusion": False, "token": False, "aux": False}


def test_other_classes_take_all_parts_but_the_auxiliary_head(folder, source, tmp_path):  # noqa: F811
    parts = GSSPipeline.from_pretrained(source / "pipeline")
    other = tiny_pipeline(classes=2, codes=16)
    space = LabelSpace(("sky", "road"))
    Posterior(other.codec, parts.vqvae, other.likelihood, space).save_pretrained(tmp_path / "posterior")
    (folder / "two.yaml").write_text(
        "classes: [sky, road]\ndomains:\n  town: {spec: ./town, unmapped: drop}\n"
        "  coast: {spec: ./coast, map: {heaven: sky, street: road}, unmapped: drop}\n"
    )
    more = [f"posterior={tmp_path / 'posterior'}", f"model.init_from={source}", "train.steps=1", "optim.lr=0"]
    with pytest.raises(ValueError, match=r"part 'aux' .* aux_head.bias has shape \[3\] there and \[2\] here"):
        train("prior", prior_config(folder, *more, spec="two.yaml"), tmp_path / "run")
    kept = [*more, "model.init_parts=[backbone,fusion,blocks,token]"]
    train("prior", prior_config(folder, *kept, spec="two.yaml"), tmp_path / "run")
    before, after = weights(source), weights(tmp_path / "run")
    assert torch.equal(before["token_head.weight"], after["token_head.weight"])
    assert after["code_evidence"].shape[1] == 2 * 16  # of the new table


def test_twin_starts_from_a_prior_without_its_tokens(folder, source, tmp_path):  # noqa: F811
    train("twin", prior_config(folder, f"model.init_from={source}", "train.steps=1", "optim.lr=0"), tmp_path)
    before, after = weights(source), weights(tmp_path)
    assert after.keys() == {name for name in before if part_of(name) != "token"}
    learned = [name for name in after if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(before[name], after[name]) for name in learned)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["model.freeze=[backbon]"], "model.freeze: unknown part 'backbon', did you mean 'backbone'"),
        (["model.freeze=[backbone,fusion,blocks,token,aux]"], "holds the whole network"),
        (["model.init_parts=[tokens]"], "model.init_parts: unknown part 'tokens', did you mean 'token'"),
        (["model.init_from=/nowhere"], "model.init_from=/nowhere: there is no such folder"),
        (["model.hidden_dim=32"], r"part 'fusion' .*hidden_dim is 16 there and 32 here.*init_parts=\[backbone, blocks"),
        (["model.depth=2"], "part 'blocks' .*blocks.1.* is missing there.*depth is 1 there and 2 here"),
        (["model.num_heads=4"], "part 'blocks' does not fit: num_heads changed"),
        (["model.classifier_rank=4"], r"part 'token' .*\[8.* there and \[4.* here"),
        (["model.classifier=full"], "part 'token' does not fit: evidence_scale is missing here"),
        (["model.backbone_config={model_type: swin, embed_dim: 8, depths: [1,1,1,1]}"], "backbone is resnet there"),
    ],
)
def test_what_does_not_fit_is_named(folder, source, tmp_path, more, message):  # noqa: F811
    with pytest.raises(ValueError, match=message) as raised:
        train("prior", prior_config(folder, f"model.init_from={source}", *more), tmp_path)
    assert "\n" not in str(raised.value)


def test_other_codes_and_other_class_names_are_refused(folder, source, tmp_path):  # noqa: F811
    parts = tiny_pipeline(classes=3, codes=16)
    space = LabelSpace(("sky", "road", "car"))
    for parameter in parts.vqvae.parameters():
        parameter.data += 0.1
    parts.vqvae.quantizer.set_codes(torch.randn(16, 8))
    Posterior(parts.codec, parts.vqvae, parts.likelihood, space).save_pretrained(tmp_path / "posterior")
    more = [f"posterior={tmp_path / 'posterior'}", f"model.init_from={source}"]
    with pytest.raises(ValueError, match="part 'token' .* another posterior"):
        train("prior", prior_config(folder, *more), tmp_path / "run")
    bigger = tiny_pipeline(classes=3, codes=32)
    Posterior(bigger.codec, bigger.vqvae, bigger.likelihood, space).save_pretrained(tmp_path / "bigger")
    more[0] = f"posterior={tmp_path / 'bigger'}"
    with pytest.raises(
        ValueError, match="token_head.bias has shape .16. there and .32. here.*codebook_size is 16 there"
    ):
        train("prior", prior_config(folder, *more), tmp_path / "run")
    (tmp_path / "renamed").mkdir()
    renamed = GSSPipeline.from_pretrained(source / "pipeline").prior
    renamed.config.id2label = {0: "sky", 1: "lane", 2: "car"}
    renamed.save_pretrained(tmp_path / "renamed")
    with pytest.raises(ValueError, match="part 'aux' does not fit: class 1 is 'lane' there and 'road' here"):
        train("prior", prior_config(folder, f"model.init_from={tmp_path / 'renamed'}"), tmp_path / "run")


def test_held_modules_stay_in_evaluation_mode():
    prior = tiny_pipeline().prior
    freeze_parts(prior, ["backbone", "token"])
    prior.train()
    assert prior.training and prior.blocks.training
    assert not any(module.training for module in [*prior.backbone.modules(), prior.token_drop])
