"""Segment images; the same as `gss predict`.

On several processes: accelerate launch scripts/generate_masks.py PIPELINE IMAGE... --out DIR
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
