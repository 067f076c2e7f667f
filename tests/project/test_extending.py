"""The examples of docs/extending are complete: each is taken from its page, named as the page says, and used."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import write_folder
from tiny_pipeline import NAMES, tiny_pipeline
from torch import nn

from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.core.errors import InputError
from gss.core.lookup.plugins import find_class
from gss.data.check.report import check_data
from gss.data.open import build_dataset, open_split
from gss.data.specs.load import load_spec
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.tables import segmentation_tables
from gss.models.imported_backbone import ImportedBackbone, imported_config
from gss.models.prior import GSSPriorModel
from gss.ood import SCORES, OODScore, ScoreInputs
from gss.ood.registry import build_score
from gss.pipeline.processor import GSSImageProcessor
from gss.pipeline.store.card import card_facts
from gss.training.losses.terms import find_terms
from vqvae import MaskigeVQModel, SettingError

PAGES = Path(__file__).resolve().parents[2] / "docs" / "extending"
EXAMPLES = {
    name: text
    for page in sorted(PAGES.glob("*.md"))
    for name, text in re.findall(r"```python\n# (\w+)\.py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
}


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Put the examples into the working folder, as a user has them, and forget them afterwards."""
    for name, text in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def test_every_page_has_an_example_that_is_tested():
    assert len(EXAMPLES) == len(list(PAGES.glob("*.md"))) - 1  # all but the index
    source = Path(__file__).read_text()
    assert all(f'"{name}:' in source or f"{{{name}:" in source for name in EXAMPLES)


def test_a_quantiser_is_built_trained_and_saved_by_its_name(tmp_path):
    cfg = load_config(PosteriorConfig, [], ["vq.quantizer_type=my_codes:NearestCode", "vq.options={commit: 0.5}"])
    size = {"codebook_size": 16, "latent_dim": 8, "hidden_dim": 32, "depth": 1}
    model = MaskigeVQModel(**{**vars(cfg.vq), **size})
    output = model(torch.randn(2, 3, 16, 24))
    output.loss.backward()
    assert model.quantizer.wrapped.codebook.grad.abs().sum() > 0 and model.quantizer.wrapped.commit == 0.5
    model.save_pretrained(tmp_path / "saved")
    again = MaskigeVQModel.from_pretrained(tmp_path / "saved")
    tokens = torch.randint(16, (1, 3, 5))
    torch.testing.assert_close(again.decode_tokens(tokens), model.eval().decode_tokens(tokens), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "words"),
    [("vqq", "is unknown: choose one of vq"), ("my_codes:Nothing", "is no torch module"), ("os:system", "no torch")],
)
def test_a_quantiser_that_is_none_is_refused(name, words):
    with pytest.raises(SettingError, match=words):
        MaskigeVQModel(quantizer_type=name)


def test_a_backbone_is_built_and_saved_by_its_name(tmp_path):
    torch.manual_seed(0)
    options = {"codebook_size": 16, "token_stride": 4, "hidden_dim": 32, "depth": 1, "num_heads": 2, "num_labels": 3}
    prior = GSSPriorModel.from_backbone("my_net:Pyramid", classifier="low_rank", classifier_rank=8, **options).eval()
    images = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        logits = prior(images).aux_logits
        prior.save_pretrained(tmp_path / "prior")
        again = GSSPriorModel.from_pretrained(tmp_path / "prior").eval()
        torch.testing.assert_close(again(images).aux_logits, logits, rtol=0, atol=0)
    assert prior.config.backbone_config.target == "my_net:Pyramid"
    facts = card_facts(
        processor=GSSImageProcessor(), prior=prior, codec=tiny_pipeline().codec, colors=np.zeros((3, 3), np.uint8),
        vqvae=None, likelihood=None, decode_modes=("aux",), default_decode="aux",
    )  # fmt: skip
    assert ["backbone", "my_net:Pyramid (of your own)"] in facts.table
    with pytest.raises(InputError, match="os:path.*must be a class derived from torch"):
        GSSPriorModel.from_backbone("os:path", **options)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([4, 8], "maps must come finest first, got 4x8, 8x16"),
        ([16, 8, 4], r"states maps of \[5, 5\] channels and gives \[5, 5, 5\]"),
        (None, "forward must return a list of maps, got one tensor"),
    ],
)
def test_a_backbone_with_maps_in_another_form_is_refused(sizes, words, monkeypatch):
    class Maps(nn.Module):
        channels = (5, 5)

        def forward(self, images):
            if sizes is None:
                return torch.zeros(len(images), 5, 8, 16)
            return [torch.zeros(len(images), 5, size, 2 * size) for size in sizes]

    monkeypatch.setattr("gss.models.imported_backbone.find_class", lambda *_: Maps)
    with pytest.raises(InputError, match=words):
        ImportedBackbone(imported_config("my_maps:Maps"))(torch.zeros(2, 3, 32, 64))


