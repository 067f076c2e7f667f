"""Stage `residual`: gives a trained pipeline a residual pattern head, trained on pasted outliers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config.io import load_config
from gss.config.residual import ResidualConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.sampling import evenly_spaced
from gss.data.open import build_dataset
from gss.data.outliers.benchmarks import OODDataset
from gss.data.outliers.mixing import MixedTruth
from gss.data.outliers.sources import build_mixed, build_mixer, open_sources
from gss.evaluation.checks import check_classes
from gss.labels.space import IGNORE_INDEX, OUTLIER_LABEL
from gss.metrics.ood import OODMetrics
from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.models.residual import ResidualPatternHead, perturbed_logits
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import contact_sheet, heatmap, overlay
from gss.training.density.fit_scores import fit_scores
from gss.training.density.train import export
from gss.training.engine.stage import Say, figures_line, quiet, report, seed_stage, train_task
from gss.training.engine.task import Task
from gss.training.losses.residual import (
    context_contrast,
    dissimilarity_loss,
    draw,
    positive_energy_loss,
    pseudo_label_loss,
    rows_at,
)

_PICTURES = 3


class ResidualTask(Task):
    """Trains the head on a frozen prior; the best head of all validations is the product.

    Args:
        cfg: the run's configuration.
        pipeline: the pipeline to extend.
        val: validation images with pasted objects and outlier truth.

    Raises:
        ValueError: the pipeline lacks what the head is to perturb, or the backbone has fewer levels.
    """

    export_name = "pipeline"
    keeps_best = True
    prior: GSSPriorModel
    best_ap: Tensor

    def __init__(self, cfg: ResidualConfig, pipeline: GSSPipeline, val: MixedTruth) -> None:
        super().__init__()
        self.cfg, self._source, self._val_set = cfg, pipeline, val
        self.freeze(prior=pipeline.prior)
        self.head = build_head(cfg, pipeline)
        self.best = copy.deepcopy(self.head).requires_grad_(False)
        self.register_buffer("best_ap", torch.tensor(-1.0, dtype=torch.float64))
        if cfg.loss.contrast > 0:
            self.projector = nn.Linear(cfg.model.width, cfg.model.embed_dim)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """The weighted sum of the losses that are on, each of them, and the mean energies."""
        loss, images, labels = self.cfg.loss, batch["image"], batch["labels"]
        driving, contrast = len(images), loss.contrast > 0
        if contrast:
            images = torch.cat([images, batch["context_image"]])
            labels = torch.cat([labels, batch["context_labels"]])
        with torch.no_grad():
            output = self.prior(images, return_tokens=False, return_hidden=False, return_maps=True)
            own = GSSPriorOutput(
                aux_logits=output.aux_logits[:driving],
                features=output.features[:driving],
                maps=tuple(x[:driving] for x in output.maps),
            )
            token = self.cfg.model.target == "token"
            if token:
                own.token_logits = self.prior.read_features(cast(Tensor, own.features)).token_logits
            plain = cast(Tensor, own.token_logits if token else own.aux_logits)
        grid = self.prior.padded_grid(*images.shape[-2:])
        context = self.head.context(output.maps, grid)
        perturbed = perturbed_logits(self.prior, self.head, own, context=context[:driving])
        cells = cast(tuple[int, int], tuple(output.features.shape[-2:]))
        labels = F.interpolate(labels[:, None].float(), size=cells, mode="nearest-exact")[:, 0]
        outlier = labels == OUTLIER_LABEL
        inlier = ~outlier & (labels != IGNORE_INDEX)
        known, strange = inlier[:driving], outlier[:driving]
        terms = {
            "pseudo": pseudo_label_loss(perturbed, plain, known),
            "dissimilarity": dissimilarity_loss(perturbed, plain, known),
            "energy": positive_energy_loss(perturbed, strange, margin=loss.margin),
        }
        if contrast:
            terms["contrast"] = self._contrast(context, grid, cells, outlier, inlier, driving)
        total = sum(getattr(loss, name) * value for name, value in terms.items())
        return {"loss": cast(Tensor, total), **{name: value.detach() for name, value in terms.items()}}

    def _contrast(
        self,
        context: Tensor,
        grid: tuple[int, int],
        cells: tuple[int, int],
        outlier: Tensor,
        inlier: Tensor,
        driving: int,
    ) -> Tensor:
        """CoroCL between as many cells of each kind as the rarest has."""
        parts = [kind[part] for part in (slice(driving), slice(driving, None)) for kind in (outlier, inlier)]
        count = min(self.cfg.loss.samples, *(part.numel() for part in parts))
        drawn = [draw(part.flatten(), count) for part in parts]
        first = driving * cells[0] * cells[1]
        index = torch.cat([chosen + first * (number // 2) for number, (chosen, _) in enumerate(drawn)])
        embeddings = F.normalize(self.projector(rows_at(context, index, grid, cells)).float(), dim=1)
        valid = torch.stack([there for _, there in drawn]).amin()
        return context_contrast(embeddings.view(4, count, -1), valid, temperature=self.cfg.loss.temperature)

    def validate(self) -> dict[str, float]:
        """AP, FPR at 95 % TPR and AUROC of the head and of the plain energy on pasted objects."""
        found = measure(self.pipeline(self.head), self._val_set, ["residual_energy", "energy"], self.cfg.val_images)
        figures = found["residual_energy"] | {f"plain_{name}": value for name, value in found["energy"].items()}
        if figures["ap"] > float(self.best_ap):
            self.best_ap.fill_(figures["ap"])
            self.best.load_state_dict(self.head.state_dict())
        return figures | {"best_ap": float(self.best_ap)}

    def pictures(self) -> dict[str, Image.Image]:
        """Some validation images with truth, plain and residual energy."""
        pipeline, rows = self.pipeline(self.head), []
        colors = [*self._val_set.label_space.colors]
        for index in evenly_spaced(len(self._val_set), _PICTURES):
            image, truth = self._val_set.read(index)
            scores = pipeline.predict_probabilities(image, modes=[], scores=["energy", "residual_energy"])
            heat = [heatmap(maps[0][0].cpu().numpy(), palette="magma") for maps in scores.values()]
            rows.append([overlay(image, truth, colors), *heat])
        return {"residual": contact_sheet(rows, ["truth", "energy", "residual energy"], width=320)}

    def pipeline(self, head: ResidualPatternHead) -> GSSPipeline:
        """The pipeline with a head; scores fitted to another head are left out."""
        fitted = self._source.ood
        if fitted is not None:
            stale = [name for name in fitted.names if name.startswith("residual")]
            if any(part.startswith("residual") for part in fitted.parts):
                stale.append("combined")
            fitted = fitted.merged(fitted, without=stale).to(self._source.device)
        pipeline = GSSPipeline(**{**self._source.components, "residual": head, "ood": fitted})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def export(self, folder: Path) -> None:
        """Writes the pipeline with the best head."""
        export(self.pipeline(self.best), folder, source=Path(self.cfg.pipeline))


def build_head(cfg: ResidualConfig, pipeline: GSSPipeline) -> ResidualPatternHead:
    """A head that changes nothing yet.

    Raises:
        ValueError: see `ResidualTask`.
    """
    model, prior = cfg.model, pipeline.prior
    if model.target == "pixel" and not bool(prior.aux_head.bias.any()):
        # Its bias starts at exactly zero, and no step of training leaves it there.
        raise InputError(
            f"the auxiliary pixel head of {cfg.pipeline} was never trained: train the prior with loss.aux above 0, "
            "or set model.target=token"
        )
    if model.target == "token" and pipeline.vqvae is None:
        raise InputError(f"{cfg.pipeline} predicts no tokens, so model.target=token has none to perturb; use pixel")
    channels = [int(count) for count in prior.backbone.channels]
    if model.levels > len(channels):
        raise InputError(f"model.levels={model.levels}, but the backbone gives {len(channels)} maps; use at most those")
    head = ResidualPatternHead(
        in_channels=channels[-model.levels :],
        feature_dim=prior.config.hidden_dim,
        width=model.width,
        rates=list(model.rates),
        target=model.target,
    )
    head.copy_fusion(prior.fusion)
    return head


def measure(
    pipeline: GSSPipeline, dataset: MixedTruth, scores: Sequence[str], limit: int = 0
) -> dict[str, dict[str, float]]:
    """`ap`, `fpr95` and `auroc` of scores, over all pixels of (some) images, on all processes.

    Raises:
        ValueError: no outlier or no inlier pixel.
    """
    metrics = {name: OODMetrics() for name in scores}
    indices = evenly_spaced(len(dataset), limit or None)
    for position in distributed.shard(len(indices)):
        image, truth = dataset.read(indices[position])
        for name, maps in pipeline.predict_probabilities(image, modes=[], scores=scores).items():
            metrics[name].update(maps[0][0], truth)
    figures = {}
    for name in scores:
        metrics[name].sum_across()
        result = metrics[name].compute()
        fpr = result.fpr["first_at_least"]
        if result.ap is None or result.auroc is None or fpr is None:
            raise InputError(f"validation images with pasted objects show {result.reason}: check data.val_split")
        figures[name] = {"ap": result.ap.value, "fpr95": fpr.value, "auroc": result.auroc.value}
    return figures


def same_masks(first: GSSPipeline, second: GSSPipeline, dataset: MixedTruth | OODDataset, limit: int = 8) -> bool:
    """Whether two pipelines give equal probabilities, bit for bit, in all decode modes, on some images.

    Args:
        first: without residual head.
        second: its extension, which computes the head's score besides.
        dataset: images.
        limit: how many of them, evenly spread.
    """
    same = True
    indices = evenly_spaced(len(dataset), limit or None)
    for position in distributed.shard(len(indices)):
        image, _ = dataset.read(indices[position])
        found = [
            pipe.predict_probabilities(image, modes=first.decode_modes, scores=scores)
            for pipe, scores in ((first, ()), (second, ("residual_energy",)))
        ]
        same = same and all(torch.equal(found[0][mode][0], found[1][mode][0]) for mode in first.decode_modes)
    return all(distributed.gather_objects(same))


def train_residual(cfg: ResidualConfig, out: str | Path, *, resume: bool = False, say: Say = quiet) -> dict[str, Any]:
    """Train a residual pattern head; the product is `out/pipeline`, a copy of `cfg.pipeline` with the head.

    Args:
        cfg: its configuration.
        out: run folder.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        What `residual.json` holds: figures of every score on the validation images with pasted objects, and whether
        masks are what they were.

    Raises:
        ValueError: no pipeline, other classes, objects that cannot be pasted, another set of objects on a resume, or
            what `ResidualTask` refuses.
    """
    if not cfg.pipeline:
        raise InputError("pipeline='' is empty: set pipeline=FOLDER to the pipeline that 'gss train prior' wrote")
    if cfg.loss.contrast > 0 and not cfg.context.source:
        raise InputError("loss.contrast needs foreign scenes: set context.source=FOLDER, or loss.contrast=0")
    if cfg.loss.contrast == 0 and cfg.context.source:
        raise InputError("context.source is of no use with loss.contrast=0: set one of them")
    out = Path(out)
    sources = open_sources(cfg)
    _check_ids(cfg, out, sources.ids, resume=resume)
    cfg = dataclasses.replace(cfg, outliers=dataclasses.replace(cfg.outliers, ids=sources.ids))
    seed_stage(cfg)
    pipeline = load_pipeline(cfg.pipeline)
    mixed = build_mixed(cfg, sources)
    whole = dataclasses.replace(cfg.data, size=None, cache=False)
    plain = build_dataset(whole, cfg.data.train_split, train=False)
    val = build_dataset(whole, cfg.data.val_split, train=False)
    for dataset in (plain, val):
        check_classes(list(pipeline.id2label.values()), dataset.label_space.names)
    truth = MixedTruth(val, build_mixer(cfg, sources.val, train=False), seed=cfg.train.seed)
    task = ResidualTask(cfg, pipeline, truth)
    train_task(cfg, task, mixed, out, resume=resume)
    extended = task.pipeline(task.best)
    if extended.density is not None:
        # On training images as they are: no outlier is needed for a combination.
        names = ["residual_gmm", *(["residual_ratio"] if extended.density.has_outliers else [])]
        combined = fit_scores(extended, None, plain, names=names)
        fitted = combined if extended.ood is None else extended.ood.merged(combined)
        extended.register_modules(ood=fitted.to(extended.device))
    figures: dict[str, Any] = {"scores": measure(extended, truth, extended.score_names, cfg.val_images)}
    figures["masks_unchanged"] = same_masks(load_pipeline(cfg.pipeline), extended, truth)
    if distributed.is_main():
        export(extended, out / "pipeline", source=Path(cfg.pipeline))
        write_json(out / "residual.json", figures)
        for name, values in figures["scores"].items():
            report(say, f"{name:16} " + figures_line(values))
        unchanged = "what they were, bit for bit" if figures["masks_unchanged"] else "NOT what they were"
        report(say, f"masks are {unchanged}")
    distributed.barrier()
    return figures


def _check_ids(cfg: ResidualConfig, out: Path, ids: str, *, resume: bool) -> None:
    """Refuses to go on with other objects than a run began with."""
    expected = cfg.outliers.ids
    if resume and (out / "config.yaml").is_file():
        expected = load_config(ResidualConfig, [str(out / "config.yaml")], []).outliers.ids
    if expected and expected != ids:
        raise InputError(
            f"the outlier set is another one: {ids} now (training, validation, scenes), {expected} when {out} was "
            "begun; name the same objects and scenes, or start anew in another folder with outliers.ids=''"
        )
