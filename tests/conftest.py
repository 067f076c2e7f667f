"""Settings of every test: no network, one thread, fixed seeds."""

import os

# Set before torch is imported. Tensors in tests are so small that a second thread only costs time.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["MPLBACKEND"] = "Agg"
# Bit for bit comparisons with other processes need the same number of threads everywhere.
os.environ["OMP_NUM_THREADS"] = "1"

import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

# A shell starts background jobs with Ctrl-C ignored, and processes of tests inherit that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("gss", deadline=None, derandomize=True, max_examples=30)
hypothesis.settings.load_profile("gss")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if "gpu" in item.keywords]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
