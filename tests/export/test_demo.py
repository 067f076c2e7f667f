"""The page of `gss demo`, clicked through in a real browser."""

import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import tiny_pipeline

import gss
from gss.core.errors import InputError
from gss.export.demo.build import build_page, page_facts, script_json
from gss.export.demo.runtime import SCRIPT, WASM, WebRuntime, web_runtime
from gss.ood.alarms import ALARM_RATES

NAMES = ["<img src=x onerror=alert(1)>", "sky & </script>", "tree", "car", "pole"]


def test_text_cannot_end_the_script():
    text = script_json({"labels": NAMES})
    assert "<" not in text and ">" not in text and "&" not in text
    assert json.loads(text) == {"labels": NAMES}


def test_facts_of_the_page():
    facts = {name: [] for name in ("size", "outputs", "decode", "score", "labels", "colors")}
    assert page_facts(facts)["threshold"] is None
    thresholds = [float(index) for index in range(len(ALARM_RATES))]
    alarms = {"rates": list(ALARM_RATES), "thresholds": [*thresholds[:-1], 3.4028234663852886e38]}
    page = page_facts(facts | {"alarms": alarms}, 0.1)
    assert page["threshold"] == pytest.approx(2) and page["range"] == [0, 7] and len(page["heat"]) == 256


def test_other_runtimes_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="is missing; give the folder dist of onnxruntime-web"):
        web_runtime(tmp_path)
    (tmp_path / SCRIPT).write_text("x")
    (tmp_path / WASM).write_text("x")
    with pytest.raises(InputError, match="is not that of onnxruntime-web"):
        web_runtime(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="install npm, or give"):
        web_runtime()


def test_the_page_has_no_foreign_addresses(tmp_path):
    class Model:
        path = tmp_path / "model.onnx"
        facts = {name: [] for name in ("size", "outputs", "decode", "score", "labels", "colors")}

    Model.path.write_bytes(b"model")
    build_page(Model, WebRuntime(b"script", b"wasm"), tmp_path, title="<b>Mine</b>")
    page = (tmp_path / "index.html").read_text()
    assert "&lt;b&gt;Mine" in page and "<b>" not in page
    for file in tmp_path.glob("*.[hjc]*s*"):
        assert "http" not in file.read_text()


