"""Progress bar, `metrics.jsonl` and tensorboard files of a run."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gss.core.files import atomic_path, naming
from gss.core.progress import Progress
from gss.training.engine.run_folder import METRICS_FILE


class RunLog:
    """Writer of the main process; on the others every call does nothing.

    `metrics.jsonl` has one JSON object per line, each with "step" (optimizer steps made). Training lines
    hold "epoch", the mean of each loss term since the line before, "lr", "grad_norm", "images_per_second"
    and "data_wait" (share of the time spent waiting for data); validation lines hold "val_<name>".
    """

    def __init__(self, out: Path, *, steps: int, start: int, active: bool, tensorboard: bool) -> None:
        """Open the log; lines after `start` (of a part that is being repeated) are dropped.

        Args:
            out: folder of the run.
            steps: optimizer steps of the whole run.
            start: optimizer steps made already.
            active: True on the main process.
            tensorboard: write event files to `out/tensorboard` too.
        """
        self.path = out / METRICS_FILE
        self.active = active
        self._board: Any = None
        self._bar = Progress(steps, "training", unit="step", shown=active, initial=start)
        if not active:
            return
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        lines = [line for line in read_metrics(out) if line["step"] <= start] if start else []
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def advance(self) -> None:
        """Move the progress bar by one step."""
        self._bar.update()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line of numbers.

        Args:
            step: optimizer steps made.
            values: numbers; NaN and infinities are written as null, to stay valid JSON.
        """
        if not self.active:
            return
        line = {k: v if v == v and abs(v) != float("inf") else None for k, v in values.items()}
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **line}) + "\n")
        if "loss" in values:
            self._bar.note(loss=f"{values['loss']:.4g}")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)

    def say(self, text: str) -> None:
        """Print one line on stderr without tearing the progress bar."""
        if self.active:
            tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the last state of the bar on the screen and close the files."""
        self._bar.close()
        if self._board is not None:
            self._board.close()


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """Return the lines of `metrics.jsonl` in a run folder.

    Args:
        out: folder of the run.

    Returns:
        Lines in order, each with the whole number "step"; empty without a file. Lines that a kill cut off, or that are
        no metrics, are left out.
    """
    path = out / METRICS_FILE
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and type(line.get("step")) is int:
                lines.append(line)
    return lines


def recorded_validation(out: Path, step: int) -> dict[str, float]:
    """Return the validation metrics of a step that a run folder has on record; empty if there are none.

    Args:
        out: folder of the run.
        step: optimizer steps made.
    """
    found: dict[str, float] = {}
    for line in read_metrics(out):
        if line["step"] == step:
            values = {key.removeprefix("val_"): value for key, value in line.items() if key.startswith("val_")}
            found |= {name: float("nan") if value is None else value for name, value in values.items()}
    return found
