"""Model card: the README.md of a saved pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from torch import nn
from transformers import PreTrainedConfig

from gss import __version__
from gss.core.files import atomic_path
from gss.core.invocation import command_line
from gss.metrics.means import averaged_over
from gss.models.prior import GSSPriorModel
from gss.pipeline.processor import GSSImageProcessor
from gss.pipeline.store.carried import carry_over
from gss.pipeline.store.trained import NOT_RECORDED, TRAINING_DATA
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import swatch
from gss.report.pictures import save_picture
from gss.report.tables import escape_markdown
from vqvae import MaskigeVQModel

# Titles of the numbers of a card, in this order; the evaluation report shows all.
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
RESULTS = "## Results"
NO_RESULTS = "Not recorded; `gss evaluate` measures them."


@dataclass(frozen=True)
class CardFacts:
    """Facts of a pipeline that its card states.

    Attributes:
        names: class names.
        colors: uint8 `[K, 3]`.
        decode_modes: decode modes of the pipeline.
        default_decode: mode used when none is named.
        generative: True with tokens, False for a discriminative network.
        token_stride: pixels per cell side.
        table: rows of the table of the model, title and value.
    """

    names: list[str]
    colors: np.ndarray
    decode_modes: Sequence[str]
    default_decode: str
    generative: bool
    token_stride: int
    table: list[list[str]]


def _backbone(config: PreTrainedConfig) -> str:
    """Return which backbone it is: its architecture, and of one of the user's own its class."""
    own = getattr(config, "target", "")
    return f"{own} (of your own)" if own else config.model_type


def card_facts(
    *,
    processor: GSSImageProcessor,
    prior: GSSPriorModel,
    codec: MaskigeCodec,
    colors: np.ndarray,
    vqvae: MaskigeVQModel | None,
    likelihood: CellLikelihood | None,
    decode_modes: Sequence[str],
    default_decode: str,
) -> CardFacts:
    """Collect the facts of a card from the components of a pipeline, the colours of its classes and its modes."""
    posterior = []
    if vqvae is not None:
        codes = f"{vqvae.codebook_size} codes, {vqvae.token_stride} pixels per cell side"
        posterior = [
            ["VQ posterior", f"{_parameters(vqvae)}, {codes}"],
            ["VQ decoder", "local (a code paints its own cell)" if vqvae.is_local else "contextual"],
            ["maskige inverse", str(codec.config["inverse"])],
            ["exact marginal", "no" if likelihood is None else "yes"],
        ]
    table = [
        ["backbone", _backbone(cast(PreTrainedConfig, prior.config.backbone_config))],
        ["prior", _parameters(prior)],
        *posterior,
        ["resolution", processor.describe()],
        ["saved with", f"gss {__version__}"],
    ]
    return CardFacts(
        names=list(prior.config.id2label.values()),
        colors=colors,
        decode_modes=decode_modes,
        default_decode=default_decode,
        generative=vqvae is not None,
        token_stride=prior.config.token_stride,
        table=table,
    )


def write_card(
    folder: Path,
    facts: CardFacts,
    *,
    metrics: Mapping[str, Any] | None = None,
    measured_on: str | None = None,
    training_data: str | None = None,
    licence: str | None = None,
    before: str = "",
) -> None:
    """Write `README.md` and `palette.png` into `folder`; see `GSSPipeline.save_pretrained`.

    What is not given comes from `before`, the card of the folder that the pipeline was loaded from.
    """
    save_picture(folder / "palette.png", swatch(facts.colors, facts.names))
    card = render_card(facts, metrics=metrics, measured_on=measured_on, training_data=training_data, licence=licence)
    if before:
        measured = [] if metrics else ["Results", "Classes", "Limits"]
        own = {"Training data": training_data, "Licence": licence}
        keys = [*([] if metrics else ["model-index"]), *([] if licence else ["license"])]
        card = carry_over(card, before, [*measured, *(title for title, given in own.items() if not given)], keys)
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")