# A page without a document: what matters is which files are segmented, and what is said.
QUEUE = """
const parts = {};
const part = () => ({ textContent: "", hidden: true, addEventListener() {}, append() {}, classList: { toggle() {} } });
globalThis.window = { GSS_FACTS: { size: [4, 4], outputs: [], labels: [], colors: [], background: [], heat: [] } };
globalThis.document = {
  getElementById: (id) => (parts[id] ||= part()),
  createElement: () => ({ ...part(), getContext: () => null }),
  addEventListener() {},
  head: { append: (element) => setTimeout(() => element.onload(), 5) },
};
globalThis.createImageBitmap = async (file) => ({ name: file.name, width: 2, height: 2 });
const file = (name) => ({ name, slice: () => ({ arrayBuffer: async () => new ArrayBuffer(0) }) });
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));
const done = [];
(async () => {
  open(file("early.png"));
  const loading = parts.status.textContent;
  const refused = !parts.error.hidden;
  load = async () => {};
  state.session = { run: async ({ image }) => (await wait(20), done.push(image), {}) };
  state.Tensor = function () { return "photo"; };
  fitted = () => ({ values: [], w: 1, h: 1 });
  paintLayers = describe = draw = () => {};
  openNext();
  await wait(10);
  open(file("second.png"));
  open(file("third.png"));
  await wait(300);
  const error = parts.error.textContent;
  console.log(JSON.stringify({ loading, refused, done: done.length, next: state.next, error }));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_photos_wait_while_the_network_loads_or_is_busy(tmp_path):
    app = (Path(gss.__file__).parent / "export/demo/app.js").read_text()
    # Its last lines load the network, for which there are no files here.
    (tmp_path / "page.js").write_text(QUEUE.replace("const done", app.rpartition("\nwire();")[0] + "\nconst done", 1))
    said = json.loads(subprocess.run(["node", tmp_path / "page.js"], capture_output=True, text=True, check=True).stdout)
    assert said["loading"].startswith("Loading the network… early.png is segmented as soon as") and not said["refused"]
    assert (said["done"], said["next"], said["error"]) == (2, None, "")  # of those that wait, the last one


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page in a browser, opened from its folder, and what its console said."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium")
    cache = Path.home() / ".cache" / "gss"
    found = sorted(cache.glob("onnxruntime-web-*"))
    if not found:
        pytest.skip("onnxruntime-web is not in the cache: 'gss demo' fetches it")
    from gss.export import OnnxModel, export_onnx

    folder = tmp_path_factory.mktemp("page")
    pipeline = tiny_pipeline()
    pipeline.prior.config.id2label = dict(enumerate(NAMES))
    export_onnx(pipeline, folder / "model.onnx", (64, 96))
    build_page(OnnxModel(folder / "model.onnx"), web_runtime(found[-1]), folder, title="Test")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((folder / "index.html").as_uri())
        page.wait_for_function("document.getElementById('status').textContent === 'Ready.'", timeout=120_000)
        page.said, page.folder = said, folder
        page.another = lambda: browser.new_page()
        yield page
        browser.close()


def photo(folder, name="photo.png", shape=(50, 40)):
    blocks = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(shape[::-1], Image.Resampling.BICUBIC).save(folder / name)
    return str(folder / name)


@pytest.mark.slow
def test_a_photo_is_segmented_as_in_python(page):
    page.set_input_files("#file", photo(page.folder))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    assert page.inner_text("#status").startswith("Segmented in")
    # Class names are text, whatever they hold; nothing was run.
    assert page.locator("#legend li").count() == 5 and page.locator("#legend img").count() == 0
    assert set(page.locator("#legend .name").all_inner_texts()) == set(NAMES)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shares = {
        item.locator(".name").inner_text(): float(item.locator(".share").inner_text().split()[0])
        for item in page.locator("#legend li").all()
    }
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)

    # With the keyboard: a pointer that says class and probability, and other views.
    page.focus("#canvas")
    page.keyboard.press("ArrowRight")
    first = page.inner_text("#pointer")
    assert any(name in first for name in NAMES) and "probability" in first
    pictures = {}
    for view in ("mask", "maskige", "confidence", "ood", "photo"):
        page.check(f"input[value={view}]")
        pictures[view] = page.evaluate("document.getElementById('canvas').toDataURL()")
    assert len(set(pictures.values())) == 5
    page.check("input[value=mask]")
    page.fill("#opacity", "0")
    assert page.evaluate("document.getElementById('canvas').toDataURL()") == pictures["photo"]
    assert page.said == []


@pytest.mark.slow
def test_a_photo_given_while_the_network_loads_is_segmented_once_it_is_there(page):
    other = page.another()
    other.goto((page.folder / "index.html").as_uri(), wait_until="domcontentloaded")
    other.set_input_files("#file", photo(page.folder))
    other.wait_for_selector("#result:not([hidden])", timeout=120_000)
    assert other.inner_text("#status").startswith("Segmented in")
    assert other.locator("#error").is_hidden()
    other.close()


@pytest.mark.slow
def test_files_that_are_no_photos_are_one_line(page):
    (page.folder / "notes.png").write_text("no image")
    page.set_input_files("#file", str(page.folder / "notes.png"))
    page.wait_for_function("!document.getElementById('error').hidden")
    assert "notes.png is not an image" in page.inner_text("#error")

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (page.folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    page.set_input_files("#file", str(page.folder / "huge.png"))
    page.wait_for_function("document.getElementById('error').textContent.includes('huge')")
    assert "claims 60000 x 60000 pixels" in page.inner_text("#error")

    page.set_input_files("#file", photo(page.folder, "again.jpg", (300, 20)))  # and then a photo works
    page.wait_for_function("document.getElementById('error').hidden", timeout=60_000)
