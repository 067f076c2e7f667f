"""What stage `residual` trains: a residual pattern head on a frozen prior."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config.residual import ResidualConfig
from gss.core.lookup.run_folders import find_pipeline
from gss.core.sampling import evenly_spaced
from gss.data.outliers.mixing import MixedTruth
from gss.labels.space import IGNORE_INDEX, OUTLIER_LABEL
from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.models.residual import ResidualPatternHead, perturbed_logits
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import contact_sheet, heatmap, overlay
from gss.training.engine.task import Task
from gss.training.extension import export, with_components
from gss.training.losses.residual import (
    context_contrast,
    dissimilarity_loss,
    draw,
    positive_energy_loss,
    pseudo_label_loss,
    rows_at,
)
from gss.training.residual.head import build_head
from gss.training.residual.measure import measure

_PICTURES = 3


class ResidualTask(Task):
    """Training of the head on a frozen prior; the product is the head with the best AP of all validations.

    Args:
        cfg: settings of the stage.
        pipeline: pipeline to extend.
        val: validation images with pasted objects and outlier truth.

    Attributes:
        head: head in training.
        best: copy of the best head so far; `best_ap` is its AP.

    Raises:
        InputError: the pipeline lacks what the head is to perturb, or the backbone has fewer levels.
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
        """Return the weighted sum of the losses that are on, and each of them.

        With contrast, B images of the data set are followed by B foreign scenes: N = 2 B, otherwise N = B.
        """
        loss, images, labels = self.cfg.loss, batch["image"], batch["labels"]
        driving, contrast = len(images), loss.contrast > 0
        if contrast:
            images = torch.cat([images, batch["context_image"]])  # [N, 3, H, W]
            labels = torch.cat([labels, batch["context_labels"]])  # [N, H, W]
        # 1. Frozen prior: plain logits [B, K or V, h, w] of the images of the data set.
        with torch.no_grad():
            output = self.prior(images, return_tokens=False, return_hidden=False, return_maps=True)
            first = GSSPriorOutput(
                aux_logits=output.aux_logits[:driving],
                features=output.features[:driving],
                maps=tuple(x[:driving] for x in output.maps),
            )
            token = self.cfg.model.target == "token"
            if token:
                first.token_logits = self.prior.read_features(cast(Tensor, first.features)).token_logits
            plain = cast(Tensor, first.token_logits if token else first.aux_logits)
        # 2. Head: perturbed logits of the same shape.
        grid = self.prior.padded_grid(*images.shape[-2:])
        context = self.head.context(output.maps, grid)  # [N, C, h', w']
        perturbed = perturbed_logits(self.prior, self.head, first, context=context[:driving])
        # 3. Labels on the token grid: [N, H, W] -> [N, h, w].
        cells = cast(tuple[int, int], tuple(output.features.shape[-2:]))
        labels = F.interpolate(labels[:, None].float(), size=cells, mode="nearest-exact")[:, 0]
        outlier = labels == OUTLIER_LABEL
        inlier = ~outlier & (labels != IGNORE_INDEX)
        # 4. Losses.
        terms = {
            "pseudo": pseudo_label_loss(perturbed, plain, inlier[:driving]),
            "dissimilarity": dissimilarity_loss(perturbed, plain, inlier[:driving]),
            "energy": positive_energy_loss(perturbed, outlier[:driving], margin=loss.margin),
        }
        if contrast:
            terms["contrast"] = self._contrast(context, grid, outlier, inlier)
        total = sum(getattr(loss, name) * value for name, value in terms.items())
        return {"loss": cast(Tensor, total), **{name: value.detach() for name, value in terms.items()}}

    def _contrast(self, context: Tensor, grid: tuple[int, int], outlier: Tensor, inlier: Tensor) -> Tensor:
        """Return CoroCL between as many cells of each kind as the rarest kind has.

        Args:
            context: features of the head `[2 B, C, h', w']`, images of the data set before foreign scenes.
            grid: (h, w) that they cover, with the padding of the prior.
            outlier: cells of pasted objects, bool `[2 B, h, w]`.
            inlier: other labelled cells, bool `[2 B, h, w]`.
        """
        rows, columns = outlier.shape[-2:]
        half = len(outlier) // 2
        parts = [kind[part] for part in (slice(half), slice(half, None)) for kind in (outlier, inlier)]
        count = min(self.cfg.loss.samples, *(part.numel() for part in parts))
        drawn = [draw(part.flatten(), count) for part in parts]
        scenes = half * rows * columns  # position of the first cell of a foreign scene
        index = torch.cat([chosen + scenes * (number // 2) for number, (chosen, _) in enumerate(drawn)])  # [4 count]
        embeddings = self.projector(rows_at(context, index, grid, (rows, columns)))  # [4 count, E]
        embeddings = F.normalize(embeddings.float(), dim=1).view(4, count, -1)
        valid = torch.stack([available for _, available in drawn]).amin()
        return context_contrast(embeddings, valid, temperature=self.cfg.loss.temperature)

    def validate(self) -> dict[str, float]:
        """Return AP, FPR at 95 % TPR and AUROC of the head and of the plain energy on pasted objects."""
        scores = measure(self.pipeline(self.head), self._val_set, ["residual_energy", "energy"], self.cfg.val_images)
        figures = scores["residual_energy"] | {f"plain_{name}": value for name, value in scores["energy"].items()}
        if figures["ap"] > float(self.best_ap):
            self.best_ap.fill_(figures["ap"])
            self.best.load_state_dict(self.head.state_dict())
        return figures | {"best_ap": float(self.best_ap)}

    def pictures(self) -> dict[str, Image.Image]:
        """Draw some validation images with truth, plain and residual energy."""
        pipeline, rows = self.pipeline(self.head), []
        space = self._val_set.label_space
        for index in evenly_spaced(len(self._val_set), _PICTURES):
            image, truth = self._val_set.read(index)
            scores = pipeline.predict_probabilities(image, modes=[], scores=["energy", "residual_energy"])
            heat = [heatmap(maps[0][0].cpu().numpy(), palette="magma") for maps in scores.values()]
            rows.append([overlay(image, truth, space.colors, clear=space.background), *heat])
        return {"residual": contact_sheet(rows, ["truth", "energy", "residual energy"], width=320)}

    def pipeline(self, head: ResidualPatternHead) -> GSSPipeline:
        """Return the pipeline with a head; scores fitted to another head are left out."""
        fitted = self._source.ood
        if fitted is not None:
            stale = [name for name in {*fitted.names, *fitted.alarms} if name.startswith("residual")]
            if any(part.startswith("residual") for part in fitted.parts):
                stale.append("combined")
            fitted = fitted.merged(fitted, without=stale).to(self._source.device)
        return with_components(self._source, residual=head, ood=fitted)

    def export(self, folder: Path) -> None:
        """Write the pipeline with the best head."""
        export(self.pipeline(self.best), folder, source=find_pipeline(self.cfg.pipeline))
