"""The methods of `GSSPipeline` that draw masks: `sample`, `complete` and `generate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.models.evaluation_mode import evaluation_mode
from gss.pipeline.processor import ImageInput, RunSize, check_run_size, check_size
from gss.pipeline.sampling import defaults
from gss.pipeline.sampling.arguments import MaskInput, check_sampling, need_joint, read_masks
from gss.pipeline.sampling.canvas import Canvas, count_given, run_paths, warn_unexplained
from gss.pipeline.sampling.draw import Generators
from gss.pipeline.sampling.fill import cell_windows, fill_windows, path_generators
from gss.pipeline.sampling.outputs import (
    CompletionOutput,
    GeneratedOutput,
    HypothesesOutput,
    convert,
    convert_labels,
)
from gss.pipeline.sampling.painting import Painted, paint
from gss.pipeline.sampling.proportions import class_shares, guide_shares, read_proportions
from gss.pipeline.sampling.regions import find_regions
from gss.pipeline.sampling.scheduler import TokenScheduler
from gss.pipeline.windows import resize_map


class SamplingMethods:
    """Methods of a pipeline with a joint prior.

    A step draws some unknown cells, given the image and all cells known by then. Every path has a random source of its
    own: with a generator for each image, a mask does not depend on the other images of the call.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a component or another attribute of the pipeline."""

    @torch.no_grad()
    def sample(
        self,
        images: ImageInput | Sequence[ImageInput],
        n: int = 8,
        steps: int = 8,
        *,
        generator: Generators = None,
        scheduler: TokenScheduler | None = None,
        size: RunSize = None,
        max_pixels: int = 2048 * 1024,
        overlap: float = 0.25,
        output_type: str = "np",
        return_probabilities: bool = False,
    ) -> HypothesesOutput:
        """Draw several masks of each image, with the places where they differ.

        Args:
            images: see `GSSPipeline.__call__`.
            n: number of masks of an image.
            steps: number of steps; 1 draws every cell independently.
            generator: random source: one, one for each image, or None for the global one.
            scheduler: order, schedule, temperature and corrector; if None, one of `gss.pipeline.sampling.defaults`.
            size: (H, W) to run at, or the short side, or "native"; the processor's choice when None.
            max_pixels: largest image that is drawn at once; a larger one is drawn in the processor's windows, each
                given what the ones before it drew.
            overlap: overlap of these windows, fraction in [0, 1).
            output_type: "np", "pil" or "pt".
            return_probabilities: also return the mean class probabilities.

        Raises:
            InputError: no joint prior, or a bad image or argument; the message says what is allowed.
        """
        joint = need_joint(self.joint, self.likelihood, "sample")
        scheduler = scheduler or TokenScheduler(mask_token_id=joint.mask_token, **defaults.SAMPLE)
        check_sampling(n, steps, overlap, output_type, scheduler, joint.mask_token)
        check_run_size(size)
        processed = self.processor.preprocess(images, size=size)
        sources = path_generators(generator, len(processed.images), n)
        rows = []
        for image, original, paths in zip(processed.images, processed.original_sizes, sources, strict=True):
            content = (image.shape[-2], image.shape[-1])
            canvas = self._canvas(content, image, None)
            window = self._window(content, max_pixels)
            options: dict[str, Any] = {"steps": steps, "generators": paths, "window": window, "overlap": overlap}
            with evaluation_mode(self.components.values()):
                drawn = run_paths(canvas, joint, self.predict_tokens, scheduler, **options)
            painted = self._paint(drawn.tokens, content, original)
            row = self._describe(painted, drawn.tokens, content, output_type)
            confidence, consensus = painted.probabilities.max(0)
            row["consensus"] = convert_labels(consensus.to(torch.uint8), output_type, self.colors)
            row["confidence"] = convert(confidence, output_type)
            row["agreement"] = convert((painted.masks == consensus).float().mean(0), output_type)
            row["masks"] = convert_labels(painted.masks, output_type, self.colors)
            if return_probabilities:
                row["probabilities"] = convert(painted.probabilities, output_type)
            rows.append(row)
        return HypothesesOutput(**_columns(rows))

    @torch.no_grad()
    def complete(
        self,
        images: ImageInput | Sequence[ImageInput] | None,
        masks: MaskInput | Sequence[MaskInput],
        n: int = 4,
        steps: int = 8,
        *,
        generator: Generators = None,
        scheduler: TokenScheduler | None = None,
        size: RunSize = None,
        max_pixels: int = 2048 * 1024,
        overlap: float = 0.25,
        output_type: str = "np",
    ) -> CompletionOutput:
        """Complete partial masks; given pixels are kept exactly.

        A cell that is given as a whole is known as a token. Of a cell given in part, the pixels are evidence for its
        token, through the code table.

        Args:
            images: images of the masks, see `GSSPipeline.__call__`; None completes the masks alone.
            masks: whole numbers `[H_i, W_i]` of the size of their image, 255 where unknown; see
                `gss.pipeline.sampling.arguments.read_masks`.
            n: number of paths, each a completion of its own; the mask is that of their mean.
            steps: number of steps.
            generator: see `sample`.
            scheduler: see `sample`.
            size: see `sample`.
            max_pixels: see `sample`.
            overlap: see `sample`.
            output_type: "np", "pil" or "pt".

        Raises:
            InputError: no joint prior, masks of another label space or size, or a bad image or argument.
        """
        joint = need_joint(self.joint, self.likelihood, "complete")
        scheduler = scheduler or TokenScheduler(mask_token_id=joint.mask_token, **defaults.COMPLETE)
        check_sampling(n, steps, overlap, output_type, scheduler, joint.mask_token)
        given = read_masks(masks, len(self.id2label))
        check_run_size(size)
        inputs = self._images_of(images, given, size)
        sources = path_generators(generator, len(given), n)
        rows = []
        for number, (labels, (image, content), paths) in enumerate(zip(given, inputs, sources, strict=True)):
            # 1. Known and unknown cells, and n paths through the unknown ones.
            canvas = self._canvas(content, image, labels)
            cells = count_given(canvas.labels, self.likelihood)
            warn_unexplained(f"masks[{number}]", cells)
            window = self._window(content, max_pixels)
            options: dict[str, Any] = {"steps": steps, "generators": paths, "window": window, "overlap": overlap}
            with evaluation_mode(self.components.values()):
                drawn = run_paths(canvas, joint, self.predict_tokens, scheduler, probabilities=True, **options)
            assert drawn.probabilities is not None

            # 2. Single completions, and the mean of the exact class probabilities along the paths, [K, H, W].
            original = (labels.shape[0], labels.shape[1])
            painted = self._paint(drawn.tokens, content, original)
            mean = self.likelihood.marginal(drawn.probabilities[None])[0, :, : content[0], : content[1]]
            confidence, best = resize_map(mean, original).max(0)

            # 3. Given pixels as they were given.
            labels = labels.to(best.device)
            known = labels != IGNORE_INDEX
            mask = torch.where(known, labels, best).to(torch.uint8)
            painted.masks[:, known] = labels[known].to(torch.uint8)
            painted.information[known] = 0
            row = self._describe(painted, drawn.tokens, content, output_type)
            row["masks"] = convert_labels(mask, output_type, self.colors)
            row["confidence"] = convert(confidence.masked_fill(known, 1), output_type)
            row["hypotheses"] = convert_labels(painted.masks, output_type, self.colors)
            row["given_share"] = float(known.double().mean())
            row |= {f"{kind}_cells": getattr(cells, kind) for kind in ("whole", "part", "unexplained")}
            rows.append(row)
        return CompletionOutput(**_columns(rows))

    @torch.no_grad()
    def generate(
        self,
        n: int = 6,
        size: tuple[int, int] | None = None,
        proportions: Mapping[str, float] | None = None,
        steps: int = 16,
        *,
        generator: Generators = None,
        scheduler: TokenScheduler | None = None,
        window_size: tuple[int, int] | None = None,
        overlap: float = 0.5,
        output_type: str = "np",
    ) -> GeneratedOutput:
        """Draw masks without an image.

        A mask larger than a window is drawn window by window, row by row, each given what the ones before it drew.

        Args:
            n: number of masks.
            size: (H, W) of the masks; the size of a window when None.
            proportions: wanted share of the pixels by class name, summing to 1; classes that are not named have 0. The
                logits of the classes are shifted in every step towards what is still missing, see
                `gss.pipeline.sampling.proportions.guide_shares`; `GeneratedOutput.proportions` are those reached.
            steps: number of steps in a window.
            generator: random source, or None for the global one.
            scheduler: see `sample`.
            window_size: (H, W) of windows; the processor's when None.
            overlap: overlap of neighbouring windows, fraction in [0, 1).
            output_type: "np", "pil" or "pt".

        Raises:
            InputError: no joint prior, or a bad argument; the message says what is allowed.
        """
        joint = need_joint(self.joint, self.likelihood, "generate")
        scheduler = scheduler or TokenScheduler(mask_token_id=joint.mask_token, **defaults.GENERATE)
        check_sampling(n, steps, overlap, output_type, scheduler, joint.mask_token)
        window = check_size(window_size or self.processor.window_size, "window_size")
        height, width = content = check_size(size or window, "size")
        target = None if proportions is None else read_proportions(proportions, self.id2label).to(joint.device)
        (sources,) = path_generators(generator, 1, n)

        # 1. Token grids [n, h, w].
        canvas = self._canvas(content, None, None)
        tokens = canvas.unknown(n, joint.mask_token, joint.device)
        f = canvas.stride
        windows = cell_windows(canvas.cells, (max(1, window[0] // f), max(1, window[1] // f)), overlap)

        def guide(rows: slice, columns: slice) -> Any:
            assert target is not None
            elsewhere = tokens.clone()
            elsewhere[:, rows, columns] = joint.mask_token
            padded = torch.cat([joint.share, torch.zeros_like(joint.share[:1])])
            cells = canvas.cells[0] * canvas.cells[1]
            return guide_shares(target, joint.share, padded[elsewhere].sum((1, 2)), cells)

        with evaluation_mode(self.components.values()):
            drawn = fill_windows(
                joint,
                canvas.encoder(joint, self.predict_tokens),
                tokens,
                scheduler,
                windows,
                steps=steps,
                generators=sources,
                guide=None if target is None else guide,
            )

        # 2. Masks [n, H, W] and their class shares.
        painted = self._paint(drawn.tokens, content, (height, width))
        shares = class_shares(list(painted.masks), len(self.id2label))
        return GeneratedOutput(
            masks=[convert_labels(mask, output_type, self.colors) for mask in painted.masks],
            tokens=convert(drawn.tokens, output_type),
            proportions=shares.cpu().numpy(),
        )

    def _canvas(self, content: tuple[int, int], image: Tensor | None, labels: Tensor | None) -> Canvas:
        """Return the canvas of an image `[3, H, W]`, given labels, or neither."""
        return Canvas.build(
            content,
            image=image,
            labels=labels,
            stride=self.prior.config.token_stride,
            multiple=self.size_multiple,
            device=self.prior.device,
        )

    def _window(self, content: tuple[int, int], max_pixels: int) -> tuple[int, int] | None:
        """Return the size of windows in pixels; None if the image is drawn at once."""
        if content[0] * content[1] <= max_pixels:
            return None
        height, width = (-(-side // self.size_multiple) * self.size_multiple for side in self.processor.window_size)
        return height, width

    def _images_of(
        self,
        images: ImageInput | Sequence[ImageInput] | None,
        masks: Sequence[Tensor],
        size: RunSize,
    ) -> list[tuple[Tensor | None, tuple[int, int]]]:
        """Return the image `[3, H, W]` of each mask, or None, and the size (H, W) that the model runs at."""
        if images is None:
            sizes = [(mask.shape[0], mask.shape[1]) for mask in masks]
            return [(None, self.processor.target_size(*one, size)) for one in sizes]
        processed = self.processor.preprocess(images, size=size)
        if len(processed.images) != len(masks):
            raise InputError(
                f"images are {len(processed.images)}, masks are {len(masks)}; give one mask for each image"
            )
        for number, (mask, original) in enumerate(zip(masks, processed.original_sizes, strict=True)):
            if tuple(mask.shape) != original:
                found, expected = (f"{height}x{width}" for height, width in (mask.shape, original))
                raise InputError(f"masks[{number}] has {found} pixels, its image {expected}; give them one size")
        return [(image, (image.shape[-2], image.shape[-1])) for image in processed.images]

    def _paint(self, tokens: Tensor, content: tuple[int, int], original: tuple[int, int]) -> Painted:
        return paint(self.likelihood, tokens, content_size=content, original_size=original)

    def _describe(self, painted: Painted, tokens: Tensor, content: tuple[int, int], output_type: str) -> dict[str, Any]:
        """Return mutual information, regions and tokens of one image."""
        f = self.prior.config.token_stride
        information = painted.information.cpu().numpy()
        return {
            "mutual_information": convert(painted.information, output_type),
            "regions": find_regions(information, painted.masks.cpu().numpy(), self.id2label),
            "tokens": convert(tokens[:, : -(-content[0] // f), : -(-content[1] // f)], output_type),
        }


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn one mapping per image into one list per field."""
    return {name: [row[name] for row in rows] for name in rows[0]}
