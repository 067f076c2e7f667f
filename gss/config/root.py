"""Where the configs that come with gss lie; light, so that `gss predict` can look there without OmegaConf."""

from pathlib import Path


def config_root() -> Path:
    """Return the folder of the configs that come with gss: in an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
