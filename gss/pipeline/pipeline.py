"""`GSSPipeline`: images in, masks out; saved and loaded as one folder."""

import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import diffusers
import torch
from torch import Tensor

from gss.core.diffusion import DiffusionPipeline
from gss.core.errors import InputError, quoted
from gss.models.density import GMMDensityHead
from gss.models.evaluation_mode import evaluation_mode
from gss.models.inputs import pad_to_multiple
from gss.models.joint.model import JointPriorModel
from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.models.residual import ResidualPatternHead
from gss.ood import FittedScores, OODScore, ScoreInputs, build_score
from gss.pipeline.compatibility import check_fit
from gss.pipeline.decode import check_decode
from gss.pipeline.display.result import Source
from gss.pipeline.facts import PipelineFacts
from gss.pipeline.masks import MaskRows
from gss.pipeline.outputs import OUTPUT_TYPES, SegmentationOutput, image_fields, segments
from gss.pipeline.placing import PlacingMethods, component_dtypes
from gss.pipeline.processor import (
    GSSImageProcessor,
    ImageInput,
    ProcessedImages,
    RunSize,
    check_run_size,
    list_images,
)
from gss.pipeline.reading import Reader
from gss.pipeline.running import run_images
from gss.pipeline.sampling.methods import SamplingMethods
from gss.pipeline.store.bars import without_bars
from gss.pipeline.store.card import card_facts, write_card
from gss.pipeline.store.carried import read_kept_card
from gss.pipeline.store.hub import HubMethods
from gss.pipeline.store.saving import current_modules, precise_modules, read
from gss.pipeline.tokens import KeptReader
from gss.pipeline.windows import Dense, Views, resize_map
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel


