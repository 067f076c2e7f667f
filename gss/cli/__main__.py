"""Run the command line: `python -m gss.cli`, the same as `python -m gss`."""

from gss.cli import console

console()
