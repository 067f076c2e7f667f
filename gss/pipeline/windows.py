"""Dense inference as pure functions: whole images, sliding windows, flip and multi-scale averaging.

Every function takes a `DenseFn`: a callable from images `[B, 3, H, W]`, with H and W multiples of the model's stride,
to per-pixel maps. Maps are averaged: class probabilities `[B, K, H, W]` or scores `[B, 1, H, W]`.
"""

import math
import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.core.errors import InputError, quoted, unknown_name
from gss.core.progress import count_steps, expect_steps
from gss.models.inputs import pad_to_multiple
from gss.pipeline.masks import MaskRows
from gss.pipeline.processor import check_size, resize_images

# Largest number of values of a strip of resized rows (64 MB in float32).
STRIP_NUMBERS = 2**24


@dataclass(frozen=True)
class Dense:
    """Output of a model for a batch of equally sized images.

    Attributes:
        maps: float `[B, C, H, W]` by name.
        tokens: int64 `[B, h, w]` on the token grid, padding included; None when not computed.
    """

    maps: dict[str, Tensor]
    tokens: Tensor | None


class DenseFn(Protocol):
    """Model: images `[B, 3, H, W]` to maps."""

    def __call__(self, images: Tensor, /) -> Dense:
        """Return the maps of a batch."""
        ...


class MaskFn(Protocol):
    """Model that puts its class probabilities into masks, one an image, and leaves them out of the maps."""

    def __call__(self, images: Tensor, masks: Sequence[MaskRows], /) -> Dense:
        """Fill the masks of a batch and return its other maps."""
        ...


@dataclass(frozen=True)
class Masks:
    """How to get masks without a map of all classes.

    Attributes:
        name: map of class probabilities.
        fill: model that fills the masks of whole images.
        rows: mask of each image.
    """

    name: str
    fill: MaskFn
    rows: Sequence[MaskRows]


WINDOW_MODES = ("auto", "whole", "slide")


@dataclass(frozen=True)
class Views:
    """Windows, scales and mirroring of dense inference.

    Attributes:
        window: "whole" (one pass), "slide" (windows) or "auto" (windows above `max_pixels`).
        window_size: (H, W) of a window in pixels.
        overlap: overlap of neighbouring windows as a fraction of the window, in [0, 1).
        flip: average with the mirrored image.
        scales: sizes relative to the image, averaged.
        max_pixels: largest H * W that "auto" runs in one pass.
        batch_size: number of images, or windows of one image, in a batch.

    Raises:
        InputError: a value is out of range.
    """

    window: str = "auto"
    window_size: tuple[int, int] = (512, 512)
    overlap: float = 0.5
    flip: bool = False
    scales: Sequence[float] = (1.0,)
    max_pixels: int = 2048 * 1024
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.window not in WINDOW_MODES:
            raise unknown_name("window", self.window, WINDOW_MODES)
        check_size(self.window_size, "window_size")
        if not _is_number(self.overlap) or not 0 <= self.overlap < 1:
            raise InputError(f"overlap is {quoted(self.overlap)}; it must be a number of at least 0 and below 1")
        numbers_given = isinstance(self.scales, Sequence) and all(map(_is_number, self.scales))
        if not numbers_given or not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise InputError(
                f"scales is {quoted(self.scales)}; give a list of numbers above 0 and up to 16, such as (1.0,)"
            )
        for name, value in (("max_pixels", self.max_pixels), ("batch_size", self.batch_size)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} is {quoted(value)}; it must be a whole number of at least 1")

    @property
    def single(self) -> bool:
        """Whether nothing is averaged over views."""
        return not self.flip and tuple(self.scales) == (1.0,)

    def first_size(self, image: Tensor) -> tuple[int, int]:
        """Return the size (h, w) of the first view of an image `[3, H, W]`, whose tokens are kept."""
        height, width = (max(1, round(side * self.scales[0])) for side in image.shape[-2:])
        return height, width


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def run_views(fn: DenseFn, images: Tensor, views: Views, *, multiple: int, masks: Masks | None = None) -> Dense:
    """Run a model on images at their own size.

    Args:
        fn: model; called with H and W that are multiples of `multiple`.
        images: float `[B, 3, H, W]` in [0, 1].
        views: windows and averaging.
        multiple: pixels of which padded sizes and window corners are multiples.
        masks: masks to fill with one of the maps, which is then left out; averaged views fill none, see `Views.single`.
    """

    def one_view(view: Tensor) -> Dense:
        huge = view.shape[-2] * view.shape[-1] > views.max_pixels
        if views.window == "whole" or (views.window == "auto" and not huge):
            if masks is not None:
                return whole(lambda padded: masks.fill(padded, masks.rows), view, multiple=multiple)
            return whole(fn, view, multiple=multiple)
        return slide(
            fn,
            view,
            window=views.window_size,
            overlap=views.overlap,
            multiple=multiple,
            batch_size=views.batch_size,
            masks=masks,
        )

    if views.single:
        out = one_view(images)
        return Dense({name: values.float() for name, values in out.maps.items()}, out.tokens)
    masks = None
    return average_views(one_view, images, flip=views.flip, scales=views.scales)


