"""Every training stage on pictures of coloured blocks: what it needs, and settings that take a second."""

import json
from pathlib import Path

import numpy as np
from object_toys import folder as object_folder
from ood_toys import Images
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline
from tiny_runs import SWIN

from gss.config.io import load_config
from gss.labels.space import LabelSpace
from gss.posterior.bundle import Posterior
from gss.training.stages import STAGES as ALL

RESNET = (
    "{model_type: resnet, embedding_size: 16, hidden_sizes: [16, 24, 24, 24], depths: [1, 1, 1, 1], "
    "layer_type: basic, out_features: [stage1, stage2]}"
)
STAGES = ("posterior", "prior", "twin", "density", "residual", "joint", "weak-agmm", "weak-tags")


def write(root: Path, count: int = 6) -> Path:
    """Write a data set in `data`, a pipeline, a posterior and objects to paste."""
    images = Images(count + 2)
    for split, indices in (("train", range(count)), ("val", range(count, count + 2))):
        for kind in ("images", "masks"):
            (root / "data" / kind / split).mkdir(parents=True)
        for index in indices:
            image, labels = images.read(index)
            image.save(root / "data" / "images" / split / f"{index}.png")
            Image.fromarray(labels).save(root / "data" / "masks" / split / f"{index}.png")
    (root / "data" / "classes.json").write_text(json.dumps({"classes": dict(enumerate(NAMES))}))
    pipeline = tiny_pipeline()
    pipeline.prior.aux_head.bias.data.normal_(std=0.1)
    pipeline.save_pretrained(root / "pipeline", training_data="blocks of colour")
    space = LabelSpace(names=tuple(NAMES), colors=tuple(Images.label_space.colors))
    (root / "posterior").mkdir()
    Posterior(pipeline.codec, pipeline.vqvae, pipeline.likelihood, space).save_pretrained(root / "posterior")
    object_folder(root / "objects", {id: (160, 0, 160) for id in "abcde"})
    return root


def relabel(root: Path, change, split: str = "train") -> None:
    """Change the masks of a split: `change` takes and returns uint8 `[H, W]`."""
    for path in (root / "data" / "masks" / split).iterdir():
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)


def settings(root: Path, stage: str) -> list[str]:
    """Return overrides of a stage on what `write` wrote."""
    common = [
        f"data.spec={root / 'data'}",
        "data.crop=[32,48]",
        "data.scale=[1.0,1.0]",
        "data.photometric=0",
        "optim.lr=1e-3",
        "optim.warmup_steps=1",
        "train.steps=3",
        "train.batch_size=2",
        "train.log_every=1",
        "train.checkpoint_every=2",
        "train.eval_every=0",
        "train.picture_every=0",
    ]
    prior = [f"model.backbone_config={SWIN}", "model.hidden_dim=32", "model.depth=1", "model.window_size=4"]
    own = {
        "posterior": [
            "vq.hidden_dim=32",
            "vq.depth=1",
            "vq.codebook_size=48",
            "loss.cells=100",
            "loss.repaint_steps=2",
        ],
        "prior": [*prior, "model.classifier_rank=16", f"posterior={root / 'posterior'}"],
        "twin": prior,
        "weak-agmm": [*prior, "agmm.tags=labels"],
        "density": [
            f"pipeline={root / 'pipeline'}",
            "mode=hybrid",
            "hybrid.train_prior=true",
            "model.num_components=2",
            "model.embed_dim=8",
            "posthoc.scores=''",
        ],
        "residual": [
            f"pipeline={root / 'pipeline'}",
            f"outliers.objects={root / 'objects'}",
            "outliers.size=[0.3,0.6]",
            "loss.contrast=0",
            "model.width=32",
        ],
        "joint": [
            f"pipeline={root / 'pipeline'}",
            "loss.masks_only=0.3",
            "model.width=16",
            "model.levels=2",
            "model.rank=8",
            "model.embed_dim=8",
            "validation.images=2",
            "validation.orders=2",
        ],
        "weak-tags": [f"tags.backbone_config={RESNET}", "tags.freeze_batch_norm=false"],
    }
    return [*common, *own[stage]]


def config(root: Path, stage: str, *more: str):
    """Return the configuration of a stage on what `write` wrote."""
    return load_config(ALL[stage].config_class(), [], [*settings(root, stage), *more])
