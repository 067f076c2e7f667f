"""`predictions.json`, complete after every image: a stopped or killed run leaves what it has done.

The file has one record a line. A record is appended by writing it and the end of the file over the old end, so that its
cost does not depend on the number of records.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gss.core.errors import InputError
from gss.core.files import atomic_path, naming, read_text
from gss.core.interrupt import uninterrupted
from gss.core.records import plain
from gss.jobs.predict.records import Failure, Prediction, Predictions, Video

Entry = TypeVar("Entry", bound=Prediction | Video | Failure)

FILE = "predictions.json"
# Keys of the head that may differ in a continued run: the same pipeline may have moved.
_FREE = ("pipeline",)


class Journal:
    """File of predictions of one process.

    Args:
        path: file to write.
        result: head of the file and records that it begins with; records are added to it.
    """

    def __init__(self, path: Path, result: Predictions) -> None:
        self.path, self.result = path, result
        self._file = -1
        self.rewrite()
        self._file = os.open(path, os.O_WRONLY)

    def rewrite(self) -> None:
        """Write the whole file anew."""
        body, tail = file_parts(self.result)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(body + tail)
        self._end = len(body)
        if self._file >= 0:
            self.close()
            self._file = os.open(self.path, os.O_WRONLY)

    def add(self, record: Prediction | Video | Failure) -> None:
        """Append a record.

        Raises:
            OSError: the file cannot be written; it holds what it held.
        """
        before = _tail(self.result)
        text = b""
        if isinstance(record, Prediction):
            text = f"{',' if self.result.images else ''}\n{json_line(record.to_json())}".encode()
            self.result.images.append(record)
        elif isinstance(record, Video):
            self.result.videos.append(record)
        else:
            self.result.failed.append(record)
        try:
            with naming(self.path):
                self._write(text + _tail(self.result))
        except OSError:
            os.ftruncate(self._file, self._end)
            self._write(before)
            raise
        self._end += len(text)

    def keep(self, make: Callable[[], Entry]) -> Entry:
        """Append the record that a function returns; a signal waits until its files and the record are both there.

        Args:
            make: function that writes the files of an image or frame.

        Raises:
            OSError: the file cannot be written; it holds what it held.
        """
        with uninterrupted():
            record = make()
            self.add(record)
        return record

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        self._file = -1

    def _write(self, data: bytes) -> None:
        """Write at the end of the records."""
        done = 0
        while done < len(data):
            done += os.pwrite(self._file, data[done:], self._end + done)


def file_parts(result: Predictions) -> tuple[bytes, bytes]:
    """Return the content of a file of predictions: up to the last image, and the rest."""
    head = json_line({**result.head(), "images": []}).removesuffix("]}")
    rows = [json_line(record.to_json()) for record in result.images]
    return (head + "".join(f"{',' if index else ''}\n{row}" for index, row in enumerate(rows))).encode(), _tail(result)


def _tail(result: Predictions) -> bytes:
    videos = ",\n".join(json_line(record.to_json()) for record in result.videos)
    failed = ",\n".join(json_line(record.to_json()) for record in result.failed)
    return f'\n], "videos": [\n{videos}\n], "failed": [\n{failed}\n]}}\n'.encode()


def read_journal(path: Path, head: Mapping[str, Any]) -> tuple[list[Prediction], list[Video]]:
    """Return the records of an earlier run; none if there is no file.

    Args:
        path: file that a `Journal` wrote, perhaps of a process that was killed while it wrote.
        head: head of this run.

    Raises:
        InputError: it is another file, or was written with other settings.
    """
    return parse_journal(path, read_text(path), head) if path.is_file() else ([], [])


def parse_journal(
    path: str | os.PathLike[str], text: str, head: Mapping[str, Any]
) -> tuple[list[Prediction], list[Video]]:
    """Return the records in the text of a file, as `read_journal`."""
    first, *lines = text.splitlines() or [""]
    try:
        earlier = json.loads(first + "]}")
    except ValueError as error:
        raise InputError(f"{path} is not a file of 'gss predict' that can be continued: pass --overwrite") from error
    for key, value in plain(head).items():
        if key not in _FREE and earlier.get(key) != value:
            raise InputError(
                f"cannot continue {path}: its {key} is {_short(earlier.get(key))}, now it is {_short(value)}; "
                "use the same settings, --overwrite or another --out"
            )
    images: list[Prediction] = []
    videos: list[Video] = []
    for line in lines:
        record = _record(line)
        if record is not None and "image" in record and "classes" in record:
            images.append(Prediction.from_json(record))
        elif record is not None and "video" in record:
            videos.append(Video.from_json(record))
    return images, videos


def _record(line: str) -> dict[str, Any] | None:
    """Return the record of a line; None for the lines between, and for one that was cut off."""
    try:
        record = json.loads(line.removesuffix(","))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def json_line(value: Any) -> str:
    """Return a value as JSON of one line and plain ASCII."""
    # Escapes keep names of files that are not UTF-8, and line separators in names.
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."
