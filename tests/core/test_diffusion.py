"""diffusers' pipelines are imported without its autoencoders, and notice nothing of it."""

import subprocess
import sys

CODE = """
import sys
from gss.core.diffusion import DiffusionPipeline
assert "diffusers.models.autoencoders" not in sys.modules
from diffusers.pipelines import pipeline_utils
stands_for = pipeline_utils.AutoencoderKL
assert not isinstance(object(), stands_for)
import diffusers
assert diffusers.DiffusionPipeline is DiffusionPipeline
real = diffusers.models.AutoencoderKL
assert real is diffusers.AutoencoderKL and real is not stands_for
assert isinstance(object.__new__(real), stands_for)
assert not isinstance(object.__new__(diffusers.VQModel), stands_for)
"""


def test_autoencoders_are_known_once_they_are_imported():
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_they_stay_as_they_are_if_they_are_imported_first():
    first = "from diffusers import AutoencoderKL, DiffusionPipeline as first\nimport gss.core.diffusion as second\n"
    check = "from diffusers.pipelines.pipeline_utils import AutoencoderKL as used\n"
    check += "assert used is AutoencoderKL and second.DiffusionPipeline is first\n"
    subprocess.run([sys.executable, "-c", first + check], check=True)
