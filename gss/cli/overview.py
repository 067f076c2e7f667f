"""The map of all commands, which `gss` and `gss --help` print, and three examples for the help of each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from gss.training.stages import STAGES

Examples = tuple[tuple[str, str], ...]
"""What an example does, and its command line."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Start": ("quickstart", "zoo"),
    "Data": ("data init", "data check", "data map", "data mix", "data shifts", "palette"),
    "Train": ("train", "config", "recon", "compare", "transfer"),
    "Train from weak labels": (
        *("weak run", "weak make", "weak import", "weak refine", "weak produce", "weak collect", "weak seeds"),
        "weak report",
    ),
    "Measure": ("evaluate", "evaluate-shifts", "cross-domain", "evaluate-ood", "evaluate-samples"),
    "Use": ("predict", "sample", "complete", "generate", "export", "demo"),
}
"""Heading to commands, in the order of the map; commands that stand nowhere come last."""

STAGE_HELP: Mapping[str, str] = {
    "posterior": "learns to paint masks with a small vocabulary of codes (stage 1)",
    "prior": "learns to predict these codes from photographs (stage 2), and writes the pipeline",
    "twin": "learns the same without codes: the baseline to compare with",
    "density": "adds a density of features to a pipeline, which finds unknown objects",
    "joint": "adds a joint prior to a pipeline, which draws and completes masks",
    "residual": "adds a head to a pipeline that is trained on pasted unknown objects",
    "weak-agmm": "learns masks from clicks, scribbles, blocks or boxes",
    "weak-tags": "learns to tell classes from image tags alone",
}
"""Stage of `gss train` to what it does."""

_PRIOR = "gss train prior data.spec=photos posterior=runs/posterior --out runs/prior"