class GSSPipeline(PipelineFacts, PlacingMethods, SamplingMethods, HubMethods, DiffusionPipeline):
    """Segmentation of images with a latent prior, a VQ decoder and the maskige codec.

    Args:
        processor: reader of images, with the resolution to run at.
        prior: network from images to token and class logits; its config holds the class names (`id2label`).
        codec: converter of maskige colours and classes.
        vqvae: decoder of tokens; None for a discriminative network, which has an auxiliary head only.
        likelihood: p(class | token) of a local decoder, needed for the exact marginal.
        density: Gaussian mixtures of the features of each class, classifier and density.
        ood: statistics of training data for some out-of-distribution scores.
        residual: branch that perturbs the prior's logits for scores; masks do not depend on it.
        joint: p(unknown tokens | known tokens, image), for masks that are sampled or completed.

    A precision given to `from_pretrained(dtype=...)` or `.to(dtype)` applies to the prior only. The other components
    are small and hold colours, codes and likelihoods: they stay in float32.
    """

    # A component whose argument has a default is only saved when it is listed here.
    _optional_components = ["vqvae", "likelihood", "density", "ood", "residual", "joint"]
    _loaded_from: Path | None = None  # folder whose card still holds
    exact: bool | None = None  # all codes at once, see `gss.pipeline.tokens`; None: if the prior has no rules

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
        joint: JointPriorModel | None = None,
    ) -> None:
        super().__init__()
        parts = {"vqvae": vqvae, "likelihood": likelihood, "density": density, "ood": ood, "residual": residual}
        check_fit(prior, codec, **parts, joint=joint)
        self.register_modules(processor=processor, prior=prior, codec=codec, **parts, joint=joint)
        self._kept_reader = KeptReader()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load what `save_pretrained` wrote, in evaluation mode.

        Args:
            pretrained_model_name_or_path: folder, or one of a run that holds it, or repository name on the hub.
            **kwargs: arguments of diffusers, such as `dtype`, the precision of the prior (float32 if not given,
                whatever the files hold), and components that replace the saved ones.

        Raises:
            InputError: the path is not a pipeline's folder, or a file in it is missing or damaged. A path that exists
                here is never looked up on the hub.
        """
        # Weights may be stored in half precision, see `gss.pipeline.store.zoo`.
        kwargs["dtype"] = component_dtypes(kwargs.pop("torch_dtype", None) or kwargs.get("dtype"))
        with without_bars():  # each component would draw its own
            pipeline = read(super().from_pretrained, pretrained_model_name_or_path, cls.__name__, kwargs)
        folder = Path(getattr(pipeline.config, "_name_or_path", None) or "")
        # With other components the figures of the card are of another pipeline.
        own = not set(pipeline.components) & set(kwargs)
        pipeline._loaded_from = folder if own and (folder / "README.md").is_file() else None
        return pipeline

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Read model_index.json, with components found by class name; see diffusers for the arguments."""
        loaded = super().load_config(*args, **kwargs)
        current_modules(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read model_index.json for `DiffusionPipeline.from_pretrained`, which does not call `load_config` of ours."""
        precise_modules(config_dict)
        return super().extract_init_dict(config_dict, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *args: Any,
        metrics: Mapping[str, Any] | None = None,
        measured_on: str | None = None,
        training_data: str | None = None,
        licence: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Save every component, model_index.json and a model card (README.md with palette.png).

        What is not given stays as in the card of the folder that the pipeline was loaded from: results, training data
        and licence. Not so if weights have changed since.

        Args:
            save_directory: folder; created if missing.
            *args: arguments of diffusers.
            metrics: results for the card: `SegmentationMetrics.compute()`, or one such dict per decode mode.
            measured_on: what they were measured on, for the card: data set and split.
            training_data: one sentence for the card: data set, splits, sizes.
            licence: licence of the weights for the card, as the hub abbreviates it, such as "cc-by-4.0".
            **kwargs: arguments of diffusers; `safe_serialization=False`, pickled weights, raises an `InputError`.
        """
        if not kwargs.get("safe_serialization", True):
            raise InputError("safe_serialization=False would pickle weights, which are not read again; leave it out")
        before = read_kept_card(self._loaded_from, self.components)
        with without_bars():
            super().save_pretrained(save_directory, *args, **kwargs)
        facts = card_facts(
            **{name: self.components[name] for name in ("processor", "prior", "codec", "vqvae", "likelihood")},
            colors=self.colors,
            decode_modes=self.decode_modes,
            default_decode=self.default_decode,
        )
        words = {"measured_on": measured_on, "training_data": training_data, "licence": licence}
        write_card(Path(save_directory), facts, metrics=metrics, **words, before=before)

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
        size: RunSize = None,
        max_pixels: int = 2048 * 1024,
        batch_size: int = 1,
        output_type: str = "np",
        return_probabilities: bool = False,
        return_tokens: bool = True,
        return_ood: bool = False,
        score: str | None = None,
        scores: Sequence[str] = (),
        exact: bool | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> SegmentationOutput:
        """Segment images; results have the size of the input images.

        Args:
            images: path, address, PIL image, array, tensor, or a list, generator or data set of them in any sizes,
                see `gss.pipeline.processor.load_images`.
            decode: one of `decode_modes`; `default_decode` when None.
            window: "whole", "slide", or "auto": slide above `max_pixels`.
            window_size: (H, W) of sliding windows in pixels; the processor's when None.
            overlap: overlap of neighbouring windows, fraction in [0, 1).
            flip: average with the mirrored image.
            scales: sizes relative to the image, averaged.
            size: (H, W) to run at, or the short side, or "native" for that of the image; the processor's choice when
                None, which is the scale of training.
            max_pixels: see `window`.
            batch_size: number of images of one size, or windows of one image, in a batch.
            output_type: "np", "pil" or "pt"; see `SegmentationOutput`.
            return_probabilities: also return class probabilities `[K, H, W]` (memory: 4 K H W bytes each).
            return_tokens: also return tokens and maskiges, if the model has them.
            return_ood: also return out-of-distribution scores.
            score: one of `score_names`, implies `return_ood`; `default_score` when None.
            scores: several of `score_names`, for `score_maps` of the output.
            exact: read every cell with all codes; `self.exact` when None, see `gss.pipeline.tokens`.
            generator: taken as by other pipelines, without effect: a mask is a function of its image. `sample` draws.
            return_dict: False for a tuple of the fields that are not None.

        Raises:
            InputError: bad image or argument; the message says what is allowed.
        """
        images = list_images(images)
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
        score = score or self.default_score if return_ood or score else None
        built = self._build_scores([*([score] if score else []), *scores])
        processed = self.preprocess(images, size=size)
        results: list[dict[str, Any]] = [{} for _ in processed.images]
        modes = [mode] if return_probabilities else []
        for index, dense, mask in self._predict(
            processed, modes, views, masked=mode, with_tokens=return_tokens, scores=built, exact=exact
        ):
            results[index] = image_fields(
                dense,
                mask,
                mode,
                self.vqvae,
                original_size=processed.original_sizes[index],
                content_size=views.first_size(processed.images[index]),
                colors=self.colors,
                output_type=output_type,
                return_probabilities=return_probabilities,
                score=score,
                scores=scores,
            )
        output = SegmentationOutput(**{name: [result[name] for result in results] for name in results[0]})
        output.__dict__["source"] = Source(images, list(self.id2label.values()), self.colors, self.background)
        self.maybe_free_model_hooks()
        return output if return_dict else cast(Any, output.to_tuple())

    @torch.no_grad()
    def predict_probabilities(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        modes: Sequence[str],
        scores: Sequence[str] = (),
        size: RunSize = None,
        exact: bool | None = None,
        **options: Any,
    ) -> dict[str, list[Tensor]]:
        """Compute class probabilities of several decode modes, and several scores, from one run of the prior.

        Args:
            images: see `__call__`.
            modes: some of `decode_modes`; may be empty when scores are asked for.
            scores: some of `score_names`.
            size: see `__call__`.
            exact: see `__call__`.
            **options: `window`, `window_size`, `overlap`, `flip`, `scales`, `max_pixels`, `batch_size` of `__call__`.

        Returns:
            For each mode a float32 tensor `[K, H_i, W_i]` per image at its original size, on the model's device; for
            each score `[1, H_i, W_i]`.
        """
        built = self._build_scores(scores)
        views = self.check_inputs([*modes, *(["aux"] if built else [])], size=size, **options)
        processed = self.preprocess(images, size=size)
        maps: dict[str, list[Tensor]] = {n: [torch.empty(0)] * len(processed.images) for n in (*modes, *built)}
        for index, dense, _ in self._predict(processed, modes, views, with_tokens=False, scores=built, exact=exact):
            for name in maps:
                maps[name][index] = resize_map(dense.maps[name][0], processed.original_sizes[index])
        return maps

    def check_inputs(
        self,
        modes: Sequence[str],
        *,
        window_size: tuple[int, int] | None = None,
        size: RunSize = None,
        output_type: str = "np",
        **views: Any,
    ) -> Views:
        """Check every argument except the images, before anything is computed.

        Raises:
            InputError: names the argument, its value and what is allowed.
        """
        for mode in set(modes) - set(self.decode_modes):
            check_decode(mode, self.decode_modes)
        if not modes:
            raise InputError(f"modes is empty; this pipeline has {', '.join(self.decode_modes)}")
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"output_type is {quoted(output_type)}; allowed are {', '.join(OUTPUT_TYPES)}")
        check_run_size(size)
        return Views(window_size=window_size or self.processor.window_size, **views)

    def check_scores(self, names: Sequence[str]) -> None:
        """Check names of scores.

        Raises:
            InputError: a name is unknown, or its score needs something this pipeline lacks.
        """
        self._build_scores(names)

    def preprocess(self, images: Any, *, size: RunSize = None) -> ProcessedImages:
        """Convert images, see `__call__`, to float32 tensors at the size the model runs at."""
        return self.processor.preprocess(images, size=size)

    def predict_tokens(
        self, images: Tensor, *, return_tokens: bool = True, return_maps: bool = False
    ) -> GSSPriorOutput:
        """Run the prior on `[B, 3, H, W]` in [0, 1], H and W multiples of its stride; logits in float32."""
        return self._reader.run(images, return_tokens=return_tokens, return_maps=return_maps)

    def decode(self, prior_output: GSSPriorOutput, *, mode: str, size: tuple[int, int]) -> Tensor:
        """Decode class probabilities, float32 `[B, K, H, W]`, at `size`: the H and W that the prior ran at."""
        return self._reader.decode(prior_output, mode, size)

    @property
    def feature_source(self) -> str:
        """Features that the density head and fitted scores describe, see `GSSPriorModel.dense_features`."""
        return self._reader.feature_source

    def score_inputs(self, images: Tensor, *, needs: Collection[str] = (), source: str | None = None) -> ScoreInputs:
        """Compute what out-of-distribution scores read of images of one size.

        Args:
            images: `[B, 3, H, W]` in [0, 1]; padded to whole cells here.
            needs: needs of the scores, see `OODScore.needs`.
            source: features to describe; `feature_source` if None.
        """
        images = pad_to_multiple(images.to(self._execution_device), self.size_multiple)
        with evaluation_mode(self.components.values()):
            out = self.predict_tokens(images, return_tokens="tokens" in needs, return_maps="residual" in needs)
            return self._reader.score_inputs(out, (images.shape[-2], images.shape[-1]), needs, source)

    @property
    def _reader(self) -> Reader:
        return Reader(**{name: part for name, part in self.components.items() if name != "processor"})

    def _build_scores(self, names: Sequence[str]) -> dict[str, OODScore]:
        return {name: build_score(name, **self.score_parts) for name in names}

    @property
    def size_multiple(self) -> int:
        """Pixels of which the sides of padded images are multiples."""
        return math.lcm(self.processor.size_multiple, self.prior.config.token_stride)

    def segments(self, output: SegmentationOutput) -> list[list[dict[str, Any]]]:
        """Convert the result to the form of Hugging Face's image-segmentation pipelines, see `outputs.segments`."""
        return segments(output, self.id2label)

    def _predict(
        self,
        processed: ProcessedImages,
        modes: Sequence[str],
        views: Views,
        *,
        exact: bool | None,
        with_tokens: bool,
        **options: Any,
    ) -> Iterator[tuple[int, Dense, MaskRows]]:
        """Yield index, maps and mask of every image; `options` as for `run_images`."""
        with_tokens = with_tokens and self.vqvae is not None
        options |= {"multiple": self.size_multiple, "device": self._execution_device, "with_tokens": with_tokens}
        with evaluation_mode(self.components.values()):
            yield from run_images(self._chosen_reader(exact), processed, modes, views, **options)

    def _chosen_reader(self, exact: bool | None) -> Reader:
        """Return the reader of a call, with all codes at once or with shortlists."""
        given = [choice for choice in (exact, self.exact) if choice is not None]
        if given[0] if given else not self.prior.config.shortlists:
            return self._reader
        token_reader = self._kept_reader.get(self.prior, self.vqvae, self.codec, self.likelihood)
        return dataclasses.replace(self._reader, token_reader=token_reader)


# `DiffusionPipeline.from_pretrained` looks the class that a folder names up among the names of diffusers.
diffusers.GSSPipeline = GSSPipeline  # type: ignore[attr-defined]
