"""Shared by several tests; taken from training/test_run.py."""

import json

SWIN = "{model_type: swin, embed_dim: 16, depths: [1, 1, 1, 1], num_heads: [1, 2, 2, 2], window_size: 4}"


POSTERIOR = [
    "data.crop=[48,64]",
    "data.photometric=0",
    "vq.hidden_dim=32",
    "vq.depth=1",
    "vq.codebook_size=48",
    "loss.cells=400",
    "loss.repaint_steps=150",
    "optim.lr=3e-3",
    "optim.warmup_steps=5",
    "train.batch_size=4",
]


PRIOR = [
    "data.crop=[48,64]",
    "data.scale=[1.0,1.0]",
    "data.photometric=0",
    f"model.backbone_config={SWIN}",
    "model.hidden_dim=32",
    "model.depth=1",
    "model.window_size=4",
    "model.classifier_rank=16",
    "optim.lr=3e-3",
    "optim.backbone_lr_scale=1.0",
    "optim.warmup_steps=5",
    "train.batch_size=4",
    "train.log_every=1",
]


def losses(out, name="loss"):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]
