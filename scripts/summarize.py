"""Mean and spread over seeds, as Markdown tables.

    python scripts/summarize.py runs/camvid/prior_s? runs/camvid/twin_s?     # run folders of gss train
    python scripts/summarize.py runs/ood/s0.json runs/ood/s1.json            # of gss evaluate-ood --json
    python scripts/summarize.py runs/residual_s?/residual.json               # of gss train residual
    python scripts/summarize.py runs/shifts.json                             # of gss evaluate-shifts --json

Runs and pipelines whose names differ only in a trailing `_s<seed>` are seeds of one model. Each file of
out-of-distribution metrics is one seed.
"""

import argparse
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.files import read_json
from gss.report.tables import Table, tables_markdown
from gss.training.engine.log import read_metrics

Values = dict[str, list[Sequence[float | None]]]
"""Row of a table to the metrics of every seed."""


def main() -> int:
    """Print the tables of the files and folders that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="run folders or JSON files, all of one kind")
    paths = parser.parse_args().paths
    try:
        if all(path.is_dir() for path in paths):
            tables = runs(paths)
        else:
            contents = [read_json(path) for path in paths]
            tables = shifts(contents) if any("shifts" in content for content in contents) else ood(contents)
    except InputError as error:
        print(f"summarize: error: {error}", file=sys.stderr)
        return 2
    print(tables_markdown(tables))
    return 0


def runs(folders: Sequence[Path]) -> list[Table]:
    """Return the last validation of runs by model and decode mode."""
    values: Values = defaultdict(list)
    for folder in folders:
        lines = [line for line in read_metrics(folder) if any(key.startswith("val_") for key in line)]
        final = lines[-1] if lines else {}
        if not final:
            print(f"{folder} has no validation metrics yet", file=sys.stderr)
        for key in [key for key in final if key.startswith("val_") and key.endswith("_miou")]:
            mode = key.removeprefix("val_").removesuffix("_miou")
            row = f"{_model(folder.name)}, {mode}"
            values[row].append([final[key], final.get(f"val_{mode}_boundary_f")])
    rows = [
        [name, len(seeds), *(spread(column, digits=2) for column in zip(*seeds, strict=True))]
        for name, seeds in values.items()
    ]
    return [Table("", ["run, decode", "seeds", "mIoU", "boundary F"], rows)]


def ood(contents: Sequence[dict[str, Any]]) -> list[Table]:
    """Return pooled out-of-distribution metrics by data set and score."""
    tables: dict[str, Values] = defaultdict(lambda: defaultdict(list))
    for content in contents:
        for evaluation in content.get("results", []):
            for score, result in evaluation["scores"].items():
                pooled = result["pooled"]
                metrics = [pooled["ap"], pooled["fpr"]["first_at_least"], pooled["auroc"]]
                tables[evaluation["data"]][score].append([metric and metric["value"] for metric in metrics])
        for score, metrics in content.get("scores", {}).items():
            tables["pasted objects"][score].append([metrics[key] for key in ("ap", "fpr95", "auroc")])
    return [_table(data, ["score", "AP", "FPR95", "AUROC"], values) for data, values in tables.items()]


def shifts(contents: Sequence[dict[str, Any]]) -> list[Table]:
    """Return means over all shifts and severities, and the mIoU by shift."""
    means: Values = defaultdict(list)
    by_shift: dict[str, Values] = defaultdict(lambda: defaultdict(list))
    for content in contents:
        for name, cell in content["pipelines"].items():
            for mode, summary in cell["summary"]["modes"].items():
                model, miou, ece = f"{_model(name)}, {mode}", summary["miou"], summary["ece"]
                means[model].append([miou["clean"], miou["shifted"], miou["drop"], ece["clean"], ece["shifted"]])
                for shift, value in miou["by_shift"].items():
                    by_shift[shift][model].append([value])
    head = ["model, decode", "clean mIoU", "shifted mIoU", "drop of mIoU", "clean ECE", "shifted ECE"]
    models = list(means)
    rows = [[shift, *(spread(v for (v,) in values[model]) for model in models)] for shift, values in by_shift.items()]
    return [_table("", head, means), Table("", ["mIoU under", *models], rows)]


def spread(values: Iterable[float | None], digits: int = 1) -> str | None:
    """Return mean and, of more than one value, standard deviation, in percent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return None
    mean = f"{statistics.mean(known):.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.{digits}f}"


def _table(title: str, columns: list[str], values: Values) -> Table:
    rows = [[name, *(spread(column) for column in zip(*seeds, strict=True))] for name, seeds in values.items()]
    return Table(title, columns, rows)


def _model(name: str) -> str:
    return re.sub(r"_s\d+(?=/|$)", "", name)


if __name__ == "__main__":
    sys.exit(main())
