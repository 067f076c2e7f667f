"""A data set with weak labels, and the checks that every reader of weak labels passes."""

import codecs
import json
import time
from pathlib import Path

import numpy as np
import pytest
from faults.mutate import hostile, mutate, variants
from faults.samples import CLASSES, IDS, SIZE, WEAK_LABELS
from PIL import Image

from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec
from gss.data.weak.names import ClassNames
from gss.data.weak.readers import READERS, Options
from gss.labels.space import LabelSpace


def make_root(root: Path) -> Path:
    """Three images of 30x20 without masks, and an empty folder w."""
    (root / "images").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", SIZE[::-1], (10, 80, 120)).save(root / f"images/{name}.png")
    (root / "w").mkdir()
    return root


def spec(root, weak, **keys):
    text = {"root": ".", "image": "images/{id}.png", "splits": ["train"], "classes": list(CLASSES), "weak": weak} | keys
    (root / "spec.yaml").write_text(json.dumps(text))  # JSON is YAML
    return load_spec(root / "spec.yaml")


def opened(root, weak, **keys):
    return SegmentationDataset(spec(root, weak, **keys), "train")


def each(root, name, text):
    """Write one label file for each image."""
    for id in ("a", "b", "c"):
        (root / "w" / name.replace("ID", id)).write_text(text)


class ReaderChecks:
    """Checks of one reader; a subclass names its good file, which is about image 'a'.

    Attributes:
        sample: key of `faults.samples.WEAK_LABELS`.
    """

    sample: str

    def __init_subclass__(cls):
        cls.format, cls.suffix, cls.content = WEAK_LABELS[cls.sample]
        cls.as_text = cls.suffix not in (".png", ".npy")

    def reader(self, folder):
        (folder / "ids.txt").write_bytes(IDS)
        ids = folder / "ids.txt" if self.suffix == ".npy" else None
        return READERS[self.format](Options(ClassNames(LabelSpace(CLASSES)), background=0, ids=ids))

    def read(self, folder, content, name="file"):
        """Drawn labels and tags of image 'a' from a file with this content."""
        path = folder / f"{name}{self.suffix}"
        path.write_bytes(content)
        weak = self.reader(folder).read(path, "a", SIZE).clipped()
        drawn = weak.rasterize()
        assert drawn.labels.shape == SIZE and set(np.unique(drawn.labels)) <= {*range(len(CLASSES)), 255}
        return np.append(drawn.labels.ravel(), drawn.tags)

    def outcome(self, folder, content, what):
        """None after a result; after an error its text, which is one line with the file's name."""
        begun = time.process_time()
        try:
            self.read(folder, content)
            text = None
        except InputError as error:
            text = str(error)
            assert f"file{self.suffix}" in text or "ids.txt" in text, (what, text)
            assert "\n" not in text and len(text) < 1500, (what, text)
        assert time.process_time() - begun < 5, what
        return text

    @pytest.fixture(autouse=True)
    def _quiet(self, recwarn):
        """Masks with the value K warn."""

    def test_the_same_labels_again(self, tmp_path):
        first = self.read(tmp_path, self.content)
        assert (first != 255).any() and np.array_equal(first, self.read(tmp_path, self.content, "other"))

    def test_byte_order_marks_are_read(self, tmp_path):
        if not self.as_text:
            return
        plain = self.read(tmp_path, self.content)
        text = self.content.decode()
        for content in (codecs.BOM_UTF8 + self.content, text.encode("utf-16")):
            assert np.array_equal(self.read(tmp_path, content), plain)

    def test_well_known_damage(self, tmp_path):
        refused = {}
        for name, content in hostile(self.suffix, self.content).items():
            refused[name] = self.outcome(tmp_path, content, name)
        kinds = ("not UTF-8", "lone surrogate") if self.as_text else ("page", "pickle")
        for name in (*kinds, *(("half", "page", "zip") if self.suffix in (".json", ".xml", ".png", ".npy") else ())):
            assert refused[name], name

    def test_odd_values_in_place_of_every_value(self, tmp_path):
        texts = [self.outcome(tmp_path, content, content) for content in variants(self.suffix, self.content)]
        assert not texts or sum(text is not None for text in texts) > 0.1 * len(texts)

    def test_random_damage(self, tmp_path):
        rng = np.random.default_rng(0)
        begun = time.process_time()
        for _ in range(500):
            content = mutate(self.content, rng)
            self.outcome(tmp_path, content, content)
        assert time.process_time() - begun < 30
