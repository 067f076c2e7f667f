"""Shared by several tests; taken from training/prior/test_domains.py."""

import pytest
from mixture_toys import MIXTURE, put
from safetensors.torch import load_file
from tiny_pipeline import tiny_pipeline

from gss.config.io import load_config
from gss.config.prior import PriorConfig
from gss.data.specs.load import load_spec
from gss.posterior.bundle import Posterior

RESNET = (
    "{model_type: resnet, embedding_size: 8, hidden_sizes: [8, 8, 16, 16], depths: [1, 1, 1, 1], layer_type: basic}"
)


PRIOR = [
    "data.crop=[16,16]",
    f"model.backbone_config={RESNET}",
    "model.hidden_dim=16",
    "model.num_heads=2",
    "model.depth=1",
    "model.window_size=4",
    "model.classifier_rank=8",
    "optim.warmup_steps=1",
    "train.batch_size=4",
    "train.log_every=1",
]


@pytest.fixture(name="folder", scope="module")
def mixture_run_folder(tmp_path_factory):
    """Two domains as in test_domains, and a posterior for the common classes."""
    root = tmp_path_factory.mktemp("domains")
    put(root / "town", {0: "sky", 1: "road", 2: "car"}, size=(24, 32), counts={"train": 7, "val": 2})
    put(root / "coast", {3: "street", 5: "heaven", 8: "sea"}, size=(20, 36), counts={"train": 3, "val": 1}, ignore=0)
    (root / "street.yaml").write_text(MIXTURE)
    parts = tiny_pipeline(classes=3, codes=16)
    space = load_spec(root / "street.yaml").label_space
    Posterior(parts.codec, parts.vqvae, parts.likelihood, space).save_pretrained(root / "posterior")
    return root


def prior_config(folder, *more, spec="street.yaml"):
    start = [f"data.spec={folder / spec}", f"posterior={folder / 'posterior'}"]
    return load_config(PriorConfig, [], [*start, *PRIOR, *more])


def weights(out):
    return load_file(out / "pipeline" / "prior" / "model.safetensors")