EXAMPLES: Mapping[str, Examples] = {
    "export": (
        ("write an ONNX file", "gss export runs/prior --size 360x480"),
        (
            "also with 8-bit integers, compared on your data",
            "gss export runs/prior --size 360x480 --int8 --data photos",
        ),
        ("write an archive for torch", "gss export runs/prior --size 360x480 --pt2 model.pt2"),
    ),
    "demo": (
        ("write a page that runs in the browser", "gss demo runs/prior --out page"),
        ("at another size, in a smaller file", "gss demo runs/prior --size 256x320 --int8 --out page"),
        ("use a file that is exported already", "gss demo runs/prior --onnx model.onnx --out page"),
    ),
    "quickstart": (
        ("train and measure on generated street scenes", "gss quickstart --out runs/quickstart"),
        ("the same with your images and masks", "gss quickstart --data photos --out runs/mine"),
        ("only what masks need", "gss quickstart --data photos --stages posterior,prior --out runs/mine"),
    ),
    "zoo": (
        ("list the pipelines that come with gss", "gss zoo"),
        ("list those of a folder", "gss zoo --folder models"),
        ("write the list for a program", "gss zoo --json zoo.json"),
    ),
    "data init": (
        ("understand a folder and write FOLDER/data.yaml", "gss data init photos"),
        ("decide between two readings", "gss data init photos 'mask=labels/{id}.*'"),
        ("name the classes", "gss data init photos 'classes=[background, sheep]' --out sheep.yaml"),
    ),
    "data check": (
        ("read every file of a folder", "gss data check photos"),
        ("draw some images with their masks", "gss data check photos --sheet sheet.png"),
        ("check one split of a known data set", "gss data check camvid --root data/camvid --split val"),
    ),
    "data map": (
        ("see what one data set calls the classes of another", "gss data map camvid cityscapes"),
        ("write the mapping to correct it", "gss data map camvid photos --out map.yaml"),
        ("start from the classes of a pipeline", "gss data map runs/quickstart cityscapes"),
    ),
    "data mix": (
        ("look at pasted objects", "gss data mix scenes --objects scenes_outliers --preview mix.png"),
        ("use a folder of cutouts", "gss data mix photos --objects cutouts --preview mix.png"),
        ("read another split", "gss data mix photos --split val --objects cutouts --preview mix.png"),
    ),
    "data shifts": (
        ("draw an image under every shift", "gss data shifts photos --sheet shifts.png"),
        ("draw some shifts only", "gss data shifts photos --shifts fog,noise --sheet shifts.png"),
        ("draw weak and strong ones", "gss data shifts photos --severities 1,5 --sheet shifts.png"),
    ),
    "palette": (
        ("choose 19 colours far apart", "gss palette 19"),
        ("draw them", "gss palette 19 --out palette.png"),
        ("choose others", "gss palette 19 --seed 1"),
    ),
    "train": (
        ("stage 1", "gss train posterior data.spec=photos --out runs/posterior"),
        (
            "stage 2, which writes the pipeline",
            "gss train prior data.spec=photos posterior=runs/posterior --out runs/prior",
        ),
        (
            "continue after an interruption",
            _PRIOR + " --resume",
        ),
    ),
    "config": (
        ("see all settings of stage 2", "gss config prior"),
        ("see those of the twin", "gss config twin"),
        ("write a file to edit", "gss config prior train.steps=5000 > my_prior.yaml"),
    ),
    "recon": (
        ("measure the best masks that codes can paint", "gss recon runs/posterior --data photos"),
        ("compare two posteriors", "gss recon runs/posterior runs/other --data photos"),
        ("measure a few images", "gss recon runs/posterior --data photos --limit 20"),
    ),
    "compare": (
        (
            "the variants of the paper's Table 1",
            "gss compare posterior.yaml --variants ff ft tt --out runs/variants",
        ),
        ("compare files of your own", "gss compare posterior.yaml --variants small.yaml large.yaml --out runs/sizes"),
        ("train one again", "gss compare posterior.yaml --variants ff ft tt --out runs/variants --redo ft"),
    ),
    "transfer": (
        (
            "give a posterior the classes of your data",
            "gss transfer runs/posterior --data photos --out runs/moved",
        ),
        ("name the folder of the data", "gss transfer runs/posterior --data camvid --root data --out runs/moved"),
        ("measure a few images", "gss transfer runs/posterior --data photos --limit 20 --out runs/moved"),
    ),
    "weak run": (
        (
            "from clicks to a pipeline",
            "gss weak run --images photos --labels clicks.json --classes c.txt --out runs/weak",
        ),
        ("a data set that describes its weak labels", "gss weak run clicks.yaml --out runs/weak"),
        ("measure on full masks", "gss weak run clicks.yaml --val photos:val --out runs/weak"),
    ),
    "weak make": (
        ("weaken masks to scribbles", "gss weak make photos --form scribbles --out weak/scribbles"),
        ("keep a fifth of the pixels", "gss weak make photos --form blocks --out weak/blocks share=0.2"),
        ("click every class 20 times", "gss weak make photos --form points --out weak/points mode=class count=20"),
    ),
    "weak import": (
        ("use masks made elsewhere", "gss weak import photos --masks sam_masks --out pseudo"),
        ("with their confidence", "gss weak import photos --masks sam_masks --confidence scores --out pseudo"),
        ("say who made them", "gss weak import photos --masks sam_masks --producer sam --out pseudo"),
    ),
    "weak refine": (
        ("spread labels along the edges of images", "gss weak refine clicks.yaml --out refined"),
        ("of another split", "gss weak refine clicks.yaml --split val --out refined"),
        ("replace an earlier result", "gss weak refine clicks.yaml --out refined --overwrite"),
    ),
    "weak produce": (
        ("write masks with a trained teacher", "gss weak produce runs/weak --data clicks.yaml --out pseudo"),
        ("with a tag classifier", "gss weak produce runs/tags --data tags.yaml --out pseudo"),
        ("of another split", "gss weak produce runs/weak --data clicks.yaml --split val --out pseudo"),
    ),
    "weak collect": (
        ("find images that confuse a tag classifier", "gss weak collect runs/tags --images others --out review"),
        ("keep the surest of each class", "gss weak collect runs/tags --images others --per-class 20 --out review"),
        ("link to them", "gss weak collect runs/tags --images others --link --out review"),
    ),
    "weak seeds": (
        ("measure activation maps", "gss weak seeds runs/tags --data tags.yaml"),
        ("compare two classifiers", "gss weak seeds runs/tags runs/other --data tags.yaml"),
        ("against other masks", "gss weak seeds runs/tags --data tags.yaml --truth photos"),
    ),
    "weak report": (
        ("see how much is labelled", "gss weak report clicks.yaml"),
        ("compare with full masks", "gss weak report pseudo --truth photos"),
        ("write a page", "gss weak report pseudo --truth photos --html report.html"),
    ),
    "evaluate": (
        ("measure a pipeline", "gss evaluate runs/quickstart --data scenes"),
        ("write a page with pictures", "gss evaluate runs/prior --data photos --html report.html"),
        ("measure a few images", "gss evaluate runs/prior --data photos --limit 20"),
    ),
    "evaluate-shifts": (
        ("measure under noise, blur and weather", "gss evaluate-shifts --pipelines runs/prior --data photos"),
        (
            "compare two pipelines",
            "gss evaluate-shifts --pipelines runs/prior runs/twin --data photos --html s.html",
        ),
        ("fog and rain alone", "gss evaluate-shifts --pipelines runs/prior --data photos --shifts fog,rain"),
    ),
    "cross-domain": (
        ("measure on other data", "gss cross-domain --pipelines runs/prior --data photos other"),
        ("compare two pipelines", "gss cross-domain --pipelines runs/prior runs/twin --data photos other"),
        ("write a page", "gss cross-domain --pipelines runs/prior --data photos other --html cross.html"),
    ),
    "evaluate-ood": (
        ("measure scores for unknown objects", "gss evaluate-ood runs/quickstart/density --data scenes_unknown"),
        ("some scores only", "gss evaluate-ood runs/prior --data scenes_unknown --scores entropy,max_logit"),
        ("a public benchmark", "gss evaluate-ood runs/prior --data smiyc_anomaly21 --root data"),
    ),
    "evaluate-samples": (
        ("measure hypotheses, completion and generated masks", "gss evaluate-samples runs/joint --data photos"),
        (
            "some parts, with a page",
            "gss evaluate-samples runs/joint --data photos --parts bits,hypotheses --html samples.html",
        ),
        ("a few images", "gss evaluate-samples runs/joint --data photos --limit 20 --completed 4,2"),
    ),
    "sample": (
        ("draw eight masks of a photograph", "gss sample runs/joint photo.jpg --out drawn"),
        ("sixteen, in more steps", "gss sample runs/joint photos --out drawn -n 16 --steps 16"),
        ("sharper ones", "gss sample runs/joint photo.jpg --out drawn --temperature 0.7 --sweeps 2"),
    ),
    "complete": (
        ("complete masks, 255 where unknown", "gss complete runs/joint partial --images photos --out full"),
        ("without the images", "gss complete runs/joint partial --out full"),
        ("from clicks or scribbles of a data set", "gss complete runs/joint --data clicks.yaml --out full"),
    ),
    "generate": (
        ("imagine six masks", "gss generate runs/joint --out imagined"),
        ("wide ones", "gss generate runs/joint --out imagined --size 192x768 -n 20"),
        ("with wanted shares of classes", "gss generate runs/joint --out imagined --proportions road=0.4,sky=0.6"),
    ),
    "predict": (
        ("segment photographs", "gss predict runs/quickstart photo.jpg --out masks"),
        ("a folder, on a GPU", "gss predict runs/prior photos --out masks --device cuda"),
        ("average with the mirrored image", "gss predict runs/prior 'photos/*.jpg' --out masks --flip"),
    ),
}
"""Command to three examples."""

