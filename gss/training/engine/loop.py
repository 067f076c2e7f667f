"""The training loop: one `fit` for every stage; what differs is the `Task`.

What `fit` guarantees:

- Step s reads the samples `step_samples(s)` and draws random numbers seeded by (seed, s, process), at the
  rate `learning_rate_scale(s)`. All three are pure functions, so a run that is stopped, killed or resumed
  (also in the middle of an epoch) continues bit-exactly.
- Gradients are averaged over micro-batches and processes. A run on several processes equals a run on one
  with the same global batch up to rounding if the loss is a plain mean over samples. A mean over valid
  pixels weighs each micro-batch alike, whatever its share of void pixels; batch statistics and dropout
  differ likewise. That is the usual behaviour of distributed training, and deterministic.
- Nothing is read back from a GPU while its step runs. Loss values are copied asynchronously and looked at
  one step later (at once on a CPU); a checkpoint is written only after all of them, and all parameters, were
  found finite.
- Validation, pictures and export see averaged parameters (if `ema_decay` > 0) next to the live buffers:
  codebooks and batch-norm statistics are running averages already.
- One process at a time writes to a run folder. What a kill leaves half written is removed at the next start.
"""

import importlib.util
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from gss.config.io import save_config
from gss.config.shared import OptimConfig, TrainConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import atomic_path, discard
from gss.core.outputs import LOCK_NAME, locked, remove_leftovers
from gss.report.pictures import save_picture
from gss.training.engine import checkpoint as checkpoints
from gss.training.engine.accelerator import Precision, build_accelerator, seed_step
from gss.training.engine.batch_norm import checked_batch_norm
from gss.training.engine.batches import BatchStream, Quotas, StepSampler, named_samples
from gss.training.engine.ema import ParameterEMA
from gss.training.engine.log import RunLog, recorded_validation
from gss.training.engine.meter import NonFiniteError, StepMeter
from gss.training.engine.optim import build_optimizer, learning_rate_scale
from gss.training.engine.run_folder import (
    DATA_FILE,
    advice,
    keep_newest,
    list_checkpoints,
    newest_checkpoint,
    set_aside,
)
from gss.training.engine.sources import Source
from gss.training.engine.stop import StopRequest
from gss.training.engine.task import Task


def fit(
    task: Task,
    dataset: Any,
    *,
    optim: OptimConfig,
    train: TrainConfig,
    out: Path,
    workers: int = 0,
    resume: bool = False,
    config: object = None,
    sources: Sequence[Source] = (),
) -> dict[str, float]:
    """Train a task and write its product, checkpoints, `metrics.jsonl` and pictures.

    Without `resume` an earlier run in `out` is cleared first (the caller asked for that: see
    `gss.core.outputs.prepare_output`). SIGTERM and Ctrl-C end the step, save, and leave by SystemExit(143 | 130).
    Resuming a run that was killed before its first checkpoint starts it anew; resuming a finished run only validates
    (if that is missing) and exports again. A damaged checkpoint is set aside for the one before.

    Args:
        task: task with its initial weights, on the CPU.
        dataset: training samples with `len`, `set_epoch(epoch)`, `[index]` -> dict of tensors; optional `.quotas` of
            several domains, see `step_samples`, and for messages `.ids` and, if items are drawn from images,
            `source(epoch, index)`, the image.
        optim: optimizer and schedule.
        train: length, batch, precision and intervals.
        out: folder of the run.
        workers: loader processes per training process.
        resume: continue from the newest checkpoint in `out`.
        config: dataclass saved with the run and compared on a resume.
        sources: inputs of the run, compared on a resume by what they hold; read on the main process.

    Returns:
        The final validation metrics.

    Raises:
        InputError: another process is using the folder, it holds no run to resume, the checkpoint belongs to another
            run, the data set is empty, or a loss or parameter is not finite; the message names the step, the loss term
            and the samples.
        OSError: something cannot be written.
    """
    if len(dataset) == 0:
        raise InputError("the training data set is empty; check the split name with 'gss data check'")
    out = Path(out)
    if distributed.is_main():
        out.mkdir(parents=True, exist_ok=True)
    with locked(out) if distributed.is_main() else nullcontext():
        return _Run(task, dataset, optim, train, out, workers, config, sources).run(resume)


