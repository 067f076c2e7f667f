"""Objects of the user's own, named as `module:Name` or by an entry point."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from gss.core.errors import InputError, unknown_name

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_reference(name: str) -> bool:
    """Return whether a name has the form `module:Name`."""
    return _REFERENCE.fullmatch(name) is not None


def is_plugin(name: str, group: str) -> bool:
    """Return whether a name is that of an object of the user's own, without importing it; see `find_plugin`."""
    return is_reference(name) or any(entry.name == name for entry in entry_points(group=f"gss.{group}"))


def require_module(reference: str) -> None:
    """Require that the top module of `module:Name` can be found, without importing it.

    Raises:
        InputError: there is no such module.
    """
    module = reference.partition(":")[0]
    _see_working_folder()
    top = module.partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise _no_module(reference, module)


def find_plugin(name: str, group: str) -> Any | None:
    """Return the object that a name stands for; None for a name that is no plugin's.

    Args:
        name: `module:Name`, where the module is installed or a file in the working folder; or the name of an entry
            point of the group `gss.GROUP` of an installed package.
        group: kind of the object, such as "scores".

    Raises:
        InputError: no such module or name in it, or the module cannot be imported; one line with the reason.
    """
    if is_reference(name):
        return _import(name)
    for entry in entry_points(group=f"gss.{group}"):
        if entry.name == name:
            return _import(entry.value)
    return None


def find_class(name: str, group: str, base: type, *, methods: tuple[str, ...] = ()) -> type | None:
    """Return the class that a name stands for, see `find_plugin`.

    Args:
        name: `module:Name`, or the name of an entry point.
        group: kind of the object.
        base: class that it must be, or derive from.
        methods: methods that it must have.

    Raises:
        InputError: it is something else, or lacks a method; besides what `find_plugin` raises.
    """
    found = find_plugin(name, group)
    if found is None:
        return None
    if not isinstance(found, type) or not issubclass(found, base):
        raise InputError(f"{name}: must be a class derived from {base.__module__}.{base.__qualname__}, is {found!r}")
    missing = [method for method in methods if not callable(getattr(found, method, None))]
    if missing:
        raise InputError(f"{name}: lacks {', '.join(missing)}; docs/extending/ shows a complete example")
    return found


def _import(reference: str) -> Any:
    module_name, _, name = reference.partition(":")
    _see_working_folder()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(f"{reference}: {module_name} needs the module {error.name!r}, install it") from error
        raise _no_module(reference, module_name) from error
    except Exception as error:  # the code of someone else may raise anything
        reason = " ".join(str(error).split())
        raise InputError(f"{reference}: importing {module_name} fails: {type(error).__name__}: {reason}") from error
    if not hasattr(module, name):
        raise unknown_name("name", name, _own_names(module), where=reference)
    return getattr(module, name)


def _see_working_folder() -> None:
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def _no_module(reference: str, module: str) -> InputError:
    where = f"it must be installed, or be {module}.py in {os.getcwd()}"
    return InputError(f"{reference}: there is no module {module!r}; {where}")


def _own_names(module: ModuleType) -> list[str]:
    """Return the public classes and functions that a module defines itself, not those that it imports."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
