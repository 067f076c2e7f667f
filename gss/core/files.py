"""Reading text and JSON with errors that name the file, and writing that never leaves a half-written file."""

import codecs
import contextlib
import dataclasses
import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gss.core.errors import InputError, quoted

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<kind>tmp|old)(\.[^.]*)?")
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_RUN, _LONG_EXPONENTS, _RUN = b"0" * 19, (b"0e000", b"0e+000"), re.compile(rb"0+")


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a UTF-8 file, or of a UTF-16 file with a byte-order mark; the mark is left out.

    Raises:
        InputError: the file cannot be read, or is not text in these encodings; names the file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from error


def read_json(
    path: str | os.PathLike[str],
    *,
    object_hook: Callable[[dict[str, Any]], Any] | None = None,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return the content of a JSON file, with or without a byte-order mark.

    Args:
        path: The file.
        object_hook: As in `json.loads`.
        object_pairs_hook: As in `json.loads`.

    Raises:
        InputError: The file cannot be read, is not JSON, is nested too deeply, or holds NaN, an infinity or a number
            beyond 64 bits; names the file.
    """
    text = read_text(path)
    hooks: dict[str, Any] = {"object_hook": object_hook, "object_pairs_hook": object_pairs_hook}
    if _may_hold_huge_numbers(text):
        hooks |= {"parse_int": _checked_int, "parse_float": _checked_float}
    try:
        return json.loads(text, parse_constant=_refuse_constant, **hooks)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be read") from error


def _may_hold_huge_numbers(text: str) -> bool:
    """Tell whether a JSON text may hold a number beyond 64 bits: 19 digits that are no decimals, or a large exponent.

    Files of annotations have millions of numbers, so that a regular expression would take longer than parsing them.
    """
    alike = text.encode("utf-8", "surrogatepass").translate(_DIGITS_ALIKE)
    # Two characters are found faster than five.
    if any(part[1:3] in alike and part in alike for part in _LONG_EXPONENTS):
        return True
    start = alike.find(_LONG_RUN)
    while start >= 0:
        if alike[start - 1 : start] != b".":
            return True
        run = _RUN.match(alike, start)
        assert run is not None
        start = alike.find(_LONG_RUN, run.end())
    return False


def _checked_int(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise InputError(f"number {digits[:24]} does not fit into 64 bits")
    return int(digits)


def _checked_float(digits: str) -> float:
    if math.isinf(float(digits)):
        raise InputError(f"number {digits[:24]} is too large")
    return float(digits)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; an `object_pairs_hook` that refuses a key given twice, of which JSON keeps the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InputError(f"key {quoted(next(key for key in keys if keys.count(key) > 1))} is given twice")
    return content


def _refuse_constant(name: str) -> float:
    raise InputError(f"{name} is not a number in JSON; write a finite number or null")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, moved onto `path` once the block ends without an error.

    Works for a file as well as for a folder (the block creates it). What stood at `path` before is replaced
    only at the end; after an error it is untouched and the temporary path is removed. The temporary name
    keeps the suffix, because writers choose their format by it, and lies in the same folder, because a
    rename across file systems is a copy.

    Args:
        path: final place; missing parent folders are created.

    Raises:
        OSError: the disk is full or gone; names `path`, whatever the writer of the block says.
    """
    target = Path(path)
    token = secrets.token_hex(4)
    temporary = _beside(target, f".{token}.tmp{target.suffix}", target.stem)
    try:
        with naming(target, temporary):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _replace(temporary, target, aside=_beside(target, f".{token}.old", target.name))
    finally:
        _remove(temporary)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give errors of writing the name of the file that could not be written.

    At a full disk, Pillow and Python raise an OSError without a name, and safetensors an exception of its own.

    Args:
        path: file or folder that is written.
        temporary: name that it has meanwhile, which means nothing to the user.
    """
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from error
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path) if error.filename is None else error.filename
            if temporary is not None and isinstance(error.filename, str):
                error.filename = error.filename.replace(str(temporary), str(path))
        raise


def is_temporary(name: str) -> bool:
    """Tell whether `atomic_path` gave a file or folder this name for the time of writing."""
    return _TEMPORARY.fullmatch(name) is not None


def restore_or_remove(leftover: Path) -> None:
    """Clear what a killed `atomic_path` left behind, given by a path whose name `is_temporary`.

    A folder that had stepped aside comes back if its successor never took its place.
    """
    match = _TEMPORARY.fullmatch(leftover.name)
    assert match is not None
    target = leftover.with_name(match["name"])
    if match["kind"] == "old" and not target.exists():
        os.rename(leftover, target)
    else:
        _remove(leftover)


def discard(path: Path) -> None:
    """Remove a file or folder; killed at any moment, this leaves it whole or under the name of a leftover."""
    leftover = _beside(path, f".{secrets.token_hex(4)}.tmp", path.name)
    path.rename(leftover)
    _remove(leftover)


def _beside(target: Path, ending: str, name: str) -> Path:
    """Return a hidden name in the folder of `target`, cut to the 255 bytes that a file system takes."""
    room = 255 - 1 - len(os.fsencode(ending))
    return target.with_name("." + os.fsencode(name)[:room].decode(errors="ignore") + ending)


def _replace(source: Path, target: Path, aside: Path) -> None:
    """Rename `source` onto `target`; a folder cannot be renamed over another, so that one steps aside."""
    if not target.is_dir() or target.is_symlink():
        os.replace(source, target)
        return
    if source.is_file():
        raise InputError(f"{target} is a folder: name a file to write")
    os.rename(target, aside)
    try:
        os.rename(source, target)
    except OSError:
        os.rename(aside, target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    # Where the disk is gone nothing can be removed; the error that led here must stay the one that is seen.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as indented JSON, atomically.

    Dataclasses, paths, arrays and scalars of NumPy or torch are converted; NaN and infinities, which JSON
    does not know, become null.
    """
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        # Names of files that are not UTF-8 hold lone surrogates; these become escapes, which JSON has too.
        temporary.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))


def _plain(obj: Any) -> Any:
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        obj = dataclasses.asdict(obj)
    if isinstance(obj, dict):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple | set | frozenset | range):
        return [_plain(value) for value in obj]
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if obj is None or isinstance(obj, str | int):
        return obj
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if hasattr(obj, "tolist"):  # arrays, tensors and their scalars
        return _plain(obj.tolist())
    raise InputError(f"cannot write a {type(obj).__name__} as JSON: {quoted(obj)}")


_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOTCONN, errno.ESTALE}


def is_disk_error(error: BaseException) -> bool:
    """Return whether an error concerns the whole disk (full, read-only or gone), so that no other file can be written.

    Other errors of the system, such as a name that is too long, concern one file.
    """
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS
