"""Reading and writing configs: YAML files and `key=value` overrides over a dataclass, checked key by key.

No other module imports OmegaConf: the rest of the package uses plain dataclasses.
"""

import dataclasses
import inspect
import os
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gss.config.limits import broken_limits
from gss.config.root import config_root as config_root
from gss.core.errors import InputError, did_you_mean, nearest, quoted, shorten
from gss.core.files import atomic_path


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Divide arguments into config files and `key=value` overrides; a path may hold `=` only after a slash."""
    overrides = [text for text in arguments if "=" in text and "/" not in text.partition("=")[0]]
    return [text for text in arguments if text not in overrides], overrides


T = TypeVar("T")


def load_config(cls: type[T], files: list[str], overrides: list[str]) -> T:
    """Merge the defaults of `cls`, YAML files and overrides, in this order.

    Args:
        cls: dataclass of dataclasses with the defaults.
        files: YAML files; later ones override earlier ones. A name that is not found from the working folder is looked
            up in the configs that come with gss.
        overrides: `section.key=value`, the value in YAML.

    Returns:
        An instance of `cls`.

    Raises:
        InputError: a missing or malformed file, an unknown key, a wrong type or a value out of range; one line that
            names the source and the nearest valid spelling.
    """
    merged = OmegaConf.structured(cls)
    origins: dict[str, str] = {}
    for source, content in [*_read_files(cls, files), *_read_overrides(overrides)]:
        for key, value, expected in _leaves(content, cls, "", source, cls):
            if value is False and "no" in get_args(expected):
                value = "no"  # YAML reads the bare word `no` as false
            if value is None and expected is str:
                value = ""  # `key=` and null ask for nothing
            try:
                OmegaConf.update(merged, key, value, merge=True, force_add=True)
            except (OmegaConfBaseException, ValueError, TypeError) as error:
                raise InputError(f"{source}: {key} = {shorten(_shown(value))} is not {_describe(expected)}") from error
            origins[key] = source
    try:
        config: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        source = origins.get(str(error.full_key), "config")
        raise InputError(f"{source}: {str(error).splitlines()[0]}") from error
    for key, value, allowed in broken_limits(config):
        raise InputError(f"{origins.get(key, 'config')}: {key} = {shorten(_shown(value))} must be {allowed}")
    return config


def save_config(config: Any, path: str | os.PathLike[str]) -> None:
    """Write a config as commented YAML that `load_config` reads back to an equal object."""
    with atomic_path(path) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8")


def to_yaml(config: Any) -> str:
    """Render a config dataclass as YAML, each key with its description from the class docstring."""
    return "\n".join(_yaml_lines(config, "")) + "\n"


def _yaml_lines(config: Any, indent: str) -> Iterator[str]:
    described = _attribute_docs(type(config))
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            title = (inspect.getdoc(type(value)) or "").split("\n")[0]
            yield f"{indent}{item.name}:  # {title}"
            yield from _yaml_lines(value, indent + "  ")
        else:
            comment = f"  # {_sentence(described[item.name], item.type)}" if item.name in described else ""
            yield f"{indent}{item.name}: {_shown(value)}{comment}"


def _attribute_docs(cls: type) -> dict[str, str]:
    """Return the descriptions of the attributes of a class, each on one line."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)$", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _sentence(text: str, expected: Any) -> str:
    """Return a description as a sentence; one that begins with a value of the setting keeps its first letter."""
    first = re.split(r"[\s,:;]", text, maxsplit=1)[0]
    keep = first in map(str, get_args(expected)) or not re.fullmatch(r"[a-z][a-z-]*", first)
    return f"{text if keep else text[0].upper() + text[1:]}{'' if text.endswith('.') else '.'}"