def window_weights(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return Hann weights at pixel centres, float32 `[height, width]`, all above 0."""

    def hann(length: int) -> Tensor:
        # Half-pixel centres keep the border above zero, so a pixel of a single window has a weight.
        centres = (torch.arange(length, dtype=torch.float32, device=device) + 0.5) / length
        return torch.sin(math.pi * centres).square()

    return hann(height)[:, None] * hann(width)[None, :]


def window_starts(length: int, window: int, overlap: float, multiple: int = 1) -> list[int]:
    """Return the first pixels of windows that cover `length`, all multiples of `multiple`.

    Args:
        length: extent to cover, a multiple of `multiple`.
        window: extent of one window, a multiple of `multiple`.
        overlap: least overlap of neighbours as a fraction of the window, in [0, 1); the last window ends at the
            border, so it may overlap more.
        multiple: grid of the windows.
    """
    if window >= length:
        return [0]
    step = max(multiple, int(window * (1 - overlap)) // multiple * multiple)
    return [*range(0, length - window, step), length - window]


def whole(fn: DenseFn, images: Tensor, *, multiple: int) -> Dense:
    """Run a model once on `images` `[B, 3, H, W]`, padded to `multiple`; the maps are cropped back."""
    height, width = images.shape[-2:]
    out = fn(pad_to_multiple(images, multiple))
    return Dense({name: m[..., :height, :width] for name, m in out.maps.items()}, out.tokens)


def slide(
    fn: DenseFn,
    images: Tensor,
    *,
    window: tuple[int, int],
    overlap: float = 0.5,
    multiple: int = 1,
    batch_size: int = 1,
    masks: Masks | None = None,
) -> Dense:
    """Run a model on sliding windows and merge them with smooth weights.

    Windows run row by row. Weighted maps are added in place into one float32 band per map, of the height of a window;
    rows that no further window reaches are finished, and go into the map or the mask. So memory does not depend on the
    number of windows, and for a mask not on the height of the image. Tokens cannot be averaged: every cell takes the
    token of the window whose centre is nearest.

    Args:
        fn: model to run on windows.
        images: `[B, 3, H, W]`.
        window: window size in pixels, rounded up to `multiple` and clipped to the padded image.
        overlap: see `window_starts`.
        multiple: grid of the window corners, which aligns the token cells of all windows.
        batch_size: number of windows in a batch; those of a batch lie in one row.
        masks: see `run_views`.
    """
    height, width = images.shape[-2:]
    full_h, full_w = (-(-side // multiple) * multiple for side in (height, width))
    size_h, size_w = (
        min(full, math.ceil(wanted / multiple) * multiple)
        for full, wanted in zip((full_h, full_w), window, strict=True)
    )
    tops = window_starts(full_h, size_h, overlap, multiple)
    lefts = window_starts(full_w, size_w, overlap, multiple)
    weights = window_weights(size_h, size_w, images.device)
    merged = [
        _slide_one(fn, image, (tops, lefts), weights, batch_size, (masks.name, masks.rows[index]) if masks else None)
        for index, image in enumerate(images)
    ]
    maps = {
        name: torch.stack([dense.maps[name] for dense in merged])[..., :height, :width]
        if len(merged) > 1
        else merged[0].maps[name][None, :, :height, :width]
        for name in merged[0].maps
    }
    tokens = [dense.tokens for dense in merged if dense.tokens is not None]
    return Dense(maps, torch.stack(tokens) if tokens else None)


def _slide_one(
    fn: DenseFn,
    image: Tensor,
    starts: tuple[list[int], list[int]],
    weights: Tensor,
    batch_size: int,
    mask: tuple[str, MaskRows] | None,
) -> Dense:
    """Merge the windows of one image `[3, H, W]`: maps `[C, H', W']` and tokens `[h, w]` of all that they cover."""
    size_h, size_w = weights.shape
    tops, lefts = starts
    height, width = tops[-1] + size_h, lefts[-1] + size_w
    maps: dict[str, Tensor] = {}
    bands: dict[str, Tensor] = {}  # [C, size_h, W], weighted sums of the rows from `top` on
    total = torch.zeros(size_h, width, device=image.device, dtype=torch.float32)
    tokens: _NearestTokens | None = None
    expect_steps(len(tops) * len(lefts))
    for top, next_top in zip(tops, [*tops[1:], height], strict=True):
        # 1. A row of windows.
        for first in range(0, len(lefts), batch_size):
            batch = lefts[first : first + batch_size]
            out = fn(torch.stack([_window(image, top, left, (size_h, size_w)) for left in batch]))
            for name, values in out.maps.items():
                if name not in bands:
                    bands[name] = torch.zeros(values.shape[1], size_h, width, device=values.device, dtype=torch.float32)
                for value, left in zip(values, batch, strict=True):
                    bands[name][:, :, left : left + size_w].addcmul_(value.float(), weights)
            for left in batch:
                total[:, left : left + size_w] += weights
            if out.tokens is not None:
                tokens = tokens or _NearestTokens(out.tokens, (height, width), (size_h, size_w))
                for value, left in zip(out.tokens, batch, strict=True):
                    tokens.add(value, top, left)
            count_steps(len(batch))

        # 2. Rows that the next windows do not reach are finished, [C, rows, W].
        rows = next_top - top
        for name, band in bands.items():
            finished = band[:, :rows].div_(total[:rows])
            if mask is not None and name == mask[0]:
                mask[1].add(finished)
            else:
                if name not in maps:
                    maps[name] = torch.empty(len(band), height, width, device=band.device, dtype=torch.float32)
                maps[name][:, top:next_top] = finished

        # 3. The others move up.
        for band in (*bands.values(), total):
            band[..., : size_h - rows, :] = band[..., rows:, :].clone()
            band[..., size_h - rows :, :] = 0
    return Dense(maps, None if tokens is None else tokens.grid)


def _window(image: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """Cut a window out of an image `[3, H, W]`; beyond the border the last row and column are repeated."""
    part = image[None, :, top : top + size[0], left : left + size[1]]
    below, right = size[0] - part.shape[-2], size[1] - part.shape[-1]
    return (F.pad(part, (0, right, 0, below), mode="replicate") if below or right else part)[0]


class _NearestTokens:
    """Tokens of an image, each of the window whose centre is nearest.

    Args:
        tokens: int64 `[B, h, w]` of any windows.
        image: (H, W) of the image in pixels.
        window: (H, W) of a window in pixels.
    """

    def __init__(self, tokens: Tensor, image: tuple[int, int], window: tuple[int, int]) -> None:
        self._cell = window[0] // tokens.shape[-2]
        self._weights = window_weights(window[0] // self._cell, window[1] // self._cell, tokens.device)
        self.grid = tokens.new_zeros(image[0] // self._cell, image[1] // self._cell)
        self._best = torch.zeros(self.grid.shape, device=tokens.device, dtype=torch.float32)

    def add(self, tokens: Tensor, top: int, left: int) -> None:
        """Add the tokens `[h, w]` of the window with this first pixel."""
        y, x = top // self._cell, left // self._cell
        region = (slice(y, y + tokens.shape[0]), slice(x, x + tokens.shape[1]))
        nearer = self._weights > self._best[region]
        self.grid[region] = torch.where(nearer, tokens, self.grid[region])
        self._best[region] = torch.maximum(self._best[region], self._weights)


def average_views(fn: DenseFn, images: Tensor, *, flip: bool = False, scales: Sequence[float] = (1.0,)) -> Dense:
    """Average the maps over scaled and mirrored views of `images` `[B, 3, H, W]`, at the images' own size.

    Tokens are those of the first scale without mirroring: codes are neither mirror- nor scale-equivariant, so they have
    no mean. `fn` must accept any size (see `whole`, `slide`).
    """
    size = (images.shape[-2], images.shape[-1])
    total: dict[str, Tensor] = {}
    tokens: Tensor | None = None
    views = [(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))]
    for number, (scale, mirrored) in enumerate(views):
        view = resize_images(images, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        out = fn(view.flip(-1) if mirrored else view)
        tokens = out.tokens if number == 0 else tokens
        for name, values in out.maps.items():
            upright = values.flip(-1) if mirrored else values
            if upright.shape[-2:] != size:
                upright = F.interpolate(upright.float(), size=size, mode="bilinear", align_corners=False)
            total[name] = total[name].add_(upright) if name in total else upright.float()
    if len(views) > 1:
        for values in total.values():
            values.div_(len(views))
    return Dense(total, tokens)


def resized_strips(values: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Resize one map `[C, h, w]` bilinearly to `size`, a strip of rows at a time.

    The map can then be reduced (argmax) at the size of a huge image without being held at that size. The result equals
    `F.interpolate(mode="bilinear", align_corners=False)` up to rounding; probabilities still sum to 1.

    Yields:
        Rows of the result and their values `[C, rows, W]`.
    """
    channels, h, w = values.shape
    height, width = size
    rows = max(1, STRIP_NUMBERS // max(1, channels * width))
    for top in range(0, height, rows):
        part = slice(top, min(height, top + rows))
        if (h, w) == (height, width):
            yield part, values[:, part]
            continue
        strip = values[:, part]
        if h != height:
            # Half-pixel centres, clamped at the border, as in F.interpolate.
            source = (torch.arange(part.start, part.stop, device=values.device) + 0.5) * (h / height) - 0.5
            source = source.clamp(0, h - 1)
            upper = source.floor().long()
            lower = (upper + 1).clamp(max=h - 1)
            share = (source - upper)[:, None].to(values.dtype)
            strip = torch.lerp(values[:, upper], values[:, lower], share)
        if w != width:
            strip = F.interpolate(strip[None], size=(strip.shape[1], width), mode="bilinear", align_corners=False)[0]
        yield part, strip


def resize_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize one map `[C, h, w]` bilinearly to `[C, H, W]`, equal to `resized_strips`."""
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    out = values.new_empty(values.shape[0], *size)
    for rows, strip in resized_strips(values, size):
        out[:, rows] = strip
    return out
