"""Train stage 2; the same as `gss train prior`.

On several processes: accelerate launch scripts/train_prior.py CONFIG... key=value... --out DIR
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "prior", *sys.argv[1:]]))
