"""Checks shared by the evaluations: classes of pipeline and data set, device."""

from collections.abc import Collection, Sequence

import torch

from gss.core.errors import InputError, did_you_mean, quoted
from gss.data.protocols import ReadableImages
from gss.pipeline.pipeline import GSSPipeline


def check_classes(
    names: Sequence[str],
    data_names: Sequence[str],
    *,
    model: str = "the pipeline",
    fix: str = "map the labels in the data spec",
    trained: bool = True,
) -> None:
    """Require that a model and a data set have the same classes in the same order.

    Args:
        names: classes of the model.
        data_names: classes of the data set.
        model: name of the model in the message.
        fix: remedy in the message.
        trained: whether the model's names are those of a training, which a class of another name can be given back.

    Raises:
        InputError: names what differs; where names alone do, the first remedy is the name of training.
    """
    names, data_names = list(names), list(data_names)
    if names == data_names:
        return
    differences = []
    for title, first, second in ((f"{model} lacks", data_names, names), ("the data set lacks", names, data_names)):
        missing = [name for name in first if name not in second]
        if missing:
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            differences.append(f"{title} {', '.join(missing[:8])}{more}")
    if not differences:
        place = next(i for i, (a, b) in enumerate(zip(names, data_names, strict=True)) if a != b)
        differences = [
            f"the order differs from class {place}: {quoted(names[place])} is {quoted(data_names[place])} there"
        ]
    back = _names_back(names, data_names) if trained else ""
    raise InputError(f"classes of the data set differ from those of {model}: {'; '.join(differences)}; {back}{fix}")


def _names_back(names: Sequence[str], data_names: Sequence[str]) -> str:
    """Return the remedy for classes that were renamed after training; empty where more than names differs."""
    if len(names) != len(data_names):
        return ""
    renamed = [(old, new) for old, new in zip(names, data_names, strict=True) if old != new]
    foreign = len(renamed) > max(4, len(names) // 2)  # another data set that happens to have as many classes
    if foreign or any(old in data_names or new in names for old, new in renamed):
        return ""
    listed = " and ".join(f"{quoted(new)} its name of training back, {quoted(old)}," for old, new in renamed[:4])
    more = f" and so on for {len(renamed) - 4} more" if len(renamed) > 4 else ""
    return f"if the class is the same, give {listed}{more} in the data set; otherwise "


def check_at_least(least: int, **values: int | None) -> None:
    """Require that arguments, given by name, have at least this value; `None` stands for no value.

    Raises:
        InputError: names the argument and its value.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")


def check_share(**values: float) -> None:
    """Require that arguments, given by name, lie strictly between 0 and 1.

    Raises:
        InputError: names the argument and its value.
    """
    for name, value in values.items():
        if not 0 < value < 1:
            raise InputError(f"{name} is {value}; it must lie between 0 and 1, such as 0.05")


def check_dataset(dataset: ReadableImages, name: str = "the data set") -> None:
    """Require that a data set has images.

    Raises:
        InputError: it has none.
    """
    if len(dataset) == 0:
        raise InputError(f"{name} has no images; choose another split")


def class_names(pipeline: GSSPipeline) -> list[str]:
    """Return the names of a pipeline's classes, in the order of their numbers."""
    return [pipeline.id2label[index] for index in range(len(pipeline.id2label))]


def check_known(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """Require that at least one of several pipelines knows each name.

    Raises:
        InputError: names the first, the nearest known one and all known ones.
    """
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            listed = ", ".join(sorted(known))
            raise InputError(
                f"no pipeline here has {kind} {quoted(name)}{', ' + hint if hint else ''} they have {listed}"
            )


def device_name(device: torch.device) -> str:
    """Return the name of a device for reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type