_TAIL = """\
Help for a command with examples: gss COMMAND --help. Version: gss --version.
A mistake in the input ends with one line and exit code 2; GSS_DEBUG=1 shows the traceback."""


def overview(helps: Mapping[str, str]) -> str:
    """Return the map of all commands.

    Args:
        helps: command, such as "data check", to its help in a line.
    """
    placed = [name for names in SECTIONS.values() for name in names]
    sections = {**SECTIONS, "More": tuple(name for name in helps if name not in placed)}
    lines = [
        "usage: gss COMMAND ...",
        "",
        "Generative semantic segmentation: trains, measures and uses models of masks.",
    ]
    for title, names in sections.items():
        known = [name for name in names if name in helps]
        lines += ["", title] if known else []
        for name in known:
            lines.append(_row(f"  gss {name}", helps[name]))
            if name == "train":
                lines += [_row(f"    {stage}", text) for stage, text in STAGE_HELP.items()]
    first = EXAMPLES["quickstart"][0][1], EXAMPLES["quickstart"][1][1], EXAMPLES["predict"][0][1]
    lines += ["", "Three commands to begin with", *(f"  {command}" for command in first), "", _TAIL]
    return "\n".join(lines) + "\n"


def epilog(command: str) -> str:
    """Return what follows the options in the help of a command: the stages, and examples."""
    parts = []
    if command in ("train", "config"):
        stages = [_row(f"  {stage}", STAGE_HELP.get(stage, "")) for stage in STAGES]
        parts.append("\n".join(["stages:", *stages]))
    lines = [f"  {words}\n    {line}" for words, line in EXAMPLES.get(command, ())]
    if lines:
        parts.append("\n".join(["examples:", *lines]))
    return "\n\n".join(parts)


def _row(name: str, text: str) -> str:
    """Return a name and its text, folded, in two columns."""
    folded = textwrap.wrap(text, 74) or [""]
    gap = f"\n{'':26}"
    return f"{name:24}  {gap.join(folded)}".rstrip() if len(name) <= 24 else f"{name}{gap}{gap.join(folded)}"
