"""The files of onnxruntime-web, from npm: fetched once when a page is built, and part of the page from then on."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gss.core.errors import InputError
from gss.core.files import atomic_path

VERSION = "1.30.0"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_DIGESTS = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


@dataclass(frozen=True)
class WebRuntime:
    """ONNX Runtime for browsers.

    Attributes:
        script: JavaScript module.
        wasm: WebAssembly binary.
    """

    script: bytes
    wasm: bytes


def web_runtime(folder: Path | None = None) -> WebRuntime:
    """Return the files of onnxruntime-web.

    Args:
        folder: folder with both files, such as `node_modules/onnxruntime-web/dist`; None for the user's cache, which
            is filled by npm.

    Raises:
        InputError: files are missing or of another version, or npm is missing or cannot fetch them.
    """
    place = folder or _cache()
    if folder is None and not all((place / name).is_file() for name in _DIGESTS):
        _fetch(place)
    content = {}
    for name, digest in _DIGESTS.items():
        if not (place / name).is_file():
            raise InputError(f"--runtime {place}: {name} is missing; give the folder dist of onnxruntime-web {VERSION}")
        content[name] = (place / name).read_bytes()
        if hashlib.sha256(content[name]).hexdigest() != digest:
            raise InputError(f"{place / name} is not that of onnxruntime-web {VERSION}: fetch this version")
    return WebRuntime(content[SCRIPT], content[WASM])


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "gss" / f"onnxruntime-web-{VERSION}"


def _fetch(place: Path) -> None:
    """Fetch the package with npm, and keep the two files."""
    package = f"onnxruntime-web@{VERSION}"
    hint = f"or give the folder dist of {package} with --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"the page needs {package}, which npm fetches once: install npm, {hint}")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, "pack", package, "--silent"], cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            reason = " ".join((done.stderr or done.stdout).split())[:200]
            raise InputError(f"npm cannot fetch {package} ({reason}): try again, {hint}")
        with tarfile.open(archives[0]) as archive:
            for name in _DIGESTS:
                file = archive.extractfile(f"package/dist/{name}")
                assert file is not None
                with atomic_path(place / name) as temporary:
                    temporary.write_bytes(file.read())
