"""Opening of the splits of a data spec."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import cast

from gss.config.shared import DataConfig
from gss.core.errors import InputError, quoted
from gss.data.datasets import SegmentationDataset
from gss.data.domains import DomainDataset
from gss.data.files.patterns import files_remembered
from gss.data.flips.dataset import FlippedDataset
from gss.data.generated import ScenesDataset
from gss.data.protocols import LabelledImages
from gss.data.scenes.scene import Trap
from gss.data.specs.imported import ImportedDataset
from gss.data.specs.load import load_spec
from gss.data.specs.spec import DataSpec, named_split
from gss.data.specs.unused import Accounting, accounting
from gss.data.transforms import JointTransform


def config_spec(cfg: DataConfig) -> DataSpec:
    """Return the data spec that a config names: `data.spec`, or the folder `data.root` where only this is given.

    Raises:
        InputError: see `load_spec`.
    """
    only_root = cfg.root and cfg.spec == DataConfig.spec
    return load_spec(cfg.root) if cfg.root and only_root else load_spec(cfg.spec, cfg.root)


def build_dataset(cfg: DataConfig, split: str, *, train: bool, seed: int = 0) -> LabelledImages:
    """Open the data set that a config describes.

    Args:
        cfg: `data` section of the config.
        split: split name, or `SPEC:SPLIT` for a split of another data set.
        train: True augments with the config's scale, crop, flip, colour and shift settings.
        seed: seed of the augmentation (a generated data set itself does not depend on it).

    Raises:
        InputError: see `load_spec` and `SegmentationDataset`.
    """
    spec, sampling = config_spec(cfg), cfg.sampling
    other = named_split(split)
    if other is not None:
        (ref, split), sampling = other, "equal"  # cfg.sampling describes the domains of cfg.spec, not of this data set
        spec = load_spec(ref)
    transform = JointTransform.from_config(cfg, seed) if train else None
    size = None if cfg.size is None else (cfg.size[0], cfg.size[1])
    return open_split(spec, split, transform=transform, size=size, cache=cfg.cache, sampling=sampling)


def training_files(cfg: DataConfig) -> Accounting:
    """Return the files of the data set of `data.train_split` that are used and not, and warn of the latter in a line.

    Raises:
        InputError: see `load_spec` and `accounting`.
    """
    other = named_split(cfg.train_split)
    with files_remembered():
        files = accounting(load_spec(other[0]) if other else config_spec(cfg))
    if files.line():
        warnings.warn(f"{files.line()}; 'gss data check' tells more", stacklevel=2)
    return files


def open_split(
    spec: DataSpec,
    split: str,
    *,
    transform: JointTransform | None = None,
    size: tuple[int, int] | None = None,
    cache: bool = False,
    sampling: str = "equal",
) -> LabelledImages:
    """Open one split of a spec: files, a generated data set, or a mixture of domains.

    Args:
        spec: data spec.
        split: name of the split.
        transform: augmentation.
        size: (H, W) that images and masks are resized to when read.
        cache: True keeps decoded images in memory.
        sampling: share of each domain of a mixture in an epoch, see `gss.data.domains.share_out`.

    Raises:
        InputError: see `SegmentationDataset` and `DomainDataset`.
    """
    if spec.domains:
        return open_domains(spec, split, transform=transform, size=size, cache=cache, sampling=sampling)
    if spec.flips:
        plain = open_split(replace(spec, flips=()), split, transform=transform, size=size, cache=cache)
        seed = int(spec.options.get("seed", 0))
        return FlippedDataset(plain, spec.flips, label_space=spec.label_space, split=split, seed=seed)
    if sampling != "equal":
        raise InputError(
            f"data.sampling is {quoted(sampling)}, but data set {spec.name!r} has no domains to choose from"
        )
    if spec.generator is None:
        return SegmentationDataset(spec, split, transform=transform, size=size, cache=cache)
    spec.check_split(split)
    options = spec.options
    if spec.generator != "scenes":
        root = options.get("root")
        return ImportedDataset(spec.generator, split, root=root, transform=transform, size=size)
    trap = options.get("trap", False)
    return ScenesDataset(
        split,
        domain=str(options.get("domain", "clear")),
        length=int(options["length"][split]),
        size=size or tuple(options.get("image_size", (192, 256))),
        seed=int(options.get("seed", 0)),
        transform=transform,
        unknown=options.get("unknown", False),
        cache=cache,
        trap=cast(Trap, "off" if trap is False else str(trap)),  # YAML reads the bare word `off` as false
        label_space=spec.label_space,
        label_map=spec.label_map if spec.label_map.values else None,
    )


def open_domains(
    spec: DataSpec,
    split: str,
    *,
    transform: JointTransform | None,
    size: tuple[int, int] | None,
    cache: bool,
    sampling: str,
) -> DomainDataset:
    """Open one split of a mixture; arguments as in `open_split`.

    Raises:
        InputError: no domain has the split, one lacks it, or files are missing (names the domain).
    """
    spec.check_split(split)
    parts: dict[str, LabelledImages] = {}
    for number, domain in enumerate(spec.domains):
        domain_split = domain.split(split)
        if domain_split is None:
            continue
        # Sample i of one domain must not be cropped and mirrored like sample i of the next.
        reseeded = transform and replace(transform, seed=transform.seed + (number << 32))
        try:
            parts[domain.name] = open_split(domain.spec, domain_split, transform=reseeded, size=size, cache=cache)
        except InputError as error:
            raise InputError(f"domain {quoted(domain.name)}: {error}") from error
    annotated = {domain.name: domain.annotated for domain in spec.domains if domain.name in parts}
    return DomainDataset(parts, label_space=spec.label_space, annotated=annotated, sampling=sampling)