def test_a_data_set_is_read_checked_and_augmented_by_its_name():
    spec = load_spec("my_data:Discs")
    assert (spec.label_space.names, spec.available_splits()) == (("ground", "disc"), ["train", "val"])
    report = check_data(spec)
    assert report.num_problems == 0 and report.domains[0].splits[0].images == 12
    cfg = load_config(PriorConfig, [], ["data.spec=my_data:Discs", "data.crop=[32,48]"]).data
    item = build_dataset(cfg, "train", train=True)[0]
    assert item["image"].shape == (3, 32, 48) and item["labels"].shape == (32, 48)
    image, labels = open_split(spec, "val", size=(32, 48)).read(0)
    assert image.size == (48, 32) and set(np.unique(labels)) == {0, 1}
    with pytest.raises(InputError, match="has no split 'tset'"):
        open_split(spec, "tset")


def test_a_loss_term_is_found_weighted_and_has_a_gradient():
    cfg = load_config(PriorConfig, [], ["loss.terms={my_losses:class_shares: 0.5}"])
    ((name, (weight, term)),) = find_terms(cfg.loss.terms).items()
    assert (name, weight) == ("class_shares", 0.5)
    logits = torch.zeros(1, 2, 3, 4, requires_grad=True)
    value = term(logits, torch.tensor([[[0, 0, 0, 255]]]))
    value.backward()
    assert value.item() == pytest.approx(0.5) and logits.grad.abs().sum() > 0
    with pytest.raises(InputError, match=r"must be 0 or more"):
        find_terms({"my_losses:class_shares": -1.0})


def test_a_score_is_computed_by_its_name(monkeypatch):
    monkeypatch.setattr("gss.ood.registry.SCORES", dict(SCORES))
    logits = torch.tensor([0.9, 0.1]).log()[None, :, None, None]
    score = build_score("my_scores:Margin")
    inputs = ScoreInputs(logits=logits, features=torch.zeros(1, 4, 1, 1), size=(1, 1))
    assert score(inputs).item() == pytest.approx(0.2)
    tiny_pipeline().check_scores(["my_scores:Margin"])
    with pytest.raises(InputError, match="unknown score 'margn'"):
        build_score("margn")


def test_a_metric_is_measured_in_every_decode_mode(tmp_path):
    dataset = open_split(load_spec(write_folder(tmp_path / "data", NAMES)), "val")
    result = evaluate(
        tiny_pipeline(), dataset, modes=["hard", "aux"], metrics=["my_metrics:ErrorRate"], pictures=0, throughput=False
    )
    for mode, metrics in result.modes.items():
        assert result.extra[mode]["my_metrics:ErrorRate"] == pytest.approx(1 - metrics.accuracy)
    assert "my_metrics:ErrorRate" in segmentation_tables(result).text()
    with pytest.raises(InputError, match="there is no metric 'nothing'"):
        evaluate(tiny_pipeline(), dataset, metrics=["nothing"])


def test_a_decode_mode_is_computed_from_those_it_reads(tmp_path):
    pipeline = tiny_pipeline()
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    out = pipeline(image, decode="my_modes:cautious", return_probabilities=True)
    maps = pipeline.predict_probabilities([image], modes=["marginal", "aux", "my_modes:cautious"])
    expected = torch.minimum(maps["marginal"][0], maps["aux"][0])
    expected = expected / expected.sum(0)
    torch.testing.assert_close(maps["my_modes:cautious"][0], expected)
    np.testing.assert_array_equal(out.masks[0], expected.argmax(0).numpy())
    (tmp_path / "other_modes.py").write_text("def bare(maps):\n    return maps\n")
    for name, words in (("other_modes:bare", "must be a function that states"), ("hrad", "did you mean 'hard'")):
        with pytest.raises(InputError, match=words):
            pipeline(image, decode=name)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("maps['aux'] / 2", "gives probabilities whose sums over the classes go from 0.5 to 0.5"),
        ("maps['aux'].log()", "gives numbers from -"),
        ("maps['aux'] * 2 - 0.5 ** 2", "gives numbers from -"),
        ("maps['aux'] * float('nan')", "gives numbers that are not finite"),
        ("maps['aux'][:, :1]", "gives the shape [1, 1, "),
        ("maps['aux'].numpy()", "gives a ndarray"),
    ],
)
def test_a_decode_mode_that_gives_no_probabilities_is_refused(body, words, tmp_path):
    module = tmp_path.name  # modules are imported once
    (tmp_path / f"{module}.py").write_text(f"def mode(maps):\n    return {body}\n\n\nmode.modes = ('aux',)\n")
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    with pytest.raises(InputError) as error:
        tiny_pipeline()(image, decode=f"{module}:mode")
    text = str(error.value)
    assert f"decode='{module}:mode' {words}" in text and "add up to 1 over the classes" in text and "\n" not in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_module:Name",
            "there is no module 'no_such_module'; it must be installed, or be no_such_module.py",
        ),
        ("my_scores:Margim", "unknown name 'Margim', did you mean 'Margin'"),
        ("broken:Name", "importing broken fails: SyntaxError"),
        ("lacking:Name", "lacking needs the module 'something_else', install it"),
        ("math:sqrt", "must be a class derived from gss.ood.base.OODScore"),
    ],
)
def test_names_of_nothing_end_in_one_line(name, message, tmp_path):
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "lacking.py").write_text("import something_else\n")
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        find_class(name, "scores", OODScore)
    assert "\n" not in str(raised.value)
