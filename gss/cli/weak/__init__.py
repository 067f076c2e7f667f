"""Commands of `gss weak`, and how those that write pseudo-masks end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gss.weak.manifest import Manifest


def report_manifest(manifest: Manifest, out: str) -> int:
    """Print what a folder of pseudo-masks holds; return 1 when some images failed."""
    from gss.core.distributed import is_main

    if is_main():
        print(manifest.summary(out))
        for failure in manifest.failed:
            print(f"gss: error: {failure.image}: {failure.error}", file=sys.stderr)
    return 1 if manifest.failed else 0
