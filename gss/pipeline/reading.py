"""Reading one run of the prior: class probabilities by decode mode, tokens, inputs of scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor

from gss.models.density import GMMDensityHead
from gss.models.joint import JointPriorModel
from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.models.residual import ResidualPatternHead, perturbed_logits
from gss.ood import FittedScores, OODScore, ScoreInputs
from gss.pipeline.decode import decode, modes_read, product, run_decode
from gss.pipeline.masks import STRIP, MaskRows, cell_strips, pixel_rows
from gss.pipeline.sampling.refined import refine
from gss.pipeline.tokens import MODES as TOKEN_MODES
from gss.pipeline.tokens import TokenReader, TokenReading
from gss.pipeline.windows import Dense
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel


@dataclasses.dataclass(frozen=True)
class Reader:
    """Components of a pipeline that turn a batch of images into maps; see `GSSPipeline` for each.

    With a `token_reader` tokens are read strip by strip, and with all codes only where there is doubt. Without one, all
    token logits `[B, V, h, w]` are computed first.
    """

    prior: GSSPriorModel
    codec: MaskigeCodec
    vqvae: MaskigeVQModel | None = None
    likelihood: CellLikelihood | None = None
    density: GMMDensityHead | None = None
    ood: FittedScores | None = None
    residual: ResidualPatternHead | None = None
    joint: JointPriorModel | None = None
    token_reader: TokenReader | None = None

    @property
    def feature_source(self) -> str:
        """Features that the density head and fitted scores describe, see `GSSPriorModel.dense_features`."""
        part = self.density or self.ood
        return "head" if part is None else part.source

    @property
    def token_mode(self) -> str:
        """Decode mode of the tokens: exact where there is a code table."""
        return "hard" if self.likelihood is None else "marginal"

    def run(self, images: Tensor, *, return_tokens: bool = True, return_maps: bool = False) -> GSSPriorOutput:
        """Run the prior on `[B, 3, H, W]` in [0, 1], H and W multiples of its stride; logits in float32."""
        out = self.prior(
            images.to(self.prior.dtype), return_tokens=return_tokens, return_hidden=False, return_maps=return_maps
        )
        # Softmax over thousands of codes, and likelihoods, need more than 8 or 11 bits.
        logits = {"aux_logits": cast(Tensor, out.aux_logits).float()}
        if out.token_logits is not None:
            logits["token_logits"] = out.token_logits.float()
        return dataclasses.replace(out, **logits)

    def decode(
        self, output: GSSPriorOutput, mode: str, size: tuple[int, int], *, known: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Decode class probabilities, float32 `[B, K, H, W]`.

        Args:
            output: result of `run`.
            mode: decode mode of the pipeline.
            size: H and W of the images that the prior ran on.
            known: results of other modes for the same output; "joint" takes its parts from there.
        """
        if mode == "density":
            head = cast(GMMDensityHead, self.density)
            logits = head(self.prior.dense_features(output, head.source))
            return F.interpolate(logits.clamp(min=-1e4), size=size, mode="bilinear").softmax(1)
        if mode == "joint":
            known = known or {}
            tokens, density = (
                known[part] if part in known else self.decode(output, part, size)
                for part in (self.token_mode, "density")
            )
            return product(tokens, density)
        if read := modes_read(mode):
            known = known or {}
            maps = {part: known[part] if part in known else self.decode(output, part, size) for part in read}
            return run_decode(mode, maps)
        if mode == "refined":
            return refine(cast(JointPriorModel, self.joint), cast(CellLikelihood, self.likelihood), output)
        if self.vqvae is None:
            logits = cast(Tensor, output.aux_logits)
            return F.interpolate(logits, size=size, mode="bilinear").softmax(1)
        return decode(mode, output, vqvae=self.vqvae, codec=self.codec, likelihood=self.likelihood)

    def score_inputs(
        self,
        output: GSSPriorOutput,
        size: tuple[int, int],
        needs: Collection[str],
        source: str | None = None,
        *,
        reading: TokenReading | None = None,
        wanted: Iterable[str] = (),
    ) -> ScoreInputs:
        """Collect what out-of-distribution scores read of one run.

        Args:
            output: result of `run`, with tokens and maps if needed.
            size: H and W of the images that the prior ran on.
            needs: needs of the scores, see `OODScore.needs`.
            source: features to describe; `feature_source` if None.
            reading: result of the token reader, instead of token logits in `output`.
            wanted: names of the scores, see `ScoreInputs`.
        """
        decoded = entropy = surprise = None
        if reading is not None:
            decoded = reading.probabilities.get(self.token_mode)
            surprise = reading.surprise
            if reading.entropy is not None:
                entropy = reading.entropy / math.log(max(2, self.prior.config.codebook_size))
        if decoded is None and "decoded" in needs:
            decoded = self.decode(output, self.token_mode, size)
        source = source or self.feature_source
        # Source "context": scores of single cells are computed where the features are, and enlarged.
        ratio = cast(int, self.prior.config.context_stride) // self.prior.config.token_stride
        coarse = cast(Tensor, output.fused).float() if source == "context" and ratio > 1 else None
        return ScoreInputs(
            logits=cast(Tensor, output.aux_logits),
            features=self.prior.dense_features(output, source).float(),
            coarse=coarse,
            ratio=ratio,
            wanted=frozenset(wanted),
            size=size,
            token_logits=output.token_logits,
            decoded=decoded,
            token_entropy=entropy,
            token_surprise=surprise,
            perturbed=perturbed_logits(self.prior, self.residual, output)
            if "residual" in needs and self.residual is not None
            else None,
        )

    def dense(
        self,
        images: Tensor,
        modes: Sequence[str],
        scores: Mapping[str, OODScore],
        *,
        with_tokens: bool,
        masks: tuple[str, Sequence[MaskRows]] | None = None,
    ) -> Dense:
        """Compute the maps of a batch.

        Args:
            images: float `[B, 3, H, W]` in [0, 1], H and W multiples of the prior's stride.
            modes: decode modes to compute.
            scores: scores to compute, by name.
            with_tokens: also return the most probable tokens.
            masks: decode mode whose probabilities go into these masks, one an image, and into no map.
        """
        # 1. One run of the prior; its token logits [B, V, h, w] only if something reads all of them.
        masked = {masks[0]} if masks else set()
        needs = {need for score in scores.values() for need in score.needs}
        wanted = {*modes, *masked}
        read_tokens = with_tokens or "tokens" in needs or not wanted <= {"aux", "density"}
        token_reader = self.token_reader if read_tokens else None
        all_logits = read_tokens and (token_reader is None or "refined" in wanted)
        output = self.run(images, return_tokens=all_logits, return_maps="residual" in needs)
        size = (images.shape[-2], images.shape[-1])

        # 2. Tokens in strips, with the modes that read them, [B, K, H, W] each, and masks.
        reading = None
        if token_reader is not None:
            parts = {part for mode in wanted for part in modes_read(mode)}
            read = {mode for mode in {*modes, *parts} if mode in TOKEN_MODES}
            read |= {self.token_mode} if "decoded" in needs or "joint" in wanted else set()
            strips = masks if masked <= set(TOKEN_MODES) else None
            reading = token_reader.read(output, modes=read, tokens=with_tokens, summary="tokens" in needs, masks=strips)
            masks = None if strips else masks

        # 3. Class probabilities of each mode, [B, K, H, W]; masks that are still to be filled.
        known = {} if reading is None else dict(reading.probabilities)
        for mode in modes:
            if mode not in known:
                known[mode] = self.decode(output, mode, size, known=known)
        if masks:
            self._fill(masks[0], masks[1], output, size, known)
        maps = {mode: known[mode] for mode in modes}

        # 4. Scores, enlarged to [B, 1, H, W].
        if scores:
            inputs = self.score_inputs(output, size, needs, reading=reading, wanted=scores)
            for name, score in scores.items():
                maps[name] = F.interpolate(score(inputs)[:, None], size=size, mode="bilinear")

        # 5. Tokens, [B, h, w].
        if not with_tokens:
            return Dense(maps, None)
        return Dense(maps, cast(Tensor, output.token_logits).argmax(1) if reading is None else reading.tokens)

    def _fill(
        self,
        mode: str,
        masks: Sequence[MaskRows],
        output: GSSPriorOutput,
        size: tuple[int, int],
        known: Mapping[str, Tensor],
    ) -> None:
        """Fill masks with the class probabilities of a mode; see `decode`."""
        if mode == "aux":
            stride = self.prior.config.token_stride
            for logits, mask in zip(cast(Tensor, output.aux_logits), masks, strict=True):
                classes, height, width = logits.shape
                for top, bottom in cell_strips(height, width, classes * stride**2, STRIP):
                    mask.add(pixel_rows(logits, stride, top, bottom))
            return
        values = known[mode] if mode in known else self.decode(output, mode, size, known=known)
        for probabilities, mask in zip(values, masks, strict=True):
            mask.add(probabilities)
