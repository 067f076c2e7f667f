"""Ray without a cluster: one actor in this process, whose batches are rows of one share."""

import types
from contextlib import contextmanager

import numpy as np


class _Rows:
    def __init__(self, rows):
        self.rows = rows

    def map_batches(self, worker, *, fn_constructor_args, **options):
        assert options["batch_size"] == 1
        actor = worker(*fn_constructor_args)

        def results():
            for row in self.rows:
                for part in actor({name: np.array([value], dtype=object) for name, value in row.items()}):
                    yield from (dict(zip(part, values, strict=True)) for values in zip(*part.values(), strict=True))

        return types.SimpleNamespace(iter_rows=results)


def inline_ray(cpus=2):
    """Return what `gss.integrations.ray.run` needs of Ray."""
    return types.SimpleNamespace(
        cluster_resources=lambda: {"CPU": float(cpus)},
        data=types.SimpleNamespace(
            from_items=lambda rows, override_num_blocks: _Rows(rows), ActorPoolStrategy=lambda **options: None
        ),
        exceptions=types.SimpleNamespace(RayActorError=ZeroDivisionError, WorkerCrashedError=ZeroDivisionError),
    )


@contextmanager
def inline_cluster(address=None, actors=None):
    """Take the place of `gss.integrations.ray.cluster.cluster`."""
    yield inline_ray()
