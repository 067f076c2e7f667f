"""Images in tar shards, as of webdataset, read as a stream up to where one is cut off."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, cast

from gss.core.errors import InputError
from gss.data.files import is_hidden
from gss.data.images import IMAGE_SUFFIXES
from gss.integrations.ray.source import safe_name

_BLOCK = 512


def read_shard(file: IO[bytes], id: str, *, compressed: bool = False) -> Iterator[tuple[str, str, bytes]]:
    """Yield the path, a distinct name without suffix, and the content of each image of a tar archive.

    Members that are no images, such as the labels of webdataset, are passed over.

    Args:
        file: the archive, read from front to back.
        id: what errors call it.
        compressed: it is a gzip file.

    Raises:
        InputError: it is no archive, or is cut off or damaged; the images before have been yielded.
    """
    stream, count = _Tail(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if compressed else file), 0
    taken: set[str] = set()
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
            for member in archive:
                parts = [part for part in member.name.split("/") if part not in ("", ".", "..")]
                if not member.isfile() or not parts or any(map(is_hidden, parts)):
                    continue
                if not member.name.lower().endswith(IMAGE_SUFFIXES):
                    continue
                content = archive.extractfile(member)
                assert content is not None
                data = content.read()
                if len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                name = distinct = safe_name(member.name)
                if distinct.lower() in taken:
                    distinct = f"{name}_{member.name.rpartition('.')[2]}"
                number = 2
                while distinct.lower() in taken:
                    distinct, number = f"{name}_{number}", number + 1
                taken.add(distinct.lower())
                yield member.name, distinct, data
                count += 1
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = f"is damaged or cut off after {count} images" if count else "cannot be read as a tar archive"
        raise InputError(f"shard {id} {reason}: {' '.join(str(error).split())}") from error
    # A tar archive ends with empty blocks; one that is cut between two members reads as if it were whole.
    if not stream.ends_empty:
        raise InputError(f"shard {id} is damaged or cut off after {count} images: its end is missing")


class _Tail:
    """A stream that remembers whether what was read last is an empty block."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.last = file, b""

    @property
    def ends_empty(self) -> bool:
        return len(self.last) == _BLOCK and not any(self.last)

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.last = (self.last + data)[-_BLOCK:] if len(data) < _BLOCK else data[-_BLOCK:]
        return data
