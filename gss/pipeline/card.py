"""The README.md that lies next to a saved pipeline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gss import __version__
from gss.core.files import atomic_path
from gss.posterior.palette import swatch

if TYPE_CHECKING:
    from gss.pipeline.pipeline import GSSPipeline


# Titles of the numbers that belong into a card, in this order; others are left to the evaluation report.
METRICS = {
    "miou": "mIoU",
    "accuracy": "pixel accuracy",
    "mean_accuracy": "mean class accuracy",
    "fwiou": "frequency-weighted IoU",
    "boundary_f": "boundary F (3 px)",
    "ece": "expected calibration error",
}

_GENERATIVE = (
    "A latent prior predicts discrete tokens from an image; a VQ decoder turns them into a colour-coded mask"
    ' (a "maskige"), and the codec turns colours into classes.'
)
_DISCRIMINATIVE = (
    "The discriminative baseline: the network of a latent prior, trained with its auxiliary pixel head alone."
)
_NOT_RECORDED = "Not recorded."


def write_card(
    folder: Path,
    pipeline: GSSPipeline,
    *,
    metrics: Mapping[str, Any] | None = None,
    training_data: str | None = None,
) -> None:
    """Writes `README.md` and `palette.png` into `folder`; see `GSSPipeline.save_pretrained`."""
    names = list(pipeline.id2label.values())
    with atomic_path(folder / "palette.png") as temporary:
        swatch(pipeline.colors, names).save(temporary)
    with atomic_path(folder / "README.md") as temporary:
        card = render_card(pipeline, metrics=metrics, training_data=training_data)
        temporary.write_text(card, encoding="utf-8")


def render_card(
    pipeline: GSSPipeline, *, metrics: Mapping[str, Any] | None = None, training_data: str | None = None
) -> str:
    """Markdown of the model card; arguments as in `GSSPipeline.save_pretrained`."""
    columns = _columns(metrics)
    parts = [
        "---\nlibrary_name: gss\npipeline_tag: image-segmentation\ntags:\n- semantic-segmentation\n---",
        f"# Generative semantic segmentation, {len(pipeline.id2label)} classes",
        _GENERATIVE if pipeline.vqvae is not None else _DISCRIMINATIVE,
        f"## Use\n\n```python\n{_usage(pipeline)}```\n\nShell: `gss predict FOLDER images/*.jpg --out predictions`.",
        "## Model\n\n" + _table(["", ""], _facts(pipeline)),
        "## Training data\n\n" + (training_data or _NOT_RECORDED),
        "## Results\n\n" + (_results(columns) if columns else "Not recorded; `gss evaluate` measures them."),
        "## Classes\n\n![palette](palette.png)\n\n" + _classes(pipeline, columns),
        "## Limits\n\n" + _limits(pipeline),
    ]
    return "\n\n".join(parts) + "\n"


def read_training_data(folder: str | os.PathLike[str]) -> str | None:
    """What the card in a pipeline's folder says about training data; None without a card or a record.

    Args:
        folder: what `GSSPipeline.save_pretrained` wrote.
    """
    card = Path(folder) / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    _, _, below = text.partition("\n## Training data\n\n")
    recorded = below.partition("\n")[0].strip()
    return recorded if recorded and recorded != _NOT_RECORDED else None


def _usage(pipeline: GSSPipeline) -> str:
    mode = pipeline.default_decode
    return (
        "from gss import GSSPipeline\n\n"
        'pipeline = GSSPipeline.from_pretrained("FOLDER")\n'
        'output = pipeline("image.jpg")\n'
        "mask = output.masks[0]              # uint8 [H, W], class of every pixel\n"
        "confidence = output.confidence[0]   # float32 [H, W]\n"
        "for segment in pipeline.segments(output)[0]:\n"
        '    print(segment["label"], segment["score"])\n'
        f"# decode: {', '.join(pipeline.decode_modes)} (default {mode})\n"
    )


def _facts(pipeline: GSSPipeline) -> list[list[str]]:
    prior, vqvae, processor = pipeline.prior, pipeline.vqvae, pipeline.processor
    backbone = prior.config.backbone_config
    if processor.size is not None:
        resolution = "resized to {}x{} (height x width)".format(*processor.size)
    elif processor.short_side is not None:
        resolution = f"shorter side resized to {processor.short_side}"
    else:
        resolution = "as given"
    posterior = []
    if vqvae is not None:
        codes = f"{vqvae.codebook_size} codes, {vqvae.downsample} pixels per cell side"
        posterior = [
            ["VQ posterior", f"{_parameters(vqvae)}, {codes}"],
            ["VQ decoder", "local (a code paints its own cell)" if vqvae.is_local else "contextual"],
            ["maskige inverse", str(pipeline.codec.config["inverse"])],
            ["exact marginal", "no" if pipeline.likelihood is None else "yes"],
        ]
    return [
        ["backbone", f"{backbone.model_type}"],
        ["prior", _parameters(prior)],
        *posterior,
        ["resolution", resolution],
        ["saved with", f"gss {__version__}"],
    ]


def _parameters(module: Any) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.2f} M parameters"


def _columns(metrics: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Decode mode to metrics; flat metrics become one column."""
    if not metrics:
        return {}
    nested = {mode: values for mode, values in metrics.items() if isinstance(values, Mapping)}
    return nested or {"value": metrics}


def _results(columns: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [title, *(_number(values.get(key)) for values in columns.values())]
        for key, title in METRICS.items()
        if any(values.get(key) is not None for values in columns.values())
    ]
    return _table(["", *columns], rows)


def _classes(pipeline: GSSPipeline, columns: Mapping[str, Mapping[str, Any]]) -> str:
    per_class = {mode: values["iou"] for mode, values in columns.items() if values.get("iou") is not None}
    rows = []
    for index, name in pipeline.id2label.items():
        red, green, blue = (int(channel) for channel in pipeline.colors[index])
        # A class absent from the evaluated data has no IoU and is not counted.
        scores = [_number(scores[index]) for scores in per_class.values()]
        rows.append([str(index), name, f"`#{red:02x}{green:02x}{blue:02x}`", *scores])
    titles = [f"IoU {mode}" if mode != "value" else "IoU" for mode in per_class]
    return _table(["index", "class", "colour", *titles], rows)


def _limits(pipeline: GSSPipeline) -> str:
    cell = pipeline.prior.config.token_stride
    return (
        f"- Detail is bounded by what {cell}x{cell} pixel cells can say.\n"
        "- Every pixel gets one of the classes above, also where the image shows none of them.\n"
        "- Confidence is only as calibrated as the data above resembles the images it is used on."
    )


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])
