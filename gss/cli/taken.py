"""An `--out` that holds a run of the same stage with other settings, such as another seed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gss.core.errors import InputError, quoted
from gss.training.stages import STAGES

_SHOWN = 4


def refuse_other_run(stage: str, config: Any, out: str) -> None:
    """Refuse to train into the folder of a run with other settings; a run with the same ones is left to its own check.

    Args:
        stage: key of `gss.training.stages.STAGES`.
        config: settings of the new run.
        out: its folder.

    Raises:
        InputError: there is such a run; names the settings that differ and a free folder.
    """
    from gss.config.io import load_config
    from gss.core.lookup.run_kinds import kind_of_run

    folder = Path(out)
    if not (folder / "config.yaml").is_file():
        return
    try:
        there = load_config(type(config), [str(folder / "config.yaml")], [])
    except InputError:  # a run of another stage, or of another version
        return
    if {stage, kind_of_run(folder)} == {"prior", "twin"}:
        return
    before = dict(_settings(there))
    changed = [(key, before[key], value) for key, value in _settings(config) if before[key] != value]
    if not changed:
        return
    shown = ", ".join(f"{key}={_text(old)} there and {_text(new)} here" for key, old, new in changed[:_SHOWN])
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    state = "a finished run" if (folder / STAGES[stage].product).is_dir() else "a run"
    raise InputError(
        f"output folder {out} already holds {state} with other settings ({shown}{more}): choose another --out, such as "
        f"{_free(folder, changed)}, or pass --overwrite to replace it"
    )


def _settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting with its dotted key."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            yield from _settings(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    return quoted(value) if value == "" or not isinstance(value, str) else value


def _free(folder: Path, changed: list[tuple[str, Any, Any]]) -> Path:
    """Return a folder that does not exist, named after what differs if that is one number or word."""
    key, _, value = changed[0]
    ending = f"{key.rpartition('.')[2]}{value}"
    stem = f"{folder.name}_{ending}" if len(changed) == 1 and re.fullmatch(r"[\w.]{1,24}", ending) else folder.name
    names = [stem] if stem != folder.name else []
    return next(
        path
        for path in (folder.with_name(name) for name in [*names, *(f"{stem}_{n}" for n in range(2, 1000))])
        if not path.exists()
    )
