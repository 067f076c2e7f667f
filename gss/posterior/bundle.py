"""Posterior: codec, VQ model, code table and class names of stage 1 in one folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.lookup.run_folders import find_posterior
from gss.labels.space import IGNORE_INDEX, IGNORE_TOKEN, LabelSpace
from gss.models.gaussians import full_precision
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import build
from vqvae import MaskigeVQModel


@dataclass
class Posterior:
    """q(z | c) and p(c | z), with the label space they belong to.

    Attributes:
        codec: converter of labels to maskiges and back.
        vqvae: model of maskiges and tokens.
        likelihood: code table; None if the decoder is contextual.
        label_space: class names and display colours.
    """

    codec: MaskigeCodec
    vqvae: MaskigeVQModel
    likelihood: CellLikelihood | None
    label_space: LabelSpace

    @classmethod
    def placeholder(cls, space: LabelSpace) -> Posterior:
        """Build a palette and cell size for a network without tokens; its VQ model is untrained."""
        colors = [[int(v) for v in color] for color in build("maxmin", space.num_classes, 0)]
        return cls(MaskigeCodec(colors), MaskigeVQModel(), None, space)

    def tokens(self, labels: Tensor, filled: Tensor) -> Tensor:
        """Encode label maps, int64 `[B, H, W]`, as tokens, int64 `[B, h, w]`, -100 where a cell is wholly void.

        A local posterior chooses the code of greatest likelihood of the valid pixels; a contextual one encodes the
        painted map.

        Args:
            labels: label maps, 255 where void.
            filled: label maps with void replaced, for the encoder.
        """
        if self.likelihood is not None:
            return self.likelihood.tokens(labels)
        with full_precision(labels.device):  # targets are the same whatever a network is trained in
            tokens = self.vqvae.encode(self.codec.encode(filled).to(self.vqvae.dtype)).indices
        return tokens.masked_fill(~_any_valid(labels, self.vqvae.token_stride), IGNORE_TOKEN)

    def to(self, device: torch.device) -> Posterior:
        """Move all parts to a device, in place."""
        for part in (self.codec, self.vqvae, self.likelihood):
            if part is not None:
                part.to(device)
        return self

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts into `folder`."""
        self.codec.save_pretrained(folder / "codec")
        self.vqvae.save_pretrained(folder / "vqvae")
        if self.likelihood is not None:
            self.likelihood.save_pretrained(folder / "likelihood")
        write_json(folder / "posterior.json", {"label_space": self.label_space.to_dict()})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Posterior:
        """Read what `save_pretrained` wrote; the run or job around it works too, see `find_posterior`.

        Raises:
            InputError: the folder holds no posterior, or a damaged one.
        """
        folder = find_posterior(folder)
        local = (folder / "likelihood").is_dir()
        try:
            return cls(
                codec=MaskigeCodec.from_pretrained(folder / "codec").eval(),
                vqvae=MaskigeVQModel.from_pretrained(folder / "vqvae").eval(),
                likelihood=CellLikelihood.from_pretrained(folder / "likelihood").eval() if local else None,
                label_space=LabelSpace.from_dict(json.loads((folder / "posterior.json").read_text())["label_space"]),
            )
        # diffusers and safetensors raise many types here; for the user they are all one thing.
        except Exception as error:
            raise InputError(f"cannot load the posterior at {folder}: {' '.join(str(error).split())}") from error


def _any_valid(labels: Tensor, token_stride: int) -> Tensor:
    """Tell for each cell if it has a valid pixel: bool `[B, h, w]`."""
    valid = (labels != IGNORE_INDEX).float()[:, None]
    return torch.nn.functional.max_pool2d(valid, token_stride)[:, 0] > 0
