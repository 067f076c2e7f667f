"""Joint prior p(unknown tokens | known tokens, image), a correction of the frozen prior's token logits.

The prior predicts every token of an image on its own. What is known of some cells says more about the others:

    log p(z | x, known) = log p(z | x) + gate * (log p(z | known) - log p(z)) - fade * (log p(z | x) - log p(z))
                          + turn * sum_c p(c | z) log (known cells of c around / those that the image expected)

with p(z | known) of a network that has seen masks alone. The first bracket is what the known cells add, the second what
the image adds, the sum how the image errs around. Where nothing is known, all are zero: the joint prior with nothing
known is the prior itself, bit for bit. Gate, fade and turn are learnt from how sure both sides are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.models.joint.context import JointContext
from gss.models.joint.network import TokenNetwork
from gss.models.joint.pyramid import BackOff, LocalShift, known_around
from gss.models.prior import GSSPriorOutput

_Listened = tuple[Tensor, Tensor, Tensor, list[Tensor]]
# Least class share that a log is taken of.
_LEAST = 1e-4
# Levels of the local shift: beyond 2^4 cells, errors of the image have little in common.
_SHIFT_LEVELS = 5


@dataclass
class JointPriorOutput(BaseOutput):
    """Output of `JointPriorModel`.

    Attributes:
        token_logits: float32 `[B, V, h, w]`, unnormalised log p(token | known tokens, image) of every cell, or
            `[B, V, M]` of the cells that were asked for; of known cells they mean nothing.
    """

    token_logits: Tensor


class JointPriorModel(ModelMixin, ConfigMixin):
    """Token logits of every cell given the tokens of some.

    Args:
        codebook_size: V.
        num_labels: K.
        token_stride: pixels per cell side f.
        context_ratio: cells per side of a cell of the context grid that the network works on.
        width: channels of the network.
        depth: blocks at every level of the network but the finest.
        levels: levels of the network; each halves the context grid.
        rank: channels R in front of the token logits.
        embed_dim: channels of the token embeddings.
        shift: whether known cells also tell how the image errs around them, see `LocalShift`.

    Raises:
        InputError: an argument is out of range.
    """

    table: Tensor
    share: Tensor
    class_share: Tensor
    token_log_share: Tensor

    @register_to_config
    def __init__(
        self,
        codebook_size: int = 1024,
        num_labels: int = 2,
        token_stride: int = 4,
        context_ratio: int = 2,
        width: int = 96,
        depth: int = 1,
        levels: int = 4,
        rank: int = 48,
        embed_dim: int = 32,
        shift: bool = False,  # models of earlier versions have none
    ) -> None:
        super().__init__()
        sizes = {"codebook_size": codebook_size, "num_labels": num_labels, "token_stride": token_stride}
        sizes |= {"context_ratio": context_ratio, "width": width, "depth": depth, "levels": levels}
        for name, value in (sizes | {"rank": rank, "embed_dim": embed_dim}).items():
            if value < 1:
                raise InputError(f"{name}={value} must be at least 1")
        # p(c | z, position) [V, K, f, f] and its mean over the positions [V, K]; shares of classes [K] and codes [V].
        cell = (codebook_size, num_labels, token_stride, token_stride)
        self.register_buffer("table", torch.full(cell, 1 / num_labels))
        self.register_buffer("share", torch.full((codebook_size, num_labels), 1 / num_labels))
        self.register_buffer("class_share", torch.full((num_labels,), 1 / num_labels))
        self.register_buffer("token_log_share", torch.full((codebook_size,), -math.log(codebook_size)))
        self.embedding = nn.Embedding(codebook_size + 1, embed_dim)
        self.back_off = BackOff(levels + int(math.log2(context_ratio)) + 1)
        count = len(self.back_off.log_strength)
        self.network = TokenNetwork(embed_dim + num_labels + count, context_ratio, width, depth, levels, rank)
        self.class_scale = nn.Parameter(torch.ones(()))
        self.code_head = nn.Linear(rank, codebook_size, bias=False)
        self.code_bias = nn.Parameter(torch.zeros(codebook_size))
        nn.init.zeros_(self.code_head.weight)
        self.local_shift = LocalShift(min(_SHIFT_LEVELS, count)) if shift else None
        outputs = 3 if shift else 2
        self.gate = nn.Sequential(nn.Conv2d((9 if shift else 7) + count, 32, 1), nn.GELU(), nn.Conv2d(32, outputs, 1))
        last = cast(nn.Conv2d, self.gate[2])
        nn.init.zeros_(last.weight)
        # At first all news counts and 0.8 of the image fades where all around is known; with a shift, half of the news
        # counts and 0.1 fades.
        odds = [0.5, 1 / 9, 2.0] if shift else [2.0, 4.0]
        with torch.no_grad():
            cast(Tensor, last.bias).copy_(torch.tensor(odds).log())
        self.float()  # whatever the default is: it reads logits in float32

    @property
    def mask_token(self) -> int:
        """V, the token of unknown cells."""
        return self.config["codebook_size"]

    @property
    def token_stride(self) -> int:
        """Pixels per cell side f."""
        return self.config["token_stride"]

    @torch.no_grad()
    def set_table(self, table: Tensor) -> None:
        """Copy the posterior's p(c | z) `[V, K, f, f]`.

        Raises:
            InputError: the shape differs.
        """
        if table.shape != self.table.shape:
            raise InputError(f"table has shape {tuple(table.shape)}, this joint prior takes {tuple(self.table.shape)}")
        self.table.copy_(table)
        self.share.copy_(table.float().mean((2, 3)))
        # Codes that paint alike start alike, so that what is learnt of one is known of those never seen.
        cells = table.float().flatten(1) - table.float().flatten(1).mean(0)
        generator = torch.Generator().manual_seed(0)
        project = torch.randn(cells.shape[1], self.config["embed_dim"], generator=generator).to(cells)
        embedded = cells @ project
        self.embedding.weight[:-1] = embedded / embedded.std().clamp(min=1e-6)
        self.embedding.weight[-1] = 0

    @torch.no_grad()
    def set_shares(self, token_counts: Tensor) -> None:
        """Store how often each token `[V]` occurs in the training masks: what is said where nothing is known."""
        counts = token_counts.double() + 0.1
        shares = counts / counts.sum()
        self.token_log_share.copy_(shares.log())
        classes = shares.float().to(self.share) @ self.share
        self.class_share.copy_(classes / classes.sum())

    def encode(
        self,
        output: GSSPriorOutput | None,
        *,
        size: tuple[int, int, int] | None = None,
        labels: Tensor | None = None,
        rows: tuple[float, float] = (0.0, 1.0),
    ) -> JointContext:
        """Compute what does not change from step to step.

        Args:
            output: output of the prior, with token logits; None for masks without image.
            size: (B, h, w) of masks without image.
            labels: given pixels, int64 `[B, H, W]`, 255 where nothing is given.
            rows: see `JointContext`.

        Raises:
            InputError: token logits are missing or have another number of codes, or the labels another size.
        """
        # 1. Given pixels: tokens of whole cells, evidence of the others.
        pixels = given = mass = None
        if labels is not None:
            pixels, given, mass = self._read_pixels(labels)
        if output is None:
            if size is None and given is None:
                raise InputError("size=None: a context without image needs size=(B, h, w) or labels")
            batch, h, w = size if size is not None else cast(Tensor, given).shape
            image = torch.zeros(batch, dtype=torch.bool, device=self.device)
            return JointContext((h, w), image, rows, pixels=pixels, given=given, mass=mass)
        if output.token_logits is None:
            raise InputError("the prior's output has no token logits: run it with return_tokens=True")
        base = output.token_logits.float()
        batch, codes, h, w = base.shape
        if codes != self.mask_token:
            raise InputError(f"token logits are of {codes} codes, this joint prior of {self.mask_token}")

        # 2. Classes of each cell by the image, and how sure they are.
        tokens = base.softmax(1)
        share = F.conv2d(tokens, self.share.t()[:, :, None, None]).clamp(min=_LEAST)  # [B, K, h, w]
        entropy = torch.special.entr(tokens).sum(1, keepdim=True) / math.log(codes)
        doubt = torch.cat([entropy, *_sureness(share)], 1)  # [B, 3, h, w]

        # 3. What the known cells say where none is known, [1, K + R, h, w].
        nothing = torch.full((1, h, w), self.mask_token, device=base.device)
        silence = self._listen(nothing, None, rows)[0]
        image = torch.ones(batch, dtype=torch.bool, device=base.device)
        return JointContext((h, w), image, rows, base, doubt, share.log(), silence, pixels, given, mass)

    def forward(self, tokens: Tensor, context: JointContext, *, cells: Tensor | None = None) -> JointPriorOutput:
        """Return token logits of cells given the known ones.

        Args:
            tokens: int64 `[B, h, w]`, `mask_token` where unknown.
            context: what `encode` returned.
            cells: int64 `[B, M]`, positions in the flattened grid of the cells to predict, which costs less; None for
                all.

        Raises:
            InputError: the shape of the tokens differs from that of the context.
        """
        if tuple(tokens.shape) != (context.batch, *context.size):
            expected = (context.batch, *context.size)
            raise InputError(f"tokens have shape {tuple(tokens.shape)}, the context is of {expected}")
        if context.given is not None:
            tokens = torch.where(tokens == self.mask_token, context.given, tokens)
        known = (tokens != self.mask_token).flatten(1).any(1)
        if context.mass is not None:
            known = known | context.mass.flatten(1).any(1)
        # Bit for bit the prior where nothing is known, whatever else is in the batch.
        if context.base is not None and bool(context.image.all()) and not bool(known.any()):
            return JointPriorOutput(token_logits=context.base if cells is None else pick(context.base, cells))

        # 1. What the known cells say, and what it changes of what the image says, [B, V, M].
        listened = self._listen(tokens, context.mass, context.rows)
        alone = self._codes(pick(listened[0], cells)) if context.base is None or not bool(context.image.all()) else None
        logits = (
            cast(Tensor, alone) if context.base is None else self._corrected(tokens, context, known, listened, cells)
        )
        if context.pixels is not None:
            logits = logits + pick(context.pixels, cells)

        # 2. Masks without image, and items whose image was dropped.
        if context.base is None:
            logits = logits.log_softmax(1)
        elif alone is not None:
            logits = torch.where(context.image[:, None, None], logits, alone.log_softmax(1))
        return JointPriorOutput(token_logits=logits.unflatten(2, context.size) if cells is None else logits)

    def step(self, tokens: Tensor, context: JointContext) -> Tensor:
        """Return the token logits `[B, V, h, w]` of images without given pixels, as a graph without branches.

        The values are those of `forward`, which leaves out what no item of a batch needs.

        Args:
            tokens: int64 `[B, h, w]`, `mask_token` where unknown.
            context: what `encode` returned for images.
        """
        known = (tokens != self.mask_token).flatten(1).any(1)
        listened = self._listen(tokens, None, context.rows)
        return self._corrected(tokens, context, known, listened, None).unflatten(2, context.size)

    def _corrected(
        self, tokens: Tensor, context: JointContext, known: Tensor, listened: _Listened, cells: Tensor | None
    ) -> Tensor:
        """Return the token logits of images, corrected by what known cells say, `[B, V, M]`.

        Args:
            tokens: int64 `[B, h, w]`.
            context: of images.
            known: bool `[B]`, whether anything is known.
            listened: result of `_listen`.
            cells: see `forward`.
        """
        # The news of the known cells counts as far as the gate says, and that of the image fades where they know
        # better: base + gate * (heard - silence) - fade * (base - constant - silence); and the shift of the classes.
        heard = pick(listened[0], cells)  # [B, K + R, M]
        silence = pick(cast(Tensor, context.silence).expand(len(tokens), -1, -1, -1), cells)
        found = self._gate(tokens, context, listened, cells)
        gate, fade, turned = (part * known[:, None, None] for part in found)
        evidence = gate * (heard - silence) + fade * silence
        evidence = torch.cat([evidence[:, : turned.shape[1]] + turned, evidence[:, turned.shape[1] :], fade], 1)
        weight = torch.cat([self._weight(), self._constant()], 1).expand(len(tokens), -1, -1)
        # In one pass over the logits: they are as large as everything else together.
        logits = pick(cast(Tensor, context.base), cells) * (1 - fade)
        logits.baddbmm_(weight, evidence)
        return logits

    def _listen(self, tokens: Tensor, mass: Tensor | None, rows: tuple[float, float]) -> _Listened:
        """Return what known cells say.

        Returns:
            Class evidence and features `[B, K + R, h, w]`; class shares `[B, K, h, w]`; known cells around
            `[B, levels, h, w]`; result of `known_around`.
        """
        unknown = torch.zeros_like(self.share[:1])
        spread = F.embedding(tokens, torch.cat([self.share, unknown])).movedim(-1, 1).contiguous()  # [B, K, h, w]
        if mass is not None:
            spread = torch.where((tokens == self.mask_token)[:, None], mass, spread)
        around = known_around(spread, len(self.back_off.log_strength))
        belief, counts = self.back_off(around, self.class_share)
        ratio = belief.clamp(min=_LEAST).log() - self.class_share.clamp(min=_LEAST).log()[:, None, None]
        embedded = self.embedding(tokens).movedim(-1, 1)
        features = self.network(torch.cat([embedded, ratio / 4, counts], 1), rows)
        return torch.cat([self.class_scale * ratio, features], 1), belief, counts, around

    def _codes(self, evidence: Tensor) -> Tensor:
        """Return token logits `[B, V, M]` of class evidence and features `[B, K + R, M]`."""
        return self._weight() @ evidence + self._constant()

    def _weight(self) -> Tensor:
        """Return the weights `[V, K + R]` of class evidence and features in the token logits."""
        return torch.cat([self.share, self.code_head.weight], 1)

    def _constant(self) -> Tensor:
        """Return the token logits without evidence, `[V, 1]`."""
        return (self.token_log_share + self.code_bias)[:, None]

    def _gate(
        self,
        tokens: Tensor,
        context: JointContext,
        listened: _Listened,
        cells: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return how much of the known cells' news counts and how much of the image's fades, and the class evidence.

        Returns:
            Gate and fade `[B, 1, M]`; `turn` times the log of the ratio of `LocalShift`, `[B, K, M]`, of no classes
            without one.
        """
        image = cast(Tensor, context.belief).exp()
        picked, belief, counts = (pick(part, cells) for part in (image, *listened[1:3]))
        agreement = (picked * belief).sum(1, keepdim=True)
        doubt = pick(cast(Tensor, context.doubt), cells)
        facts = [doubt, *_sureness(belief), agreement, agreement.clamp(min=_LEAST).log() / 4]
        shift = None
        if self.local_shift is not None:
            whole = (tokens != self.mask_token)[:, None]
            share = (
                whole.float() if context.mass is None else torch.where(whole, 1.0, context.mass.sum(1, keepdim=True))
            )
            expected = known_around(image * share, len(self.local_shift.log_strength))
            shift = pick(self.local_shift(listened[3], expected), cells)
            facts += [(picked * shift).sum(1, keepdim=True), shift.abs().amax(1, keepdim=True) / 4]
        found = self.gate(torch.cat([*facts, counts], 1)[:, :, None])[:, :, 0]
        # The image's word fades near known cells only: one correction must not unsettle the whole mask.
        near = counts[:, :3].amax(1, keepdim=True)
        turned = found[:, :0] if shift is None else 1.5 * found[:, 2:3].sigmoid() * shift
        return 1.5 * found[:, :1].sigmoid(), found[:, 1:2].sigmoid() * near, turned

    def _read_pixels(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return evidence of given pixels, tokens of whole cells and known share by class, see `JointContext`."""
        f, classes = self.token_stride, self.config["num_labels"]
        if labels.shape[1] % f or labels.shape[2] % f:
            raise InputError(f"labels of {labels.shape[1]}x{labels.shape[2]} pixels do not divide into cells of {f}")
        valid = labels != IGNORE_INDEX
        if bool((valid & (labels >= classes)).any()):
            raise InputError(f"labels hold class {int(labels[valid].max())}; this joint prior has {classes} classes")
        hot = F.one_hot(labels.clamp(max=classes - 1), classes) * valid[..., None]
        hot = F.pixel_unshuffle(hot.movedim(-1, 1).float(), f)  # [B, K*f*f, h, w]
        weight = self.table.float().clamp(min=1e-6).log().flatten(1)[:, :, None, None]
        score = F.conv2d(hot, weight)  # [B, V, h, w]
        share = F.avg_pool2d(valid[:, None].float(), f)
        whole = share == 1
        given = torch.where(whole[:, 0], score.argmax(1), self.mask_token)
        mass = hot.unflatten(1, (classes, f * f)).mean(2)
        return score.masked_fill(whole, 0), given, mass


def pick(x: Tensor, cells: Tensor | None) -> Tensor:
    """Return the values of cells of `[B, C, h, w]`, `[B, C, M]`; of all if `cells` is None, else those of `[B, M]`."""
    flat = x.flatten(2)
    return flat if cells is None else flat.gather(2, cells[:, None].expand(-1, flat.shape[1], -1))


def _sureness(share: Tensor) -> list[Tensor]:
    """Return entropy relative to that of equal shares, and largest share, of class shares `[B, K, ..]`."""
    entropy = torch.special.entr(share).sum(1, keepdim=True) / math.log(max(share.shape[1], 2))
    return [entropy, share.amax(1, keepdim=True)]
