"""Loading by name and revision from what the hub's client keeps, and the card's metadata."""

import shutil

import numpy as np
import pytest
import yaml
from tiny_pipeline import tiny_pipeline

from gss import GSSPipeline
from gss.core.errors import InputError

FIRST, SECOND = "1" * 40, "2" * 40
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)


@pytest.fixture
def cache(tmp_path):
    """The cache of the hub's client with two revisions of a repository: main is the second."""
    root = tmp_path / "cache" / "models--someone--streets"
    for revision, classes in ((FIRST, 4), (SECOND, 5)):
        tiny_pipeline(classes=classes).save_pretrained(root / "snapshots" / revision)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(SECOND)
    (root / "refs" / "v1").write_text(FIRST)
    return tmp_path / "cache"


def test_a_name_and_a_revision(cache):
    options = {"cache_dir": cache, "local_files_only": True}
    newest = GSSPipeline.from_pretrained("someone/streets", **options)
    assert len(newest.id2label) == 5
    assert np.array_equal(newest(IMAGE).masks[0], tiny_pipeline()(IMAGE).masks[0])
    for revision in (FIRST, "v1"):
        assert len(GSSPipeline.from_pretrained("someone/streets", revision=revision, **options).id2label) == 4


def test_what_is_not_there_is_one_line(cache, tmp_path, monkeypatch):
    options = {"cache_dir": cache, "local_files_only": True}
    for name, extra in (("someone/fields", {}), ("someone/streets", {"revision": "v9"})):
        with pytest.raises(InputError, match="cannot be read from the hub") as caught:
            GSSPipeline.from_pretrained(name, **options, **extra)
        assert "\n" not in str(caught.value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match="'runs' is a folder here and holds no 'prior'"):
        GSSPipeline.from_pretrained("runs/prior")  # never a question to the hub


def test_the_folder_is_what_is_uploaded(tmp_path, monkeypatch):
    asked = {}

    class Hub:
        """A stand-in of the hub: a folder for each repository."""

        def __init__(self, token=None):
            asked["token"] = token

        def create_repo(self, name, **options):
            if name == "other/streets":
                raise OSError("no rights for\nother")
            return type("Repository", (), {"repo_id": name})

        def upload_folder(self, *, repo_id, folder_path, **options):
            shutil.copytree(folder_path, tmp_path / "hub" / repo_id)
            asked.update(options)
            return type("Commit", (), {"commit_url": f"hub/{repo_id}"})

    monkeypatch.setattr("gss.pipeline.store.hub.HfApi", Hub)
    options = {"token": "t", "revision": "v2", "commit_message": "Second", "licence": "cc-by-4.0"}
    assert tiny_pipeline().push_to_hub("someone/streets", **options) == "hub/someone/streets"
    assert asked == {"token": "t", "revision": "v2", "commit_message": "Second", "create_pr": False}
    folder = tmp_path / "hub" / "someone" / "streets"
    card = (folder / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "![palette](palette.png)" in card and (folder / "palette.png").is_file()
    assert GSSPipeline.from_pretrained(folder)(IMAGE).masks[0].shape == (20, 28)
    with pytest.raises(InputError, match="cannot upload to 'other/streets' on the hub: no rights for other"):
        tiny_pipeline().push_to_hub("other/streets")


def test_metadata_of_the_card(tmp_path):
    metrics = {"marginal": {"miou": 0.71, "ece": 0.02}, "hard": {"miou": 0.7}}
    tiny_pipeline().save_pretrained(tmp_path, metrics=metrics, training_data="streets: of towns", licence="cc-by-4.0")
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert head["license"] == "cc-by-4.0" and head["pipeline_tag"] == "image-segmentation"
    result = head["model-index"][0]["results"][0]
    assert result["dataset"]["name"] == "streets: of towns" and result["task"]["type"] == "image-segmentation"
    figures = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert figures == {"mIoU (marginal)": 0.71, "expected calibration error (marginal)": 0.02, "mIoU (hard)": 0.7}
    tiny_pipeline().save_pretrained(tmp_path)
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert "model-index" not in head and "license" not in head
