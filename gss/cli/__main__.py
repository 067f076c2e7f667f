"""Run the command line: `python -m gss.cli`, the same as `python -m gss`."""

import sys

from gss.cli import main

sys.exit(main())
