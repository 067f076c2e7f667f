"""Token reading: from features to class probabilities in one pass, with all codes only where there is doubt.

The posterior of a cell over V codes is computed for a strip of cells at a time, so no `[B, V, h, w]` map exists. Most
cells show one class, and codes that do not paint this class have no weight there. A cell is therefore read with a
*shortlist* of codes if the auxiliary head is certain of a class:

- `certainty` of a cell: largest class probability of the auxiliary head, averaged over the pixels of the cell;
- `share` of a code in a class: probability of the class in the code table, averaged over the pixels of the cell;
- rule (certainty c, share s): a cell of certainty >= c is read with the codes of share >= s in its class.

If the left-out codes have the posterior mass m, class probabilities p' from a shortlist differ from the exact p by
|p' - p|_1 <= 2 m. The mass is measured on a sample of the cells of every strip; above `shortlist_loss` all cells of the
strip are read with all codes. Without a rule every cell is read with all codes. Rules need
a CPU: on other devices the choice of cells would wait for the device, and reading all codes costs little.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.pipeline.masks import MaskRows, cell_strips, pixel_rows
from gss.posterior.cells import pixels_to_rows, rows_to_pixels
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

# Numbers in the class probabilities of a strip of cells, and cells whose posterior is computed at once: on a CPU, the
# buffers of a chunk stay in its cache.
CPU_STRIP, CPU_CHUNK = 2**20, 512
GPU_STRIP, GPU_CHUNK = 2**26, 2**15
# Every so many of the cells with a shortlist are also read with all codes.
SAMPLE_STEP = 127
MODES = ("hard", "marginal", "aux", "fused")


@dataclass
class TokenReading:
    """Result of `TokenReader.read`; a field is None unless asked for.

    Attributes:
        probabilities: float32 `[B, K, H, W]` by decode mode.
        tokens: int64 `[B, h, w]`, most probable token of each cell.
        entropy: float32 `[B, h, w]`, entropy of the posterior over tokens, in nats.
        surprise: float32 `[B, h, w]`, negative log-probability of the most probable token, in nats.
    """

    probabilities: dict[str, Tensor]
    tokens: Tensor | None = None
    entropy: Tensor | None = None
    surprise: Tensor | None = None


@dataclass(frozen=True)
class Codes:
    """A list of n codes with what reading needs of each.

    Attributes:
        indices: int64 `[n]`, None for all codes in order.
        weight: `[n, R]`, weights of the token classifier.
        evidence: `[n, K*f*f]`, weights of the class probabilities of the pixels; None without evidence.
        bias: `[n]`.
        table: `[n, K*f*f]`, class probabilities of the code table.
    """

    indices: Tensor | None
    weight: Tensor
    evidence: Tensor | None
    bias: Tensor
    table: Tensor

    def pick(self, indices: Tensor) -> Codes:
        """Return the codes of these indices."""
        evidence = None if self.evidence is None else self.evidence[indices]
        return Codes(indices, self.weight[indices], evidence, self.bias[indices], self.table[indices])

    def logits(self, hidden: Tensor, beliefs: Tensor) -> Tensor:
        """Return logits `[m, n]` of m cells with hidden features `[m, R]` and beliefs `[m, K*f*f]`."""
        logits = torch.addmm(self.bias, hidden, self.weight.t())
        return logits if self.evidence is None else logits.addmm_(beliefs, self.evidence.t())


class TokenReader:
    """Reader of the tokens of a prior with a local decoder.

    Args:
        prior: network; its config holds the rules, see `GSSPriorConfig.shortlists`.
        vqvae: decoder of tokens.
        codec: converter of colours to classes; a pointwise one.
        likelihood: code table.
    """

    @torch.no_grad()
    def __init__(
        self, prior: GSSPriorModel, vqvae: MaskigeVQModel, codec: MaskigeCodec, likelihood: CellLikelihood
    ) -> None:
        self.prior, self.stride = prior, likelihood.token_stride
        weight, bias = (value.detach().float() for value in prior.classifier_weight())
        rank, evidence = prior.config.classifier_rank, None
        if prior.config.classifier == "evidence":
            evidence = prior.evidence_scale.detach().float() * weight[:, rank:]
        table = likelihood.table.float()
        self.codes = Codes(None, weight[:, :rank].contiguous(), evidence, bias, table.flatten(1))
        self._share = table.mean((2, 3))  # [V, K]
        self._shortlists: dict[tuple[int, int], Codes] = {}
        self._painted: Tensor | None = None
        self._vqvae, self._codec = vqvae, codec

    @property
    def painted(self) -> Tensor:
        """float32 `[V, K*f*f]`, class probabilities of the painted cell of every code."""
        if self._painted is None:
            cells = self._codec.logits(self._vqvae.code_cells().float()).softmax(1)  # [V, K, f, f]
            self._painted = cells.flatten(1)
        return self._painted

    def shortlist(self, rule: int, label: int) -> Codes:
        """Return the codes of a rule for cells of a class, made once."""
        if (rule, label) not in self._shortlists:
            share = self.prior.config.shortlists[rule][1]
            indices = (self._share[:, label] >= share).nonzero()[:, 0]
            # A class that no code paints is left to all codes.
            self._shortlists[rule, label] = self.codes.pick(indices) if len(indices) else self.codes
        return self._shortlists[rule, label]

    @torch.no_grad()
    def read(
        self,
        output: GSSPriorOutput,
        *,
        modes: Collection[str] = (),
        tokens: bool = False,
        summary: bool = False,
        masks: tuple[str, Sequence[MaskRows]] | None = None,
    ) -> TokenReading:
        """Read the tokens of one run of the prior.

        Args:
            output: features and class logits.
            modes: decode modes out of `MODES`.
            tokens: return the most probable tokens.
            summary: return entropy and surprise of the tokens.
            masks: decode mode whose probabilities go into these masks, one an image, and into no map.
        """
        # Sums of log-likelihoods reach some hundreds: half precision would round differences between codes away.
        with torch.autocast(cast(Tensor, output.aux_logits).device.type, enabled=False):
            return self._read(output, modes, tokens, summary, masks)

    def _read(
        self,
        output: GSSPriorOutput,
        modes: Collection[str],
        tokens: bool,
        summary: bool,
        masks: tuple[str, Sequence[MaskRows]] | None,
    ) -> TokenReading:
        features, logits = cast(Tensor, output.features), cast(Tensor, output.aux_logits).float()
        batch, classes, height, width = logits.shape
        f, device = self.stride, logits.device
        shape = (batch, height * width)
        wanted = {*modes, *([masks[0]] if masks else [])}
        cells: dict[str, Tensor] = {}
        if tokens or "hard" in wanted:
            cells["tokens"] = torch.empty(shape, device=device, dtype=torch.int64)
        if summary:
            cells |= {name: torch.empty(shape, device=device, dtype=torch.float32) for name in ("entropy", "surprise")}
        maps = {
            mode: torch.empty(batch, classes, height * f, width * f, device=device, dtype=torch.float32)
            for mode in modes
        }
        mix = not wanted.isdisjoint(("marginal", "fused"))
        limit = CPU_STRIP if device.type == "cpu" else GPU_STRIP
        strips = list(cell_strips(height, width, classes * f * f, limit))
        for b, (top, bottom) in itertools.product(range(batch), strips):
            part = slice(top * width, bottom * width)  # n cells

            # 1. Class probabilities of the auxiliary head at every pixel of the strip: [K, rows*f, W], [n, K*f*f].
            pixels = pixel_rows(logits[b], f, top, bottom)
            beliefs = pixels_to_rows(pixels, f)

            # 2. Posterior over codes, reduced to class probabilities [n, K*f*f] and to numbers per cell [n].
            mixed = torch.empty_like(beliefs) if mix else None
            if mix or cells:
                hidden = self._hidden(features[b, :, top:bottom])
                self._read_strip(hidden, beliefs, mixed, {name: values[b, part] for name, values in cells.items()})

            # 3. Into the maps, [K, rows*f, W], and the masks.
            regions = {mode: values[b, :, top * f : bottom * f] for mode, values in maps.items()}
            if masks and masks[0] not in regions:
                regions[masks[0]] = pixels if masks[0] == "aux" else torch.empty_like(pixels)
            for mode, region in regions.items():
                if mode == "aux":
                    if region is not pixels:
                        region.copy_(pixels)
                    continue
                rows = self.painted.index_select(0, cells["tokens"][b, part]) if mode == "hard" else cast(Tensor, mixed)
                rows_to_pixels(rows, region, f)
                if mode == "fused":
                    region.add_(pixels).div_(2)
            if masks:
                masks[1][b].add(regions[masks[0]])
        grids = {name: values.view(batch, height, width) for name, values in cells.items()}
        return TokenReading(maps, grids["tokens"] if tokens else None, grids.get("entropy"), grids.get("surprise"))

    def _hidden(self, features: Tensor) -> Tensor:
        """Return the input of the token classifier without evidence, `[n, R]`, of features `[D, rows, w]`."""
        rows = rearrange(features, "d h w -> (h w) d").float()
        projection = self.prior.token_proj
        bias = None if projection.bias is None else projection.bias.float()
        return self.prior.token_act(F.linear(rows, projection.weight.flatten(1).float(), bias))

    def _read_strip(self, hidden: Tensor, beliefs: Tensor, mixed: Tensor | None, cells: dict[str, Tensor]) -> None:
        """Read n cells group by group.

        Args:
            hidden: `[n, R]`.
            beliefs: `[n, K*f*f]`.
            mixed: `[n, K*f*f]`, class probabilities to write.
            cells: `[n]` each, tokens, entropy and surprise to write.
        """
        order, groups = self._groups(hidden, beliefs)
        step = CPU_CHUNK if hidden.device.type == "cpu" else GPU_CHUNK
        for codes, first, last in groups:
            for start in range(first, last, step):
                part = slice(start, min(start + step, last))
                if order is None:
                    chunk = {name: values[part] for name, values in cells.items()}
                    self._read_chunk(codes, hidden[part], beliefs[part], None if mixed is None else mixed[part], chunk)
                else:
                    self._read_apart(codes, order[part], hidden, beliefs, mixed, cells)

    def _read_apart(
        self,
        codes: Codes,
        places: Tensor,
        hidden: Tensor,
        beliefs: Tensor,
        mixed: Tensor | None,
        cells: dict[str, Tensor],
    ) -> None:
        """Read the m cells at `places` with a list of codes; see `_read_strip`."""
        # Gathered and put back chunk by chunk, so that they stay in the processor's cache.
        read = None if mixed is None else mixed.new_empty(len(places), mixed.shape[1])
        numbers = {name: values.new_empty(len(places)) for name, values in cells.items()}
        self._read_chunk(codes, hidden.index_select(0, places), beliefs.index_select(0, places), read, numbers)
        if mixed is not None:
            mixed.index_copy_(0, places, cast(Tensor, read))
        for name, values in cells.items():
            values.index_copy_(0, places, numbers[name])

    @staticmethod
    def _read_chunk(
        codes: Codes,
        hidden: Tensor,
        beliefs: Tensor,
        mixed: Tensor | None,
        cells: dict[str, Tensor],
    ) -> None:
        """Read the m cells of a chunk with a list of codes; see `_read_strip`."""
        logits = codes.logits(hidden, beliefs)
        if "tokens" in cells:
            best = logits.argmax(1)
            cells["tokens"].copy_(best if codes.indices is None else codes.indices[best])
        if mixed is None and "entropy" not in cells:
            return
        if "entropy" in cells:
            cells["surprise"].copy_(logits.logsumexp(1) - logits.amax(1))
        probabilities = logits.softmax(1)
        if mixed is not None:
            torch.mm(probabilities, codes.table, out=mixed)
        if "entropy" in cells:
            cells["entropy"].copy_(torch.special.entr(probabilities).sum(1))

    def _groups(self, hidden: Tensor, beliefs: Tensor) -> tuple[Tensor | None, list[tuple[Codes, int, int]]]:
        """Return the order of n cells by group, None as they are, and codes, first and last + 1 cell of each group."""
        rules, area = self.prior.config.shortlists, self.stride**2
        everything = [(self.codes, 0, len(beliefs))]
        if not rules or beliefs.device.type != "cpu":
            return None, everything
        # 1. Certainty and class of each cell; number of the first rule that holds, or the number of rules.
        means = beliefs.view(-1, area) @ beliefs.new_full((area,), 1 / area)
        certainty, label = means.view(len(beliefs), -1).max(1)
        rule = torch.zeros_like(label)
        for least, _ in rules:
            rule += certainty < least

        # 2. All codes for all cells if the shortlists miss too much.
        if self._loss(hidden, beliefs, rule, label) > self.prior.config.shortlist_loss:
            return None, everything

        # 3. Cells of one rule and class together; those without a rule come last.
        classes = beliefs.shape[1] // area
        last = len(rules) * classes
        group = (rule * classes + label).clamp_(max=last)
        ends = torch.bincount(group, minlength=last + 1).cumsum(0).tolist()
        groups = [
            (self.codes if number == last else self.shortlist(*divmod(number, classes)), first, end)
            for number, (first, end) in enumerate(itertools.pairwise([0, *ends]))
            if end > first
        ]
        return group.argsort(), groups

    def _loss(self, hidden: Tensor, beliefs: Tensor, rule: Tensor, label: Tensor) -> float:
        """Return the posterior mass that the shortlists leave out, averaged over a sample of their cells."""
        rules = self.prior.config.shortlists
        sample = (rule < len(rules)).nonzero()[::SAMPLE_STEP, 0]
        if not len(sample):
            return 0.0
        least = torch.tensor([share for _, share in rules])[rule[sample]]
        left_out = self._share.t()[label[sample]] < least[:, None]  # [m, V]
        posterior = self.codes.logits(hidden[sample], beliefs[sample]).softmax(1)
        return (posterior * left_out).sum(1).mean().item()


class KeptReader:
    """Token reader of a pipeline, kept until a weight changes."""

    def __init__(self) -> None:
        self._state: tuple[object, ...] = ()
        self._reader: TokenReader | None = None

    def get(
        self,
        prior: GSSPriorModel,
        vqvae: MaskigeVQModel | None,
        codec: MaskigeCodec,
        likelihood: CellLikelihood | None,
    ) -> TokenReader | None:
        """Return the reader of these components; None if the decoder is contextual or the codec not pointwise."""
        if vqvae is None or likelihood is None or not codec.pointwise:
            return None
        tensors = itertools.chain.from_iterable(
            (*part.parameters(), *part.buffers()) for part in (prior, vqvae, codec, likelihood)
        )
        state = tuple((id(tensor), tensor._version, tensor.device, tensor.dtype) for tensor in tensors)
        if self._reader is None or state != self._state:
            self._state, self._reader = state, TokenReader(prior, vqvae, codec, likelihood)
        return self._reader
