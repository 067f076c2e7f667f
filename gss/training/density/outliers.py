"""The mixture of outliers of a density head, which the score `gmm_ratio` compares the classes with."""

from __future__ import annotations

import warnings

import torch

from gss.config.density import DensityConfig, OutlierConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import balanced_sample, random_keys
from gss.data.outliers.benchmarks import OODDataset, open_ood
from gss.data.outliers.mixing import MixedTruth, Mixer
from gss.data.outliers.objects import open_objects
from gss.data.protocols import LabelledImages
from gss.models.density import GMMDensityHead
from gss.ood.survey import Reservoir, check_finite
from gss.pipeline.pipeline import GSSPipeline
from gss.training.density.fit_scores import labelled_inputs
from gss.training.density.posthoc import run_em
from gss.training.engine.sources import Source
from gss.training.identity import data_source, objects_source


def open_outliers(cfg: OutlierConfig, scenes: LabelledImages, *, seed: int) -> OODDataset | MixedTruth | None:
    """Open images with outlier pixels; None if the configuration names none.

    Args:
        cfg: settings of the outliers; with `paste` there are as many images as objects.
        scenes: images that objects are pasted on.
        seed: seed of pasting.

    Raises:
        InputError: no such data, or masks without an object.
    """
    if not cfg.spec:
        return None
    if not cfg.paste:
        return open_ood(cfg.spec, cfg.split, root=cfg.root)
    objects = open_objects(cfg.spec, cfg.split, root=cfg.root)
    mixer = Mixer(objects, size=(cfg.scale[0], cfg.scale[1]), flip=0.0, photometric=0.0)
    return MixedTruth(scenes, mixer, seed=seed, length=len(objects))


def outlier_sources(dataset: OODDataset | MixedTruth | None) -> list[Source]:
    """Return the outliers as input of a run, if there are any: objects that are pasted, or images."""
    if dataset is None:
        return []
    keys = ("outliers.spec", "outliers.root")
    if isinstance(dataset, MixedTruth):
        return [objects_source("outliers", keys, dataset.mixer.objects)]
    return [data_source("outliers", keys, dataset.labelled)]


def fit_outliers(
    cfg: DensityConfig, pipeline: GSSPipeline, dataset: OODDataset | MixedTruth, *, progress: bool = False
) -> float:
    """Fit the mixture of outliers of a pipeline's density head, in place, by the EM that fits a class.

    Args:
        cfg: settings of the stage; `outliers`, `em` and `posthoc` are read.
        pipeline: pipeline whose density head has outlier components.
        dataset: images with outliers; each process reads its share.
        progress: show a progress bar.

    Returns:
        Mean log p(x | outlier) in nats per pixel, before the last round.

    Raises:
        InputError: no outlier pixel, or features that are not finite.
    """
    head = pipeline.density
    assert head is not None
    reservoir = Reservoir(1, cfg.outliers.pixels, features=torch.zeros(0, pipeline.prior.config.hidden_dim))
    bar = "outliers" if progress else ""
    for index, inputs, truth in labelled_inputs(pipeline, dataset, range(len(dataset)), progress=bar):
        features = inputs.features[0].cpu()
        check_finite(features, "features", str(dataset.ids[index]))
        rows = features[:, truth == 1].t()
        one_class = torch.zeros(len(rows), dtype=torch.long)
        # Two draws, as in `Survey.add`.
        first, second = random_keys(2 * len(rows), cfg.train.seed, index).view(2, -1)
        chosen = balanced_sample(one_class, cfg.outliers.pixels_per_image, 1, first)
        reservoir.add(features=rows[chosen], labels=one_class[chosen], keys=second[chosen])
    sample = {name: rows.to(pipeline.device) for name, rows in reservoir.finish().items()}
    pixels = int(distributed.sum_across(torch.tensor(len(sample["labels"]))))
    if pixels == 0:
        raise InputError(
            f"no pixel of the {len(dataset)} images of outliers.spec={cfg.outliers.spec} is an outlier on the grid of "
            "features: check the split, or raise outliers.scale"
        )
    if pixels < cfg.outliers.components and distributed.is_main():
        warnings.warn(
            f"{pixels} outlier pixels are fewer than outliers.components={cfg.outliers.components}: each gets one",
            stacklevel=2,
        )
    with torch.no_grad():
        x = head.embed(sample["features"].t()[None, :, None])[0, 0]
    settings = {name: head.config[name] for name in ("covariance", "rank", "mixture_weights", "variance_floor")}
    mixture = GMMDensityHead(1, head.config["outlier_components"], head.dim, **settings).to(pipeline.device)
    history = run_em(
        mixture,
        x,
        sample["labels"],
        sample["keys"],
        cfg.em,
        iterations=cfg.posthoc.iterations,
        tolerance=cfg.posthoc.tolerance,
    )
    head.set_outliers(mixture.gaussians, mixture.log_weights[0])
    return history[-1]
