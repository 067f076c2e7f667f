"""Train stage 1; the same as `gss train posterior`.

On several processes: accelerate launch scripts/train_posterior.py CONFIG... key=value... --out DIR
"""

import sys

from gss.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "posterior", *sys.argv[1:]]))