class _Run:
    """State of one call of `fit`."""

    def __init__(
        self,
        task: Task,
        dataset: Any,
        optim: OptimConfig,
        train: TrainConfig,
        out: Path,
        workers: int,
        config: object,
        sources: Sequence[Source],
    ) -> None:
        self.accelerator = build_accelerator(train)
        if train.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise InputError("train.tensorboard=true needs tensorboard: pip install tensorboard, or set it to false")
        self.dataset, self.optim, self.train, self.out = dataset, optim, train, out
        self.workers, self.config, self.sources = workers, config, sources
        # Only a data set of several domains says how often each is read.
        self.quotas: Quotas = getattr(dataset, "quotas", ())
        self.checkpoints = out / "checkpoints"
        self.task = task.to(self.accelerator.device).train()
        self.optimizer = build_optimizer(task.parameter_groups(optim), optim)
        self.model = self.accelerator.prepare(task)
        self.precision = Precision(train.precision, self.accelerator.device)
        # After prepare: it gives every process the weights of the main one.
        self.ema = ParameterEMA(task, train.ema_decay) if train.ema_decay > 0 else None
        self.stop = StopRequest()
        self.step = 0
        self.meter = StepMeter(self.accelerator.device)

    def run(self, resume: bool) -> dict[str, float]:
        if self.accelerator.is_main_process:
            remove_leftovers(self.out)
        distributed.barrier()
        notes = self._resume() if resume else []
        if not self.step:
            self._start()
        if self.config is not None and self.accelerator.is_main_process:
            save_config(self.config, self.out / "config.yaml")
        self.log = RunLog(
            self.out,
            steps=self.train.steps,
            start=self.step,
            active=self.accelerator.is_main_process,
            tensorboard=self.train.tensorboard,
        )
        try:
            for note in notes:
                self.log.say(note)
            images = self.train.batch_size // (self.train.accumulate * self.accelerator.num_processes)
            with self.stop, checked_batch_norm(self.task, images):
                self._train()
            return self._finish()
        except InputError as error:
            raise InputError(f"{error}; {newest_checkpoint(self.out)}") from error
        finally:
            self.log.close()

    def _start(self) -> None:
        if self.accelerator.is_main_process:
            for name in ("checkpoints", "pictures", "tensorboard"):
                if (self.out / name).exists():
                    discard(self.out / name)
        distributed.barrier()

    def _resume(self) -> list[str]:
        """Load the newest whole checkpoint, if there is one; return what the user is told."""
        notes, damaged = [], []
        found = list_checkpoints(self.checkpoints)
        for checkpoint in reversed(found):
            try:
                state = checkpoints.load_checkpoint(
                    checkpoint,
                    task=self.task,
                    optimizer=self.optimizer,
                    ema=self.ema,
                    config=self.config,
                    sources=self.sources,
                )
            except checkpoints.DamagedCheckpointError as error:
                notes.append(f"{error}; it is set aside, and the one before is taken")
                damaged.append(checkpoint)
                continue
            self.step = state["step"]
            if self.precision.scaler is not None and state["scaler"]:
                self.precision.scaler.load_state_dict(state["scaler"])
            finished = self.step >= self.train.steps
            action = "is finished; exporting it again" if finished else "resumes"
            notes.append(f"run {self.out} {action} at step {self.step} of {self.train.steps}")
            break
        distributed.barrier()
        if found and not self.step:
            raise InputError(
                f"{notes[0].partition(';')[0]}, and no earlier one is whole: start anew with {advice().restart}"
            )
        if not found:
            self._check_own_folder()
            notes.append(f"run {self.out} has no checkpoint yet: it starts anew")
        if self.accelerator.is_main_process:
            for checkpoint in damaged:
                set_aside(checkpoint)
            # A kill may come between a checkpoint and the removal of those before it.
            keep_newest(self.checkpoints, self.train.keep_checkpoints)
        return notes

    def _check_own_folder(self) -> None:
        """Require a folder that is empty or of a run: a start clears what is in it."""
        held = [entry.name for entry in self.out.iterdir() if entry.name not in (LOCK_NAME, DATA_FILE)]
        if held and not (self.out / "config.yaml").is_file():
            raise InputError(
                f"{self.out} holds {held[0]!r} and no run to resume: choose another --out, or start anew with "
                f"{advice().restart}"
            )

    def _train(self) -> None:
        train, accelerator = self.train, self.accelerator
        # A kill may come between a checkpoint and what is due after it.
        if 0 < self.step < train.steps and _due(self.step, train.eval_every) and not self._recorded_validation():
            self._validate()
        if self.step and _due(self.step, train.picture_every):
            self._draw()
        if self.step >= train.steps:
            return
        sampler = StepSampler(
            size=len(self.dataset),
            batch_size=train.batch_size,
            accumulate=train.accumulate,
            seed=train.seed,
            steps=range(self.step, train.steps),
            process=accelerator.process_index,
            processes=accelerator.num_processes,
            quotas=self.quotas,
        )
        self.meter.restart(self.step)
        with closing(BatchStream(self.dataset, sampler, workers=self.workers)) as batches:
            for step in sampler.steps:
                self._optimizer_step(step, batches)
                self.step = step + 1
                self.log.advance()
                self._read_meter()
                last = self.step == train.steps
                if last or self.meter.stopping or _due(self.step, train.log_every):
                    self._log_step()
                if self.meter.stopping:
                    self._leave()
                if last or _due(self.step, train.checkpoint_every):
                    self._save()
                if not last and _due(self.step, train.eval_every):
                    self._validate()
                if _due(self.step, train.picture_every):
                    self._draw()

    def _optimizer_step(self, step: int, batches: Iterator[dict[str, Any]]) -> None:
        # 1. Learning rate and random numbers of the step.
        scale = learning_rate_scale(step, self.train.steps, self.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale
        seed_step(self.train.seed, step, self.accelerator.process_index)
        # 2. Gradients of the micro-batches.
        totals: dict[str, Tensor] = {}
        for _ in range(self.train.accumulate):
            started = time.perf_counter()
            batch = send_to_device(next(batches), self.accelerator.device, non_blocking=True)
            self.meter.waited += time.perf_counter() - started
            with self.accelerator.accumulate(self.model):
                with self.precision.autocast():
                    terms = self.model(batch, step)
                self.precision.scale(terms["loss"].float() / self.train.accumulate).backward()
            for name, value in terms.items():
                part = value.detach().float() / self.train.accumulate
                totals[name] = totals[name] + part if name in totals else part
        # 3. Clipping and the step.
        if self.optim.clip_norm > 0:
            self.precision.unscale(self.optimizer)
            norm = clip_grad_norm_(self.task.parameters(), self.optim.clip_norm)
            # Under fp16 an overflow of gradients is expected: the scaler skips the step and lowers its scale.
            if self.precision.scaler is None:
                totals["grad_norm"] = norm.detach().float()
        self.precision.step(self.optimizer)
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update(step)
        self.meter.push(step, totals, stop=self.stop.signal_number > 0)

    def _read_meter(self, *, everything: bool = False) -> None:
        try:
            self.meter.read(everything=everything)
        except NonFiniteError as error:
            raise InputError(self._describe(error)) from None

    def _describe(self, error: NonFiniteError) -> str:
        bad = ", ".join(f"{k} is {v}" for k, v in error.values.items() if not math.isfinite(v))
        batch = named_samples(
            self.dataset, error.step, batch_size=self.train.batch_size, seed=self.train.seed, quotas=self.quotas
        )
        return (
            f"training stopped at step {error.step}: {bad} (batch: {batch}): lower optim.lr, or look at these samples"
        )

    def _log_step(self) -> None:
        self._read_meter(everything=True)
        line = self.meter.line(self.step, self.train.batch_size)
        line["epoch"] = self.step * self.train.batch_size / len(self.dataset)
        line["lr"] = max(group["lr"] for group in self.optimizer.param_groups)
        if self.accelerator.device.type == "cuda":
            line["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.log.write(self.step, line)

    def _save(self) -> None:
        self._read_meter(everything=True)
        started = time.perf_counter()
        if self.accelerator.is_main_process:
            scaler = self.precision.scaler
            checkpoints.save_checkpoint(
                self.checkpoints,
                step=self.step,
                task=self.task,
                optimizer=self.optimizer,
                ema=self.ema,
                scaler=scaler.state_dict() if scaler is not None else None,
                config=self.config,
                sources=self.sources,
            )
            keep_newest(self.checkpoints, self.train.keep_checkpoints)
        distributed.barrier()
        self.meter.exclude(time.perf_counter() - started)

    def _leave(self) -> None:
        self._save()
        # The signal may have reached another process of the run only.
        number = max(distributed.gather_objects(self.stop.signal_number))
        name = signal.Signals(number).name
        self.log.say(f"stopped by {name}; step {self.step} is saved in {self.out}: {advice().resume}")
        raise SystemExit(128 + number)

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """Eval mode, averaged parameters, buffers of the main process; the clock stands still."""
        started = time.perf_counter()
        distributed.copy_from_main(self.task.buffers())
        self.task.eval()
        try:
            with self.ema.applied() if self.ema is not None else nullcontext(), torch.no_grad():
                yield
        finally:
            self.task.train()
        distributed.barrier()
        self.meter.exclude(time.perf_counter() - started)

    def _validate(self) -> dict[str, float]:
        with self._evaluation(), self.precision.autocast():
            metrics = {name: float(value) for name, value in self.task.validate().items()}
        # A validation on record is not repeated on a resume, so what it chose has to be saved by then.
        if self.task.keeps_best and (self.step == self.train.steps or _due(self.step, self.train.checkpoint_every)):
            self._save()
        if metrics:
            self.log.write(self.step, {f"val_{name}": value for name, value in metrics.items()})
        return metrics

    def _draw(self) -> None:
        with self._evaluation(), self.precision.autocast():
            pictures = self.task.pictures() if self.accelerator.is_main_process else {}
            for name, picture in pictures.items():
                save_picture(self.out / "pictures" / f"step_{self.step:06d}_{name}.jpg", picture.convert("RGB"))

    def _finish(self) -> dict[str, float]:
        """Validate and export; signals act as usual again, because the last checkpoint is written."""
        checkpoints.check_finite(self.step, self.task, self.ema)
        metrics = self._recorded_validation() or self._validate()
        self.task.figures = metrics
        with self._evaluation():
            if self.accelerator.is_main_process:
                # An export may draw random numbers; one that is repeated after a crash must draw the same.
                seed_step(self.train.seed, self.train.steps, 0)
                with atomic_path(self.out / self.task.export_name) as temporary:
                    temporary.mkdir()
                    self.task.export(temporary)
        return metrics

    def _recorded_validation(self) -> dict[str, float]:
        """Metrics of this step, if the run wrote them already; the same answer on every process."""
        found = recorded_validation(self.out, self.step) if self.accelerator.is_main_process else {}
        return distributed.gather_objects(found)[0]


def _due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0
