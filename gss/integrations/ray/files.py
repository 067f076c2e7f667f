"""File systems by URL, through fsspec, with errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.core import split_protocol, url_to_fs
from fsspec.registry import known_implementations

from gss.core.errors import InputError

_CHAIN = "::"


@contextmanager
def one_error(what: str) -> Iterator[None]:
    """Turn errors of a file system into one line.

    Args:
        what: what was tried on which URL, such as "read source s3://bucket/photos".

    Raises:
        InputError: anything went wrong: packages of object stores have errors of their own, without a common base.
    """
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(
            f"no permission to {what}: {_reason(error)}; check the rights of the bucket or folder"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"cannot {what}: it is not there; check the URL") from error
    except ImportError as error:
        raise InputError(f"cannot {what}: {_reason(error)}") from error
    except Exception as error:
        raise InputError(f"cannot {what}: {_reason(error)}") from error


def open_url(url: str, what: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Args:
        url: path, or URL of fsspec; see `chained`.
        what: "source" or "output", for the message.

    Raises:
        InputError: no such kind of URL, or a package for it is missing.
    """
    with one_error(f"open {what} {url}"):
        return url_to_fs(url)


def chained(url: str) -> str:
    """Return a URL as fsspec writes it: `zip://::photos.zip` for `zip://photos.zip` and for `photos.zip`."""
    protocol, path = split_protocol(url)
    if protocol == "zip" and _CHAIN not in url:
        return f"zip://{_CHAIN}{path}"
    if url.lower().endswith(".zip") and _CHAIN not in url:
        return f"zip://{_CHAIN}{url}"
    return url


def is_local(url: str) -> bool:
    """Return whether a URL is a path of this machine."""
    return split_protocol(url)[0] in (None, "file", "local") and _CHAIN not in url


def local_path(url: str) -> str:
    """Return the path of a URL that `is_local`."""
    return url.partition("://")[2] or url


def only_here(url: str) -> bool:
    """Return whether other processes see other files under a URL: those in memory, or of a file system made here."""
    protocols = [split_protocol(part)[0] or "file" for part in url.split(_CHAIN) if part]
    return any(name == "memory" or name not in known_implementations for name in protocols)


def _reason(error: Exception) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text or type(error).__name__
