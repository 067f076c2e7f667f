"""Files of score maps, in the folders that the tool of SegmentMeIfYouCan reads."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path, PurePosixPath

import numpy as np

from gss.core.distributed import run_on_main
from gss.core.errors import InputError, unknown_name
from gss.core.files import atomic_path
from gss.core.outputs import prepare_output
from gss.data.outliers.benchmarks import OODDataset

FORMATS = ("hdf5", "npy")
DTYPES = ("float32", "float16")

# The tool has one folder for all splits of a track; a file is named by the frame alone.
_TRACKS = {
    "smiyc_anomaly21": "AnomalyTrack-all",
    "smiyc_obstacle21": "ObstacleTrack-all",
    ("lost_and_found", "test"): "LostAndFound-test",
    ("lost_and_found", "test_noknown"): "LostAndFound-test",
    ("lost_and_found", "train"): "LostAndFound-train",
}


class ScoreFiles:
    """Writer of score maps to `FOLDER/anomaly_p/SCORE/DATA/FRAME.hdf5`; FOLDER is the tool's `DIR_OUTPUTS`.

    An HDF5 file has one array, `value` [H, W], compressed. `npy` writes the same arrays as NumPy files, which the tool
    does not read.

    Args:
        folder: output folder, created if missing.
        file_format: `hdf5` (needs h5py) or `npy`.
        dtype: `float32`, or `float16`, which the tool itself writes: three digits, nothing above 65504.
        overwrite: whether to accept a folder that is not empty.

    Raises:
        InputError: the folder is not empty, h5py is missing, or an argument is not allowed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        file_format: str = "hdf5",
        dtype: str = "float32",
        overwrite: bool = False,
    ) -> None:
        for name, value, allowed in (("file_format", file_format, FORMATS), ("dtype", dtype, DTYPES)):
            if value not in allowed:
                raise unknown_name(name, value, allowed)
        if file_format == "hdf5" and importlib.util.find_spec("h5py") is None:
            raise InputError("score files in hdf5 need h5py: pip install 'gss[hdf5]', or choose the format npy")
        run_on_main(lambda: prepare_output(folder, overwrite=overwrite))
        self.folder, self.file_format, self.dtype = Path(folder), file_format, dtype

    def path(self, score: str, dataset: OODDataset, id: str) -> Path:
        """Return the file of one frame.

        Raises:
            InputError: the id leads out of the folder.
        """
        name, split = dataset.spec.name, dataset.split
        track = _TRACKS.get(name) or _TRACKS.get((name, split))
        frame = PurePosixPath(id)
        if frame.is_absolute() or ".." in frame.parts:
            raise InputError(f"frame {id!r} of {name} is not a name below the folder; rename it to save its scores")
        relative = frame.name if track else str(frame)
        return self.folder / "anomaly_p" / score / (track or f"{name}-{split}") / f"{relative}.{self.file_format}"

    def write(self, score: str, dataset: OODDataset, id: str, values: np.ndarray) -> None:
        """Write one map; the file appears when it is complete.

        Args:
            score: name of the score.
            dataset: data set of the frame.
            id: name of the frame.
            values: float32 [H, W].

        Raises:
            InputError: a finite value is too large for the dtype.
        """
        with np.errstate(over="ignore"):
            stored = values.astype(self.dtype)
        if not np.array_equal(np.isfinite(stored), np.isfinite(values)):
            raise InputError(
                f"score {score!r} of {id} reaches {float(np.abs(values[np.isfinite(values)]).max()):.4g}, too much for "
                f"{self.dtype}: use float32"
            )
        with atomic_path(self.path(score, dataset, id)) as temporary:
            if self.file_format == "npy":
                np.save(temporary, stored)
                return
            import h5py

            with h5py.File(temporary, "w") as file:
                file.create_dataset("value", data=stored, compression=9)
