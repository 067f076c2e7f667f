"""`GSSPipeline`: images in, masks out; saved and loaded as one folder."""

import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from gss.core.errors import InputError, did_you_mean
from gss.models.density import GMMDensityHead
from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.models.residual import ResidualPatternHead, perturbed_logits
from gss.ood import FittedScores, OODScore, ScoreInputs, available_scores, build_score
from gss.pipeline.card import write_card

# Components are imported here, although only some names are used, because diffusers loads a component from
# its module only when that module is already imported.
from gss.pipeline.compatibility import check_fit
from gss.pipeline.decode import available_modes, decode, paint_tokens, product
from gss.pipeline.outputs import OUTPUT_TYPES, SegmentationOutput, segments, to_output_type
from gss.pipeline.processor import GSSImageProcessor, ImageInput, ProcessedImages, check_size, pad_to_multiple
from gss.pipeline.windows import Dense, Views, resize_map, resized_strips, run_views
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

_COMPONENTS = {
    component.__name__: component
    for component in (
        CellLikelihood,
        FittedScores,
        GMMDensityHead,
        GSSImageProcessor,
        GSSPriorModel,
        MaskigeCodec,
        MaskigeVQModel,
        ResidualPatternHead,
    )
}


class GSSPipeline(DiffusionPipeline):
    """Segments images with a latent prior, a VQ decoder and the maskige codec.

    Args:
        processor: reads images and knows the resolution to run at.
        prior: image to token and class logits; its config holds the class names (`id2label`).
        codec: maskige colours and classes.
        vqvae: paints tokens; None for a discriminative network, which has its auxiliary head alone.
        likelihood: p(class | token) of a local decoder; needed for the exact marginal.
        density: Gaussian mixtures of the features of each class; classifies and scores.
        ood: statistics of training data that some out-of-distribution scores need.
        residual: perturbs the prior's logits where something is unknown; for scores alone, masks never see it.

    The prior alone runs in the reduced precision asked for with `from_pretrained(dtype=...)` or `.to(dtype)`.
    The other components are small and hold colours, codes and likelihoods: they stay in float32.
    """

    # A component whose argument has a default is only saved when it is listed here.
    _optional_components = ["vqvae", "likelihood", "density", "ood", "residual"]
    model_cpu_offload_seq = "prior->vqvae->codec"

    def __init__(
        self,
        processor: GSSImageProcessor,
        prior: GSSPriorModel,
        codec: MaskigeCodec,
        vqvae: MaskigeVQModel | None = None,
        likelihood: CellLikelihood | None = None,
        density: GMMDensityHead | None = None,
        ood: FittedScores | None = None,
        residual: ResidualPatternHead | None = None,
    ) -> None:
        super().__init__()
        check_fit(prior, codec, vqvae, likelihood, density, ood, residual)
        self.register_modules(processor=processor, prior=prior, codec=codec)
        self.register_modules(vqvae=vqvae, likelihood=likelihood, density=density, ood=ood, residual=residual)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Loads what `save_pretrained` wrote, in evaluation mode; see diffusers for the other arguments.

        Args:
            pretrained_model_name_or_path: folder, or repository name on the hub.
            **kwargs: among them `dtype`, the precision of the prior, and components to use instead of the
                saved ones.
        """
        if isinstance(kwargs.get("dtype"), torch.dtype):
            kwargs["dtype"] = {"prior": kwargs["dtype"], "default": torch.float32}
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Read model_index.json; components are found by class name, whatever module they were saved from.

        diffusers stores the module of each component. A pipeline saved before a module was moved stays loadable.
        """
        loaded = super().load_config(*args, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        for name, saved in config.items():
            if isinstance(saved, list | tuple) and len(saved) == 2 and saved[1] in _COMPONENTS:
                config[name] = [_COMPONENTS[saved[1]].__module__, saved[1]]
        return loaded

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *args: Any,
        metrics: Mapping[str, Any] | None = None,
        training_data: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Saves every component, model_index.json and a model card (README.md with palette.png).

        Args:
            save_directory: folder; created if missing.
            *args: as in diffusers.
            metrics: results for the card: `SegmentationMetrics.compute()`, or one such dict per decode mode.
            training_data: one sentence for the card: data set, splits, sizes.
            **kwargs: as in diffusers.
        """
        super().save_pretrained(save_directory, *args, **kwargs)
        write_card(Path(save_directory), self, metrics=metrics, training_data=training_data)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves all components; a dtype applies to the prior alone."""
        dtypes = [arg for arg in (*args, kwargs.pop("dtype", None)) if isinstance(arg, torch.dtype)]
        places = [arg for arg in args if not isinstance(arg, torch.dtype)]
        if places or kwargs:
            super().to(*places, **kwargs)
        for dtype in dtypes:
            self.prior.to(dtype)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the prior."""
        return self.prior.dtype

    @property
    def id2label(self) -> dict[int, str]:
        """Class names by index."""
        return {int(index): name for index, name in self.prior.config.id2label.items()}

    @property
    def colors(self) -> np.ndarray:
        """Palette of the codec, uint8 `[K, 3]`."""
        return self.codec.palette.detach().round().clamp(0, 255).to("cpu", torch.uint8).numpy()

    @property
    def decode_modes(self) -> tuple[str, ...]:
        """Ways in which this pipeline can decode."""
        modes = available_modes(self.likelihood, tokens=self.vqvae is not None)
        if self.density is None:
            return modes
        return (*modes, "density") if self.vqvae is None else (*modes, "density", "joint")

    @property
    def score_names(self) -> tuple[str, ...]:
        """Out-of-distribution scores that this pipeline can give."""
        return available_scores(**self._score_parts)

    @property
    def default_score(self) -> str:
        """The score used when none is named: that of the residual head, else of the density head, if there is one."""
        if self.residual is not None:
            return "residual_energy"
        return "gmm_max" if self.density is not None else "max_logit"

    @property
    def default_decode(self) -> str:
        """The mode used when none is named: "marginal" with a likelihood, else "hard", "aux" without tokens."""
        return next(mode for mode in ("marginal", "hard", "aux") if mode in self.decode_modes)

    @torch.no_grad()
    def __call__(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        decode: str | None = None,
        window: str = "auto",
        window_size: tuple[int, int] | None = None,
        overlap: float = 0.5,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        size: tuple[int, int] | None = None,
        max_pixels: int = 2048 * 1024,
        batch_size: int = 1,
        output_type: str = "np",
        return_probabilities: bool = False,
        return_tokens: bool = True,
        return_ood: bool = False,
        score: str | None = None,
    ) -> SegmentationOutput:
        """Segments images; results have the size of the input images.

        Args:
            images: what `gss.pipeline.processor.load_images` understands: path, PIL image, array, tensor, or a
                list of them in any sizes.
            decode: one of `decode_modes`; `default_decode` when None.
            window: "whole", "slide", or "auto": slide above `max_pixels`.
            window_size: (H, W) of sliding windows in pixels; the processor's when None.
            overlap: overlap of neighbouring windows, fraction in [0, 1).
            flip: average with the mirrored image.
            scales: average over these relative sizes.
            size: (H, W) to run at instead of the processor's choice.
            max_pixels: see `window`.
            batch_size: images of one size, or windows of one image, run at once.
            output_type: "np", "pil" or "pt"; see `SegmentationOutput`.
            return_probabilities: also return class probabilities `[K, H, W]` (memory: 4 K H W bytes each).
            return_tokens: also return tokens and maskiges, if the model has them; without, "aux" skips the
                token classifier.
            return_ood: also return out-of-distribution scores.
            score: which, one of `score_names`, implies `return_ood`; `default_score` when None.

        Raises:
            ValueError: bad image or argument; the message says what is allowed.
        """
        mode = decode or self.default_decode
        views = self.check_inputs(
            [mode],
            window=window,
            window_size=window_size,
            overlap=overlap,
            flip=flip,
            scales=scales,
            size=size,
            max_pixels=max_pixels,
            batch_size=batch_size,
            output_type=output_type,
        )
        scores = self._build_scores([score or self.default_score] if return_ood or score else [])
        processed = self.preprocess(images, size=size)
        results: list[dict[str, Any]] = [{} for _ in processed.images]
        for index, dense in self._predict(processed, [mode], views, with_tokens=return_tokens, scores=scores):
            results[index] = self.postprocess(
                dense,
                mode=mode,
                original_size=processed.original_sizes[index],
                content_size=_first_view_size(processed.images[index], views),
                output_type=output_type,
                return_probabilities=return_probabilities,
            )
        return SegmentationOutput(**{name: [result[name] for result in results] for name in results[0]})

    @torch.no_grad()
    def predict_probabilities(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        modes: Sequence[str],
        scores: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        **options: Any,
    ) -> dict[str, list[Tensor]]:
        """Class probabilities of several decode modes, and several scores, from one run of the prior.

        Args:
            images: as in `__call__`.
            modes: some of `decode_modes`; may be empty when scores are asked for.
            scores: some of `score_names`.
            size: as in `__call__`.
            **options: `window`, `window_size`, `overlap`, `flip`, `scales`, `max_pixels`, `batch_size` as in
                `__call__`.

        Returns:
            Mode to one float32 tensor `[K, H_i, W_i]` per image at its original size, on the model's device, and
            score to `[1, H_i, W_i]` in the same way.

        Raises:
            ValueError: as `__call__`.
        """
        built = self._build_scores(scores)
        views = self.check_inputs([*modes, *(["aux"] if built else [])], size=size, **options)
        processed = self.preprocess(images, size=size)
        found: dict[str, list[Tensor]] = {n: [torch.empty(0)] * len(processed.images) for n in (*modes, *built)}
        for index, dense in self._predict(processed, modes, views, with_tokens=False, scores=built):
            for name in found:
                found[name][index] = resize_map(dense.maps[name][0], processed.original_sizes[index])
        return found

    def check_inputs(
        self,
        modes: Sequence[str],
        *,
        window_size: tuple[int, int] | None = None,
        size: tuple[int, int] | None = None,
        output_type: str = "np",
        **views: Any,
    ) -> Views:
        """Checks every argument but the images, before anything is computed.

        Raises:
            ValueError: names the argument, its value and what is allowed.
        """
        for mode in modes:
            if mode not in self.decode_modes:
                hint = did_you_mean(str(mode), self.decode_modes)
                raise InputError(
                    f"decode is {mode!r}; this pipeline has {', '.join(self.decode_modes)} {hint}".rstrip()
                )
        if not modes:
            raise InputError(f"modes is empty; this pipeline has {', '.join(self.decode_modes)}")
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"output_type is {output_type!r}; allowed are {', '.join(OUTPUT_TYPES)}")
        if size is not None:
            check_size(size, "size")
        return Views(window_size=window_size or self.processor.window_size, **views)

    def check_scores(self, names: Sequence[str]) -> None:
        """Checks names of scores.

        Raises:
            ValueError: a name is unknown, or its score needs something this pipeline lacks.
        """
        self._build_scores(names)

    def preprocess(
        self, images: ImageInput | Sequence[ImageInput], *, size: tuple[int, int] | None = None
    ) -> ProcessedImages:
        """Images to float32 tensors at the size the model runs at."""
        return self.processor.preprocess(images, size=size)

    def predict_tokens(
        self, images: Tensor, *, return_tokens: bool = True, return_maps: bool = False
    ) -> GSSPriorOutput:
        """Runs the prior on `[B, 3, H, W]` in [0, 1], H and W multiples of its stride; logits in float32."""
        out = self.prior(
            images.to(self.prior.dtype), return_tokens=return_tokens, return_hidden=False, return_maps=return_maps
        )
        # Softmax over thousands of codes, and likelihoods, need more than 8 or 11 bits.
        logits = {"aux_logits": cast(Tensor, out.aux_logits).float()}
        if out.token_logits is not None:
            logits["token_logits"] = out.token_logits.float()
        return dataclasses.replace(out, **logits)

    def decode(
        self,
        prior_output: GSSPriorOutput,
        *,
        mode: str,
        size: tuple[int, int],
        found: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Class probabilities `[B, K, H, W]`, float32, at `size`: the H and W that the prior ran at.

        `found` are other modes of the same output; `joint` takes its parts from there.
        """
        if mode == "density":
            head = cast(GMMDensityHead, self.density)
            logits = head(self.prior.dense_features(prior_output, head.source))
            return F.interpolate(logits.clamp(min=-1e4), size=size, mode="bilinear").softmax(1)
        if mode == "joint":
            have = found or {}
            tokens, density = (
                have[expert] if expert in have else self.decode(prior_output, mode=expert, size=size)
                for expert in (self._token_mode, "density")
            )
            return product(tokens, density)
        if self.vqvae is None:
            logits = cast(Tensor, prior_output.aux_logits)
            return F.interpolate(logits, size=size, mode="bilinear").softmax(1)
        return decode(mode, prior_output, vqvae=self.vqvae, codec=self.codec, likelihood=self.likelihood)

    @property
    def _token_mode(self) -> str:
        return "hard" if self.likelihood is None else "marginal"

    @property
    def feature_source(self) -> str:
        """Which features the density head and fitted scores describe, see `GSSPriorModel.dense_features`."""
        part = self.density or self.ood
        return "head" if part is None else part.source

    def score_inputs(self, images: Tensor, *, needs: Collection[str] = (), source: str | None = None) -> ScoreInputs:
        """What out-of-distribution scores read of images of one size.

        Args:
            images: `[B, 3, H, W]` in [0, 1], padded to whole cells here if need be.
            needs: what the scores need, see `OODScore.needs`.
            source: of the features; default `feature_source`.
        """
        images = pad_to_multiple(images.to(self.prior.device), self._multiple)
        with self._evaluating():
            out = self.predict_tokens(images, return_tokens="tokens" in needs, return_maps="residual" in needs)
            return self._score_inputs(out, (images.shape[-2], images.shape[-1]), needs, source)

    def _score_inputs(
        self, out: GSSPriorOutput, size: tuple[int, int], needs: Collection[str], source: str | None = None
    ) -> ScoreInputs:
        return ScoreInputs(
            logits=cast(Tensor, out.aux_logits),
            features=self.prior.dense_features(out, source or self.feature_source).float(),
            size=size,
            token_logits=out.token_logits,
            decoded=self.decode(out, mode=self._token_mode, size=size) if "decoded" in needs else None,
            perturbed=perturbed_logits(self.prior, self.residual, out) if "residual" in needs else None,
        )

    @property
    def _score_parts(self) -> dict[str, Any]:
        tokens, residual = self.vqvae is not None, self.residual is not None
        return {"density": self.density, "fitted": self.ood, "tokens": tokens, "residual": residual}

    def _build_scores(self, names: Sequence[str]) -> dict[str, OODScore]:
        return {name: build_score(name, **self._score_parts) for name in names}

    @property
    def _multiple(self) -> int:
        return math.lcm(self.processor.size_multiple, self.prior.config.token_stride)

    def postprocess(
        self,
        dense: Dense,
        *,
        mode: str,
        original_size: tuple[int, int],
        content_size: tuple[int, int],
        output_type: str = "np",
        return_probabilities: bool = False,
    ) -> dict[str, Any]:
        """Turns the maps of one image (B = 1) into the fields of `SegmentationOutput`.

        Args:
            dense: maps at the size the model ran at, and tokens.
            mode: map to take.
            original_size: (H, W) of the results.
            content_size: (H, W) of the view the tokens belong to, without padding.
            output_type: as in `__call__`.
            return_probabilities: as in `__call__`.
        """
        device = dense.maps[mode].device
        labels = torch.empty(original_size, dtype=torch.uint8, device=device)
        confidence = torch.empty(original_size, device=device)
        # Strips, because probabilities at the size of a huge image may not fit into memory, its mask does.
        for rows, strip in resized_strips(dense.maps[mode][0], original_size):
            confidence[rows], index = strip.max(dim=0)
            labels[rows] = index.to(torch.uint8)
        fields: dict[str, Any] = {"masks": labels.cpu(), "confidence": confidence.cpu()}
        if return_probabilities:
            fields["probabilities"] = resize_map(dense.maps[mode][0], original_size).cpu()
        # Beside the decoded map there is at most that of the score.
        for name in dense.maps.keys() - {mode}:
            fields["ood_scores"] = resize_map(dense.maps[name][0], original_size)[0].cpu()
        if dense.tokens is not None:
            f = self.prior.config.token_stride
            cells = math.ceil(content_size[0] / f), math.ceil(content_size[1] / f)
            maskige = paint_tokens(self.vqvae, dense.tokens[0])[:, : content_size[0], : content_size[1]]
            fields["maskiges"] = F.interpolate(maskige[None], size=original_size, mode="nearest-exact")[0].cpu()
            fields["tokens"] = dense.tokens[0, : cells[0], : cells[1]].cpu()
        return to_output_type(fields, output_type, self.colors)

    def segments(self, output: SegmentationOutput) -> list[list[dict[str, Any]]]:
        """The result in the form of Hugging Face's image-segmentation pipelines.

        Returns:
            Per image one `{"label": name, "mask": PIL L with 0 and 255, "score": mean confidence}` for each
            class that occurs, in index order.
        """
        return segments(output, self.id2label)

    def _predict(
        self,
        processed: ProcessedImages,
        modes: Sequence[str],
        views: Views,
        *,
        with_tokens: bool,
        scores: Mapping[str, OODScore],
    ) -> Iterator[tuple[int, Dense]]:
        """Yields (index, result with B = 1), images of one size in batches."""
        device = self.prior.device
        with_tokens = with_tokens and self.vqvae is not None
        needs = {need for score in scores.values() for need in score.needs}
        classify_tokens = with_tokens or "tokens" in needs or any(mode not in ("aux", "density") for mode in modes)

        def dense(images: Tensor) -> Dense:
            out = self.predict_tokens(images, return_tokens=classify_tokens, return_maps="residual" in needs)
            size = (images.shape[-2], images.shape[-1])
            maps: dict[str, Tensor] = {}
            for mode in modes:
                maps[mode] = self.decode(out, mode=mode, size=size, found=maps)
            if scores:
                inputs = self._score_inputs(out, size, needs)
                for name, score in scores.items():
                    maps[name] = F.interpolate(score(inputs)[:, None], size=size, mode="bilinear")
            return Dense(maps, cast(Tensor, out.token_logits).argmax(1) if with_tokens else None)

        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(processed.images):
            groups.setdefault(tuple(image.shape), []).append(index)
        with self._evaluating():
            for indices in groups.values():
                for first in range(0, len(indices), views.batch_size):
                    batch = indices[first : first + views.batch_size]
                    images = torch.stack([processed.images[index].to(device) for index in batch])
                    out = run_views(dense, images, views, multiple=self._multiple)
                    for row, index in enumerate(batch):
                        maps = {mode: values[row : row + 1] for mode, values in out.maps.items()}
                        yield index, Dense(maps, None if out.tokens is None else out.tokens[row : row + 1])

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode for the components; afterwards each module is as before (mid-training previews)."""
        modules = [part for part in self.components.values() if isinstance(part, nn.Module)]
        training = [module for part in modules for module in part.modules() if module.training]
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True


def _first_view_size(image: Tensor, views: Views) -> tuple[int, int]:
    """Size (h, w) of the view whose tokens `average_views` keeps."""
    height, width = (max(1, round(side * views.scales[0])) for side in image.shape[-2:])
    return height, width
