"""A small real task for the tests of the training loop: tell in which quadrant a bright blob lies.

Run as a script it is a training process of its own: `tiny_task.py OUT SCENARIO`.
"""

import dataclasses
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gss.config.shared import OptimConfig, TrainConfig
from gss.training.engine import checkpoint
from gss.training.engine.loop import Task, fit
from gss.training.engine.run_folder import explained


class Blobs:
    """Generated images with a blob; the noise depends on (epoch, index), as augmentation does."""

    def __init__(self, n: int = 22, poison: int | None = None) -> None:
        self.n, self.poison, self.epoch = n, poison, 0
        self.ids = [f"blob{i}" for i in range(n)]
        self.seen: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.n

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.seen.append((self.epoch, index))
        generator = torch.Generator().manual_seed(self.epoch * 1000 + index)
        image = 0.3 * torch.rand(1, 8, 12, generator=generator)
        label = index % 4
        y, x = 4 * (label // 2) + 1, 6 * (label % 2) + 2
        image[:, y : y + 2, x : x + 2] += 1.0
        if index == self.poison:
            image[:] = float("nan")
        return {"image": image, "label": label, "id": self.ids[index], "index": index}


@dataclasses.dataclass
class BlobConfig:
    optim: OptimConfig
    train: TrainConfig
    width: int = 6
    dropout: float = 0.2


def config(*, width: int = 6, dropout: float = 0.2, lr: float = 0.01, **train: Any) -> BlobConfig:
    defaults = {"steps": 7, "batch_size": 8, "ema_decay": 0.9, "log_every": 1, "checkpoint_every": 0}
    return BlobConfig(
        OptimConfig(lr=lr, warmup_steps=2), TrainConfig(**(defaults | train)), width=width, dropout=dropout
    )


class BlobTask(Task):
    export_name = "product"

    def __init__(self, cfg: BlobConfig, *, signal_at: dict[int, int] | None = None) -> None:
        super().__init__()
        torch.manual_seed(cfg.train.seed)
        self.backbone = nn.Conv2d(1, cfg.width, 3, padding=1)
        self.norm = nn.LayerNorm(cfg.width * 8 * 12)
        self.dropout = nn.Dropout(cfg.dropout)
        self.head = nn.Linear(cfg.width * 8 * 12, 4)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.freeze(scale=nn.BatchNorm2d(1))
        self.signal_at = signal_at or {}
        self.random: list[float] = []

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        if step in self.signal_at:
            signal.raise_signal(self.signal_at.pop(step))
        self.calls += 1
        self.random.append(torch.rand(()).item())
        loss = nn.functional.cross_entropy(self.logits(batch["image"]), batch["label"])
        return {"loss": loss, "ce": loss.detach()}

    def logits(self, image: Tensor) -> Tensor:
        hidden = torch.relu(self.backbone(self.scale(image))).flatten(1)
        return self.head(self.dropout(self.norm(hidden)))

    def validate(self) -> dict[str, float]:
        assert not self.training
        torch.rand(3)  # validation may use the global generator without disturbing training
        data = Blobs()
        items = [data[i] for i in range(len(data))]
        logits = self.logits(torch.stack([item["image"] for item in items]).to(self.head.weight.device))
        labels = torch.tensor([item["label"] for item in items], device=logits.device)
        return {"accuracy": (logits.argmax(1) == labels).float().mean().item()}

    def pictures(self) -> dict[str, Image.Image]:
        assert not self.training
        return {"blob": Image.new("RGB", (12, 8))}

    def export(self, folder: Path) -> None:
        assert not self.training
        checkpoint.save_tensors({"weight": self.head.weight, "calls": self.calls}, folder / "head.safetensors")


def run(
    cfg: BlobConfig,
    out: Path,
    *,
    task: BlobTask | None = None,
    data: Blobs | None = None,
    resume: bool = False,
    workers: int = 0,
) -> dict[str, float]:
    return fit(
        task or BlobTask(cfg),
        Blobs() if data is None else data,
        optim=cfg.optim,
        train=cfg.train,
        out=out,
        config=cfg,
        resume=resume,
        workers=workers,
    )


def _kill_while_saving(out: Path) -> None:
    """SIGKILL with half of the second checkpoint's optimizer file on the disk."""
    save_file = checkpoint.save_file

    def dying(tensors: dict[str, Tensor], path: Path) -> None:
        save_file(tensors, path)
        if path.name == "optimizer.safetensors" and "step_000004" in str(path):
            path.write_bytes(path.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_file = dying
    run(config(checkpoint_every=2), out)


def _full_disk(out: Path, where: str) -> None:
    """Print the error of a run whose writes fail at one place; a limit of the kernel stands for the full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.RLIM_INFINITY

    class Task(BlobTask):
        def limit(self, size: int, name: str) -> None:
            if name == where:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited))

        def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
            if step == 3:
                self.limit(4000, "checkpoint")
                self.limit(100, "metrics")
            return super().forward(batch, step)

        def pictures(self) -> dict[str, Image.Image]:
            self.limit(4000, "picture")
            return {"noise": Image.effect_noise((200, 200), 100)}

        def export(self, folder: Path) -> None:
            self.limit(1000, "product")
            super().export(folder)

    cfg = config(checkpoint_every=2, picture_every=3)
    try:
        with explained(out):
            run(cfg, out, task=Task(cfg))
    except OSError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
        print(f"{error.filename}|{error.strerror}")


def _two_processes(out: Path) -> None:
    """Three runs: straight, with micro-batches, and stopped by a signal to one process and resumed."""
    rank = int(os.environ["RANK"])
    plain = config(dropout=0.0)
    run(plain, out / "straight")
    run(config(dropout=0.0, accumulate=2), out / "accumulated")
    run(config(), out / "dropout")
    stopped = BlobTask(config(), signal_at={3: signal.SIGTERM} if rank == 1 else {})
    try:
        run(config(), out / "resumed", task=stopped)
        raise AssertionError("the signal was not answered")
    except SystemExit as error:
        assert error.code == 143
    run(config(), out / "resumed", resume=True)
    try:
        run(config(batch_size=9), out / "uneven")
        raise AssertionError("9 samples were split over 2 processes")
    except ValueError as error:
        (out / f"uneven{rank}.txt").write_text(str(error))
    check_collectives(rank)


def check_collectives(rank: int) -> None:
    from gss.core import distributed

    assert (distributed.process_index(), distributed.num_processes()) == (rank, 2)
    assert distributed.is_main() == (rank == 0)
    assert list(distributed.shard(5)) == [[0, 2, 4], [1, 3]][rank]
    mine = torch.tensor([rank + 1.0, 10.0], dtype=torch.float64)
    assert distributed.sum_across(mine).tolist() == [3.0, 20.0]
    assert mine[0] == rank + 1
    assert distributed.gather_objects({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    distributed.copy_from_main([mine])
    assert mine.tolist() == [1.0, 10.0]
    distributed.barrier()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, scenario = Path(sys.argv[1]), sys.argv[2]
    if scenario == "two":
        _two_processes(folder)
    elif scenario == "kill":
        _kill_while_saving(folder)
    elif scenario.startswith("full"):
        _full_disk(folder, scenario.removeprefix("full "))
    else:
        # Workers take part: the signal goes to the whole group.
        run(config(steps=100000, checkpoint_every=0, batch_size=4), folder, workers=1)
