"""`gss train density` as one of several processes: `density_processes.py OUT key=value...`."""

import sys
from pathlib import Path

import torch

from gss.config.density import DensityConfig
from gss.config.io import load_config
from gss.training.density.train import train_density

if __name__ == "__main__":
    torch.set_num_threads(1)
    train_density(load_config(DensityConfig, [], sys.argv[2:]), Path(sys.argv[1]))
