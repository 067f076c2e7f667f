"""The card next to a saved pipeline says what the pipeline is."""

import re

from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline


def test_card_holds_config_classes_metrics_and_data(tmp_path):
    pipeline = tiny_pipeline(size=(96, 128))
    metrics = {
        "hard": {"miou": 0.5, "ece": None, "iou": [0.5, None, 0.25, 0.125, 1.0], "reliability": [{}]},
        "fused": {"miou": 0.625, "ece": 0.05, "iou": [0.5, None, 0.25, 0.125, float("nan")]},
    }
    pipeline.save_pretrained(tmp_path, metrics=metrics, training_data="Scenes, 600 images.")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: gss\n")
    assert "Scenes, 600 images." in card
    assert "| mIoU | 50.0% | 62.5% |" in card and "| expected calibration error | - | 5.0% |" in card
    assert "reliability" not in card
    assert "64 codes" in card and "swin" in card and "96x128" in card
    for index, name in enumerate(NAMES):
        red, green, blue = pipeline.colors[index]
        assert f"| {index} | {name} | `#{red:02x}{green:02x}{blue:02x}` |" in card
    assert "| 1 | sky | `#ffffff` | - | - |" in card or re.search(r"\| 1 \| sky \| `#\w{6}` \| - \| - \|", card)
    assert Image.open(tmp_path / "palette.png").size[0] > 100


def test_card_without_metrics_and_with_flat_metrics(tmp_path):
    pipeline = tiny_pipeline(likelihood=False)
    pipeline.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "Not recorded" in card and "default hard" in card
    pipeline.save_pretrained(tmp_path, metrics={"miou": 0.75, "iou": [0.75] * 5})
    assert "| mIoU | 75.0% |" in (tmp_path / "README.md").read_text()


def test_snippet_of_the_card_runs(tmp_path, capsys):
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(tmp_path)
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "image.jpg")
    snippet = re.search(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL).group(1)
    snippet = snippet.replace('"FOLDER"', repr(str(tmp_path))).replace('"image.jpg"', repr(str(tmp_path / "image.jpg")))
    exec(snippet, {})
    assert any(name in capsys.readouterr().out for name in NAMES)