def render_card(
    facts: CardFacts,
    *,
    metrics: Mapping[str, Any] | None = None,
    measured_on: str | None = None,
    training_data: str | None = None,
    licence: str | None = None,
) -> str:
    """Render the model card as Markdown; arguments as in `GSSPipeline.save_pretrained`."""
    columns = _columns(metrics)
    made_by = command_line() if metrics else ""
    parts = [
        f"---\n{_metadata(facts, columns, measured_on or training_data, licence)}---",
        f"# Generative semantic segmentation, {len(facts.names)} classes",
        _GENERATIVE if facts.generative else _DISCRIMINATIVE,
        f"## Use\n\n```python\n{_usage(facts)}```\n\nShell: `gss predict FOLDER images/*.jpg --out predictions`.",
        "## Model\n\n" + _table(["", ""], facts.table),
        f"{TRAINING_DATA}\n\n" + (training_data or NOT_RECORDED),
        f"{RESULTS}\n\n" + (_measured(columns, measured_on, made_by) if columns else NO_RESULTS),
        "## Classes\n\n![palette](palette.png)\n\n" + _classes(facts, columns),
        "## Limits\n\n" + _limits(facts),
        "## Licence\n\n" + (licence or NOT_RECORDED),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(
    facts: CardFacts, columns: Mapping[str, Mapping[str, Any]], measured_on: str | None, licence: str | None
) -> str:
    """Return the YAML at the head of the card, with results in the form of the hub's model index."""
    head: dict[str, Any] = {"library_name": "gss", "pipeline_tag": "image-segmentation"}
    head["tags"] = ["semantic-segmentation"]
    if licence:
        head["license"] = licence
    result = hub_result(columns, measured_on or "validation data")
    if result["metrics"]:
        head["model-index"] = [{"name": f"gss, {len(facts.names)} classes", "results": [result]}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def hub_result(columns: Mapping[str, Mapping[str, Any]], measured_on: str) -> dict[str, Any]:
    """Return an entry of the hub's model index; shares stay fractions there."""
    figures = [
        {"type": key, "name": title if mode == "value" else f"{title} ({mode})", "value": float(values[key])}
        for mode, values in columns.items()
        for key, title in METRICS.items()
        if values.get(key) is not None and values[key] == values[key]
    ]
    task = {"type": "image-segmentation", "name": "Semantic segmentation"}
    return {"task": task, "dataset": {"type": "custom", "name": measured_on}, "metrics": figures}


def _usage(facts: CardFacts) -> str:
    return (
        "from gss import GSSPipeline\n\n"
        'pipeline = GSSPipeline.from_pretrained("FOLDER")\n'
        'output = pipeline("image.jpg")\n'
        "mask = output.masks[0]              # uint8 [H, W], class of every pixel\n"
        "confidence = output.confidence[0]   # float32 [H, W]\n"
        "for segment in pipeline.segments(output)[0]:\n"
        '    print(segment["label"], segment["score"])\n'
        f"# decode: {', '.join(facts.decode_modes)} (default {facts.default_decode})\n"
    )


def _parameters(module: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.2f} M parameters"


def _columns(metrics: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Arrange metrics by decode mode; flat metrics become one column."""
    if not metrics:
        return {}
    nested = {mode: values for mode, values in metrics.items() if isinstance(values, Mapping)}
    return nested or {"value": metrics}


def _measured(columns: Mapping[str, Mapping[str, Any]], measured_on: str | None, made_by: str) -> str:
    """Return the results, under a heading of what they were measured on if that is known."""
    parts = [measured_on and f"### {measured_on}", results_table(columns), made_with(made_by)]
    return "\n\n".join(filter(None, parts))


def made_with(command: str) -> str:
    """Return the line of a card that names the command behind figures; empty without a command."""
    return f"Made with `{command}`." if command else ""


def results_table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the metrics by decode mode, and what their means go over."""
    rows = [
        [title, *(number(values.get(key)) for values in columns.values())]
        for key, title in METRICS.items()
        if any(values.get(key) is not None for values in columns.values())
    ]
    fewer = {mode: averaged_over(values["iou"]) for mode, values in columns.items() if values.get("iou")}
    notes = [f"Means of {mode} go over {over}; the others occur nowhere." for mode, over in fewer.items() if over]
    return "\n\n".join([_table(["", *columns], rows), *notes])


def _classes(facts: CardFacts, columns: Mapping[str, Mapping[str, Any]]) -> str:
    per_class = {mode: values["iou"] for mode, values in columns.items() if values.get("iou") is not None}
    rows = []
    for index, name in enumerate(facts.names):
        red, green, blue = (int(channel) for channel in facts.colors[index])
        # A class absent from the evaluated data has no IoU and is not counted.
        scores = [number(scores[index]) for scores in per_class.values()]
        rows.append([str(index), name, f"`#{red:02x}{green:02x}{blue:02x}`", *scores])
    titles = [f"IoU {mode}" if mode != "value" else "IoU" for mode in per_class]
    return _table(["index", "class", "colour", *titles], rows)


def _limits(facts: CardFacts) -> str:
    cell = facts.token_stride
    return (
        f"- Detail is bounded by what {cell}x{cell} pixel cells can say.\n"
        "- Every pixel gets one of the classes above, also where the image shows none of them.\n"
        "- Confidence is only as calibrated as the data above resembles the images it is used on."
    )


def number(value: float | None) -> str:
    """Return a share in percent; a dash without a value."""
    return "-" if value is None or value != value else f"{value:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def shown(cell: str) -> str:
        return cell if cell.startswith("`") else escape_markdown(cell)

    lines = ["| " + " | ".join(map(shown, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])
