"""Metrics in one of two processes; `metrics/test_base.py` starts them."""

import json
import os
import sys

import torch.distributed
from metric_checks import label_batches, score_batches

from gss.metrics import OODMetrics, SegmentationMetrics


def feed(rank, count):
    """Update metrics with every `count`-th batch from `rank` on."""
    metrics = [SegmentationMetrics(4), OODMetrics(exact=True), OODMetrics(mode="per_image")]
    for number in range(rank, 3, count):
        metrics[0].update(*label_batches(4)[number])
        scores, truth = score_batches()[number]
        metrics[1].update(scores, truth)
        metrics[2].update(scores, truth, [f"{number} {row}" for row in range(len(scores))])
    return metrics


def results(metrics):
    segmentation, exact, single = (metric.compute() for metric in metrics)
    single = single.to_json()
    single["per_image"] = sorted(single["per_image"], key=lambda record: record["id"])
    return json.loads(json.dumps([segmentation, exact.to_json(), single]))


def work(kind, out):
    """Compute in one of two processes; with `plain`, accelerate does not know of the other one."""
    rank = int(os.environ["RANK"])
    if kind == "plain":
        torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            del os.environ[name]
    found = results(feed(rank, 2))
    with open(f"{out}/{rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    work(*sys.argv[1:])
