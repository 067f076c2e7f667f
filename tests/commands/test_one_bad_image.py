"""One image that cannot be read costs no command its other images; it is named at the end, with exit code 1."""

import json

import pytest
import tag_toys
import torch
import yaml
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.labels.space import LabelSpace
from gss.models.tags import TagClassifier
from gss.posterior.bundle import Posterior

RENAMED = {"background": NAMES[0], "train": NAMES[1], "ball": NAMES[2]}
BAD, GOOD = "val_03", "val_02"
COMMANDS = {
    "evaluate": "evaluate PIPE --data FULL --split val --json OUT.json",
    "recon": "recon POSTERIOR --data FULL --split val --json OUT.json",
    "shifts": "evaluate-shifts --pipelines PIPE --data FULL --split val --shifts fog --severities 1 --json OUT.json",
    "cross-domain": "cross-domain --pipelines PIPE --data FULL --split val --json OUT.json",
    "predict": "predict PIPE IMAGES --out OUT",
    "make": "weak make FULL --split val --form points --out OUT",
    "make tags": "weak make FULL --split val --form tags false=0.3 context=true --out OUT",
    "import": "weak import FULL --split val --masks MASKS --out OUT",
    "refine": "weak refine PARTIAL --split val stride=8 --out OUT",
    "produce": "weak produce CLASSIFIER --data TAGS --split val --out OUT",
    "report": "weak report PARTIAL --split val --json OUT.json",
    "report with truth": "weak report PARTIAL --split val --truth FULL --json OUT.json --html OUT.html",
    "seeds": "weak seeds CLASSIFIER --data TAGS --truth FULL --split val --json OUT.json",
    "collect": "weak collect CLASSIFIER --images IMAGES --threshold 0 --out OUT",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Paths by the words of the commands; an image of the data set and a mask to import are cut short."""
    root = tmp_path_factory.mktemp("one_bad")
    data = tag_toys.write(root / "data", count=2, val=4)
    torch.manual_seed(0)
    pipeline = tiny_pipeline(classes=3)
    pipeline.save_pretrained(root / "pipeline")
    space = LabelSpace(tuple(NAMES[:3]), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    Posterior(pipeline.codec, pipeline.vqvae, pipeline.likelihood, space).save_pretrained(root / "posterior")
    classifier = TagClassifier(class_names=NAMES[:3], background=0, backbone_config=yaml.safe_load(tag_toys.RESNET))
    classifier.eval().save_pretrained(root / "classifier")
    for name in ("full.yaml", "data.yaml", "tags.json"):  # classes of the pipeline
        text = (data / name).read_text()
        for old, new in RENAMED.items():
            text = text.replace(f'"{old}"', f'"{new}"').replace(f"{old},", f"{new},").replace(f"{old}]", f"{new}]")
        (data / name).write_text(text)
    spec = (data / "full.yaml").read_text()
    (data / "partial.yaml").write_text(spec + "weak: {format: masks, folder: masks, path: '{id}.png'}\n")
    (root / "masks").mkdir()
    for path in (data / "masks").glob("val_*"):
        content = path.read_bytes()
        (root / "masks" / path.name).write_bytes(content[: len(content) // 2] if path.stem == BAD else content)
    path = data / f"images/{BAD}.png"
    path.write_bytes(path.read_bytes()[:500])
    return {
        "PIPE": root / "pipeline",
        "POSTERIOR": root / "posterior",
        "CLASSIFIER": root / "classifier",
        "FULL": data / "full.yaml",
        "TAGS": data / "data.yaml",
        "PARTIAL": data / "partial.yaml",
        "IMAGES": data / "images",
        "MASKS": root / "masks",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_other_images_are_done(places, tmp_path, capsys, name):
    out = tmp_path / "out"
    words = {word: str(path) for word, path in places.items()}
    words |= {"OUT": str(out), "OUT.json": f"{out}.json", "OUT.html": f"{out}.html"}
    code = main([words.get(part, part) for part in COMMANDS[name].split()])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: error: ")]
    assert code == 1 and len(errors) == 1 and BAD in errors[0], errors
    written = sorted(tmp_path.rglob("*.json"))
    assert written and all(json.loads(path.read_text()) for path in written)
    content = "".join(path.read_text() for path in written)
    assert BAD in content  # the record of the run names what is missing
    if "--out" in COMMANDS[name]:
        assert any(GOOD in path.name for path in out.rglob("*.*"))
