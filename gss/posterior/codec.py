"""Maskige: label maps as colour images, and back.

`MaskigeCodec.encode` paints each class in its palette colour (X of the paper, arXiv 2303.11316); `logits` and `decode`
invert it (X^-1). The least-squares inverse printed in the paper does not exist for more than 3 classes; with a
pseudo-inverse, the argmax of its linear scores never picks a colour inside the hull of the others. The nearest colour
is affine too,

    argmin_k |x - beta_k|^2 = argmax_k (2 beta_k . x - |beta_k|^2),

and exact. Its scores divided by a temperature are class logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.posterior.inverses import build_inverse, nearest_table
from gss.posterior.palette import from_list

_HALF = 127.5
# A learned colour stays within this share of half the way to its nearest neighbour.
_FREEDOM = 0.5
# Number of pixels whose class scores exist at once: they fit the cache of a CPU, or fill a GPU.
_CPU_CHUNK, _GPU_CHUNK = 8192, 1 << 18
_CALIBRATION_PIXELS = 1 << 16
_TEMPERATURES = (10.0, 1e6)


class MaskigeCodec(ModelMixin, ConfigMixin):
    """Converter of labels to maskiges and back; its arguments give the variants of the paper's Table 1.

    | paper | palette | `inverse` | `learn_palette` |
    |---|---|---|---|
    | FF, FF-R | max-min, random | nearest | no |
    | FT | max-min | conv | no |
    | FT-W | max-min | swin | no |
    | TF | max-min, trained | nearest | yes |
    | TT | max-min, trained | conv | yes |

    A learned colour moves in a ball around its start, of a radius of a quarter of the distance to the nearest other
    start. Any two colours therefore keep at least half of their distance, so the palette cannot collapse, as the
    paper's TT did (36 mIoU). Colours are trained by the gradient of class logits, through both `encode` and `logits`; a
    loss in maskige space must detach its target, or shrinking the palette lowers it.

    Args:
        colors: K distinct `[R, G, B]` triples, 0 to 255, K <= 255.
        void_color: colour of void pixels; it is never decoded.
        inverse: `nearest`, `conv` or `swin`. The trained ones start equal to `nearest`.
        learn_palette: make the colours trainable.
        temperature: temperature of the nearest-colour logits, in squared 8-bit units.
        inverse_width: hidden channels of a trained inverse.
        inverse_reduction: side of the pixel block that the `swin` inverse handles as one position.

    Raises:
        InputError: colours or an option out of range.
    """

    start_palette: Tensor
    void_paint: Tensor

    @register_to_config
    def __init__(
        self,
        colors: Sequence[Sequence[int]],
        void_color: Sequence[int] = (0, 0, 0),
        inverse: str = "nearest",
        learn_palette: bool = False,
        temperature: float = 900.0,
        inverse_width: int = 64,
        inverse_reduction: int = 2,
    ) -> None:
        super().__init__()
        palette = from_list(colors)
        if len(void_color) != 3 or not all(0 <= value <= 255 for value in void_color):
            raise InputError(f"void_color: {list(void_color)} is not an 8-bit colour; give [R, G, B], 0 to 255")
        if not temperature > 0:
            raise InputError(f"temperature: {temperature} is not positive; 900 is usual")
        # 8-bit buffers: `.to(torch.float16)` and checkpoints leave them exact.
        self.register_buffer("start_palette", torch.from_numpy(palette))
        self.register_buffer("void_paint", torch.tensor(list(void_color), dtype=torch.uint8))
        self.palette_shift = nn.Parameter(torch.zeros(len(palette), 3)) if learn_palette else None
        self.refiner = build_inverse(inverse, len(palette), width=inverse_width, reduction=inverse_reduction)
        self._table: tuple[np.ndarray, np.ndarray] | None = None

    def extra_repr(self) -> str:
        """Return the first colours, before any training, and how they are inverted."""
        colors = ["#{:02x}{:02x}{:02x}".format(*map(int, color)) for color in self.config["colors"][:6]]
        more = ["..."] if self.num_classes > len(colors) else []
        learned = "learned, " if self.palette_shift is not None else ""
        listed = ", ".join([*colors, *more])
        return f"{self.num_classes} colours: {listed}; {learned}inverse {self.config['inverse']}"

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.start_palette)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of what is trained, float32 without: colours are 8-bit buffers, and logits always float32."""
        return next((parameter.dtype for parameter in self.parameters()), torch.float32)

    @property
    def pointwise(self) -> bool:
        """True if the logits of a pixel depend on the maskige at that pixel alone."""
        return self.refiner is None

    @property
    def temperature(self) -> float:
        """Temperature of the nearest-colour logits, in squared 8-bit units."""
        return float(self.config["temperature"])

    @property
    def palette(self) -> Tensor:
        """float32 `[K, 3]`, class colours in 8-bit units; differentiable when learned."""
        start = self.start_palette.float()
        if self.palette_shift is None:
            return start
        with torch.autocast(start.device.type, enabled=False):
            shift = self.palette_shift.float()
            distances = torch.cdist(start, start, compute_mode="donot_use_mm_for_euclid_dist")
            distances = distances + torch.diag(torch.full_like(distances[0], 4.0 * _HALF))
            radius = 0.5 * _FREEDOM * distances.amin(dim=1, keepdim=True)
            moved = start + radius * shift / (1.0 + shift.square().sum(dim=1, keepdim=True)).sqrt()
            return _CubeClamp.apply(moved)

    @property
    def display_colors(self) -> np.ndarray:
        """uint8 `[K, 3]`, class colours rounded to 8 bits."""
        return self.palette.detach().round().clamp(0, 255).to("cpu", torch.uint8).numpy()

    def encode(self, labels: Tensor, *, validate: bool = True) -> Tensor:
        """Paint labels, X(c).

        Args:
            labels: integers `[B, H, W]` in 0..K-1, or 255 for void.
            validate: check the range first, which waits for the device once. Without it a label out of range
                is an indexing error on the CPU and a device-side assertion on a GPU.

        Returns:
            Maskige, float32 `[B, 3, H, W]` in [-1, 1].

        Raises:
            InputError: wrong shape or type, or a label out of range.
        """
        if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex():
            raise InputError(f"labels: {labels.dtype} of shape {tuple(labels.shape)}; give integers of shape [B, H, W]")
        index = labels.long()
        void = index == IGNORE_INDEX
        if validate and labels.numel():
            low, high = torch.aminmax(index.masked_fill(void, 0))
            if low < 0 or high >= self.num_classes:
                value = int(low) if low < 0 else int(high)
                raise InputError(
                    f"labels: value {value} is outside 0 to {self.num_classes - 1}; "
                    f"map it to a class or to void ({IGNORE_INDEX})"
                )
        paint = torch.cat([self.palette, self.void_paint[None].float()]) / _HALF - 1.0
        painted = F.embedding(index.masked_fill(void, self.num_classes), paint)  # [B, H, W, 3]
        return painted.permute(0, 3, 1, 2).contiguous()  # [B, 3, H, W]

    def _affine(self) -> tuple[Tensor, Tensor]:
        """Return weight `[K, 3]` and bias `[K]` that turn a maskige in [-1, 1] into nearest-colour logits.

        Colours are taken relative to mid-grey, where a maskige is 0. Compared with (2 beta . x - |beta|^2) / tau in
        0..255 this adds one value to all classes of a pixel and loses less to cancellation in float32.
        """
        color = self.palette / _HALF - 1.0
        scale = _HALF**2 / self.temperature
        return 2.0 * scale * color, -scale * color.square().sum(dim=1)

    def logits(self, maskige: Tensor) -> Tensor:
        """Compute class logits, X^-1 before the argmax.

        Args:
            maskige: `[B, 3, H, W]`, nominally in [-1, 1].

        Returns:
            float32 `[B, K, H, W]`; the softmax is a distribution over the classes.

        Raises:
            InputError: wrong shape.
        """
        _check_maskige(maskige)
        batch, _, height, width = maskige.shape
        with torch.autocast(maskige.device.type, enabled=False):
            weight, bias = self._affine()
            # A matrix product, not a convolution: cuDNN runs those in TF32, too coarse to tell colours apart.
            pixels = maskige.float().flatten(2)  # [B, 3, H*W]
            scores = torch.baddbmm(bias[None, :, None], weight.expand(batch, -1, -1), pixels)
            scores = scores.unflatten(2, (height, width))
        if self.refiner is None:
            return scores
        return scores + self.refiner(maskige.to(next(self.refiner.parameters()).dtype)).float()

    @torch.no_grad()
    def decode(self, maskige: Tensor) -> Tensor:
        """Decode the most likely class of every pixel, X^-1, a few thousand pixels at a time.

        Args:
            maskige: `[B, 3, H, W]`, nominally in [-1, 1].

        Returns:
            int64 `[B, H, W]` in 0..K-1.

        Raises:
            InputError: wrong shape.
        """
        _check_maskige(maskige)
        if self.refiner is not None:
            return torch.stack([self.logits(image[None])[0].argmax(dim=0) for image in maskige])
        labels = torch.empty(
            maskige.shape[0], maskige.shape[2], maskige.shape[3], dtype=torch.long, device=maskige.device
        )
        chunk = _CPU_CHUNK if maskige.device.type == "cpu" else _GPU_CHUNK
        with torch.autocast(maskige.device.type, enabled=False):
            weight, bias = self._affine()
            for pixels, out in zip(maskige.flatten(2), labels.flatten(1), strict=True):
                for part, target in zip(pixels.split(chunk, dim=1), out.split(chunk), strict=True):
                    # Pixels first: the argmax then runs over contiguous scores, 2.5 times faster.
                    torch.argmax(torch.addmm(bias, part.t().float(), weight.t()), dim=1, out=target)
        return labels

    def decode_image(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Decode an 8-bit maskige picture.

        A pointwise codec looks every colour up in a table of all 2^24, built on first use and after each change of the
        palette; it is not saved. Other inverses run their network.

        Args:
            image: RGB, uint8 `[H, W, 3]`.

        Returns:
            int64 `[H, W]` in 0..K-1.

        Raises:
            InputError: not an 8-bit RGB picture.
        """
        pixels = np.asarray(image)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise InputError(
                f"image: {pixels.dtype} of shape {pixels.shape}; give an 8-bit RGB picture, uint8 [H, W, 3]"
            )
        if self.refiner is not None:
            maskige = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / _HALF - 1.0
            return self.decode(maskige.to(self.start_palette.device))[0].cpu().numpy()
        palette = self.palette.detach().cpu().numpy()
        if self._table is None or not np.array_equal(self._table[0], palette):
            self._table = (palette, nearest_table(palette).reshape(-1))
        red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
        return self._table[1][red << 16 | green << 8 | blue].astype(np.int64)

    @torch.no_grad()
    def calibrate_temperature(self, maskiges: Tensor, labels: Tensor) -> float:
        """Set the temperature of the smallest mean negative log-likelihood of labels.

        The likelihood is unimodal in the temperature, so a golden-section search over its logarithm finds the optimum.

        Args:
            maskiges: `[B, 3, H, W]`, reconstructions, whose errors the temperature describes.
            labels: `[B, H, W]`, ground truth; void is left out. At most 65536 pixels are used, evenly spaced.

        Returns:
            The temperature, 10 to 1e6 squared 8-bit units, also stored in the config.

        Raises:
            InputError: only void labels, shapes that differ, or a trained inverse, which its cross-entropy has already
                calibrated.
        """
        if self.refiner is not None:
            raise InputError(f"inverse: {self.config['inverse']!r} is calibrated by its training; use 'nearest'")
        _check_maskige(maskiges)
        if labels.shape != maskiges.shape[:1] + maskiges.shape[2:]:
            raise InputError(
                f"labels: shape {tuple(labels.shape)} does not match maskiges {tuple(maskiges.shape)}; "
                "give [B, H, W] of the same size"
            )
        valid = (labels != IGNORE_INDEX).flatten().nonzero()[:, 0]
        if not len(valid):
            raise InputError("labels: every pixel is void; give labelled images to calibrate on")
        valid = valid[:: -(-len(valid) // _CALIBRATION_PIXELS)]
        pixels = maskiges.movedim(1, -1).reshape(-1, 3)[valid].float()
        targets = labels.flatten()[valid].long()
        weight, bias = self._affine()
        scores = torch.addmm(bias, pixels, weight.t()) * self.temperature

        def loss(log_temperature: float) -> float:
            return F.cross_entropy(scores / math.exp(log_temperature), targets).item()

        low, high = (math.log(value) for value in _TEMPERATURES)
        ratio = (math.sqrt(5.0) - 1.0) / 2.0
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        left_loss, right_loss = loss(left), loss(right)
        while high - low > 1e-3:
            if left_loss <= right_loss:
                high, right, right_loss = right, left, left_loss
                left = high - ratio * (high - low)
                left_loss = loss(left)
            else:
                low, left, left_loss = left, right, right_loss
                right = low + ratio * (high - low)
                right_loss = loss(right)
        self.register_to_config(temperature=math.exp((low + high) / 2.0))
        return self.temperature


class _CubeClamp(torch.autograd.Function):
    """Clamp to [0, 255] that drops only the gradients pointing out of the cube.

    A plain clamp would keep a colour that left the cube on its face for ever.
    """

    @staticmethod
    def forward(ctx: Any, colors: Tensor) -> Tensor:
        ctx.save_for_backward(colors)
        return colors.clamp(0.0, 255.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (colors,) = ctx.saved_tensors
        outward = ((colors < 0.0) & (grad > 0.0)) | ((colors > 255.0) & (grad < 0.0))
        return grad.masked_fill(outward, 0.0)


def _check_maskige(maskige: Tensor) -> None:
    if maskige.ndim != 4 or maskige.shape[1] != 3 or not maskige.is_floating_point():
        raise InputError(f"maskige: {maskige.dtype} of shape {tuple(maskige.shape)}; give floats of shape [B, 3, H, W]")
