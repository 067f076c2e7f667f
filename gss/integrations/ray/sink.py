"""Where results go: a folder on any file system of fsspec, or a zip file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.files import atomic_path, is_disk_error
from gss.core.outputs import prepare_output
from gss.integrations.ray.files import chained, is_local, local_path, one_error, only_here, open_url
from gss.integrations.ray.segment import Segmented
from gss.jobs.predict.journal import FILE, file_parts, parse_journal
from gss.jobs.predict.pictures import failure
from gss.jobs.predict.records import Failure, Prediction, Predictions

PARTS = ".predictions"
"""Folder of the records of finished batches, until `predictions.json` is written."""
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "cos", "r2"})


def _protocols(files: Any) -> set[str]:
    """Return the names of a file system of fsspec."""
    return {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)


class Sink:
    """Output by URL. A copy in another process writes to the same place, except where it is `only_here`.

    Args:
        url: path or URL of a folder, or of a zip file.
    """

    def __init__(self, url: str) -> None:
        self.url, self.is_zip = url, chained(url).startswith("zip://")
        self.is_local = is_local(url) and not self.is_zip
        self.only_here = self.is_zip or only_here(url)
        self._archive: zipfile.ZipFile | None = None
        self._stack = contextlib.ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process needs."""
        return {"url": self.url}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Make the same output in another process."""
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """File system and path in it; of a zip file, those of what it lies on."""
        return open_url(self._target, "output")

    @property
    def _files(self) -> Any:
        return self._place[0]

    @property
    def _root(self) -> str:
        return self._place[1]

    @property
    def _target(self) -> str:
        if not self.is_zip:
            return self.url
        inner, _, outer = chained(self.url).removeprefix("zip://").partition("::")
        if inner:
            raise InputError(f"output {self.url}: results fill a whole zip file; write zip://::{outer}")
        return outer

    def prepare(self, *, overwrite: bool, resume: bool) -> None:
        """Create the output, and refuse one that holds something, see `gss.core.outputs.prepare_output`.

        Raises:
            InputError: it holds something, or cannot be written.
        """
        if self.is_local:
            prepare_output(local_path(self.url), overwrite=overwrite, resume=resume)
            return
        with one_error(f"write output {self.url}"):
            if self.is_zip:
                self._prepare_zip(overwrite=overwrite, resume=resume)
                return
            held = self._files.find(self._root) if self._files.exists(self._root) else []
            if held and not (overwrite or resume):
                raise InputError(
                    f"output {self.url} already holds {held[0].rpartition('/')[2]!r}: pass --overwrite to replace it "
                    "(--resume to continue the run), or choose another --out"
                )
            bucket = self._root.partition("/")[0]
            if not _BUCKETS.isdisjoint(_protocols(self._files)) and not self._files.exists(bucket):
                # `makedirs` would make one in the account of the user.
                raise InputError(f"output {self.url}: there is no bucket {bucket!r}; check its name, or make it first")
            self._files.makedirs(self._root, exist_ok=True)

    def write(self, name: str, data: bytes) -> None:
        """Write a file below the output: whole, or not at all.

        Raises:
            OSError: it cannot be written.
        """
        if self._archive is not None:
            self._archive.writestr(zipfile.ZipInfo(name), data)  # of a fixed date, so that runs give equal files
        elif self.is_local:
            with atomic_path(self._path(name)) as temporary:
                temporary.write_bytes(data)
        else:
            path = self._path(name)
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, data)

    def write_results(self, rows: Iterable[Segmented]) -> list[Prediction | Failure]:
        """Write the files of images, and return their records; an image whose files cannot be written is a failure.

        Raises:
            OSError: no further file could be written either, such as at a full disk.
        """
        records: list[Prediction | Failure] = []
        for row in rows:
            record, image = row.record, row.record.image
            try:
                for kind, data in row.files.items():
                    assert isinstance(record, Prediction)
                    self.write(record.files[kind], data)
            except OSError as error:
                if is_disk_error(error):
                    raise
                record = failure(image, error)
            records.append(record)
        return records

    def write_part(self, ids: Collection[str], result: Predictions) -> None:
        """Keep the records of a finished batch, from which a killed run goes on.

        Args:
            ids: ids of its images.
            result: head of the run, with the records of the batch.
        """
        if not self.is_zip:
            self.write(_part_name(ids), b"".join(file_parts(result)))

    def read_part(self, ids: Collection[str]) -> list[Prediction | Failure] | None:
        """Return the records of a batch that an earlier attempt finished in this run, in the order of its images."""
        if self.only_here:
            return None
        try:
            content = json.loads(self._files.cat_file(self._path(_part_name(ids))))
            images = [Prediction.from_json(row) for row in content["images"]]
            failed = [Failure(**row) for row in content["failed"]]
        except (OSError, ValueError, KeyError):
            return None
        found: dict[str, Prediction | Failure] = {record.image: record for record in images}
        found |= {record.image: record for record in failed}
        return [found[id] for id in ids] if len(found) == len(ids) and all(id in found for id in ids) else None

    def earlier(self, head: Mapping[str, Any], changed: Mapping[str, float]) -> dict[str, Prediction]:
        """Return what an earlier run has done whose files are there, by the id of the image.

        Args:
            head: head of this run.
            changed: times of the last change of images on this machine; results that are older do not count.

        Raises:
            InputError: it had other settings.
        """
        with one_error(f"read output {self.url}"):
            held = {self._inner(path) for path in self._files.find(self._root, withdirs=False)}
            names = [name for name in held if name == FILE or name.startswith(f"{PARTS}/")]
            found: dict[str, Prediction] = {}
            for name in sorted(names):
                text = self._files.cat_file(self._path(name)).decode()
                images, _ = parse_journal(f"{self.url}/{name}", text, head)
                found |= {record.image: record for record in images}
        there = {id: record for id, record in found.items() if held.issuperset(record.files.values())}
        if not self.is_local:
            return there
        return {
            id: record
            for id, record in there.items()
            if all(os.stat(self._path(file)).st_mtime >= changed.get(id, 0.0) for file in record.files.values())
        }

    def begin(self, result: Predictions) -> None:
        """Keep the records that a continued run begins with, and remove all others.

        Args:
            result: head of the run, with these records.
        """
        with one_error(f"write output {self.url}"):
            if self.is_zip:
                self._open_zip()
                return
            self.write(FILE, b"".join(file_parts(result)))
            self._forget()

    def finish(self, result: Predictions) -> None:
        """Write `predictions.json`, remove the records of single batches, and close the output."""
        self.write(FILE, b"".join(file_parts(result)))
        if not self.is_zip:
            self._forget()
        self._archive = None
        self._stack.close()

    def _prepare_zip(self, *, overwrite: bool, resume: bool) -> None:
        if resume:
            raise InputError(f"output {self.url} is a zip file, which cannot be continued: write to a folder")
        if self._files.exists(self._root) and not overwrite:
            raise InputError(f"output {self.url} exists: pass --overwrite to replace it, or choose another --out")

    def _open_zip(self) -> None:
        if is_local(self._target):
            file: Any = self._stack.enter_context(atomic_path(Path(self._root)))
        else:
            file = self._stack.enter_context(self._files.open(self._root, "wb"))
        self._archive = self._stack.enter_context(zipfile.ZipFile(file, "w"))

    def _forget(self) -> None:
        """Remove the records of single batches."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm(self._path(PARTS), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _inner(self, path: str) -> str:
        return path[len(self._root.rstrip("/")) :].lstrip("/")


def _part_name(ids: Collection[str]) -> str:
    digest = hashlib.sha256("\n".join(ids).encode(errors="surrogateescape")).hexdigest()[:20]
    return f"{PARTS}/{digest}.json"