def _shown(value: Any) -> str:
    """Return a value as one line of YAML."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _read_files(cls: type, names: list[str]) -> Iterator[tuple[str, dict]]:
    for name in names:
        path = _find(cls, name)
        try:
            content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise InputError(f"{path}{line}: not valid YAML: {error.problem or error.context}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a text file in UTF-8") from error
        except (OmegaConfBaseException, OSError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read as a config: {str(error).splitlines()[0]}") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: a config is a mapping of keys to values, not a {type(content).__name__}")
        if "classes" in content or "generator" in content:
            raise InputError(f"{path} describes a data set, it is no config: write data.spec={path}")
        yield str(path), content


def _read_overrides(overrides: list[str]) -> Iterator[tuple[str, dict]]:
    for text in overrides:
        source = f"override {quoted(text)}"
        if "=" not in text:
            raise InputError(f"{source}: write it as key=value, for example train.steps=1000")
        try:
            content = OmegaConf.to_container(OmegaConf.from_dotlist([text]), resolve=False)
        except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError) as error:
            raise InputError(f"{source}: the value is not valid YAML: {str(error).splitlines()[0]}") from error
        if isinstance(content, dict):
            yield source, content


def _find(cls: type, name: str) -> Path:
    root = config_root()
    # A README line such as `configs/camvid/prior.yaml` should also work away from a checkout.
    for candidate in (Path(name), root / name, root / name.removeprefix("configs/")):
        if candidate.is_file():
            return candidate
    if Path(name).is_dir():
        raise InputError(f"config {name} is a folder: name a YAML file in it")
    if name in _all_keys(cls):
        raise InputError(f"{name} is a key, not a config file: write {name}=VALUE")
    shipped = [path.relative_to(root).as_posix() for path in root.rglob("*.yaml")]
    beside = [str(path) for path in Path(name).parent.glob("*.yaml")]
    options = [*shipped, *(f"configs/{option}" for option in shipped), *beside]
    hint = did_you_mean(name, options) or f"configs that come with gss are in {root}"
    raise InputError(f"config file {name} not found: {hint}")


def _leaves(content: dict, cls: type, prefix: str, source: str, top: type) -> Iterator[tuple[str, Any, Any]]:
    """Walk a mapping along the dataclass and yield (dotted key, value, expected type)."""
    expected = get_type_hints(cls)
    for name, value in content.items():
        key = f"{prefix}{name}"
        if name not in expected:
            raise InputError(f"{source}: unknown key {quoted(key)}{_nearest_key(key, prefix, cls, top)}")
        if not dataclasses.is_dataclass(expected[name]):
            yield key, value, expected[name]
        elif isinstance(value, dict):
            yield from _leaves(value, expected[name], f"{key}.", source, top)
        else:
            section = ", ".join(get_type_hints(expected[name]))
            raise InputError(f"{source}: {key} = {shorten(_shown(value))} is not a section with the keys {section}")


def _nearest_key(key: str, prefix: str, cls: type, top: type) -> str:
    name = key.rpartition(".")[2]
    siblings = [f"{prefix}{option}" for option in get_type_hints(cls)]
    # The last part alone is compared, first in the same section, then anywhere (`lr` for `optim.lr`).
    for options in (siblings, _all_keys(top)):
        by_name: dict[str, list[str]] = {}
        for option in options:
            by_name.setdefault(option.rpartition(".")[2], []).append(option)
        found = nearest(name, by_name)
        if found:
            return f", did you mean {' or '.join(repr(option) for option in by_name[found])}?"
    return f": the keys here are {', '.join(siblings)}"


def _all_keys(cls: type, prefix: str = "") -> list[str]:
    keys = []
    for name, expected in get_type_hints(cls).items():
        nested = dataclasses.is_dataclass(expected)
        keys += _all_keys(expected, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]  # type: ignore[arg-type]
    return keys


def _describe(expected: Any) -> str:
    """Describe a type to someone who writes YAML."""
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if arg is type(None) else _describe(arg) for arg in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is tuple:
        example = "[192, 256]" if args[0] is int else "[0.5, 2.0]"
        return f"a list of {len(args)} {'integers' if args[0] is int else 'numbers'} such as {example}"
    if origin is list:
        examples = {str: "[a, b]", int: "[40, 20]", float: "[0.5, 2.0]"}
        nested = "of lists such as [[0, 0, 0], [255, 255, 255]]"
        return f"a list {f'such as {examples[args[0]]}' if args[0] in examples else nested}"
    if origin is dict:
        return "a mapping such as {key: value}"
    return {int: "an integer", float: "a number", bool: "true or false", str: "a string"}[expected]
