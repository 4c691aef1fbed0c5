"""The loop: warm-up of new heads, epochs, measurements after each, states on disk, and the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from repdiag.encoders.untouched import own_randomness, plain_torch
from repdiag.errors import Interrupted
from repdiag.objectives import processes
from repdiag.training import guards, state
from repdiag.training.course import Course, Kept, Sums, Value, pack_kept
from repdiag.training.held_out import held_out
from repdiag.training.job import Trained, TrainJob, identity
from repdiag.training.logs import LOG, Logger, open_loggers, write_csv
from repdiag.training.networks import Networks, build
from repdiag.training.optim import optimizer
from repdiag.training.outcome import about, facts, trained
from repdiag.training.schedule import Phase, Schedule, schedule
from repdiag.training.signals import Stop, listening
from repdiag.training.step import Stepper
from repdiag.training.wrap import state_of
from repdiag.types import Progress, silent


def train(job: TrainJob, progress: Progress = silent) -> Trained:
    """Train as `job` says, or go on with what its folder holds; a finished run is given back at once.

    Equal jobs give equal weights on one machine's CPU, bit for bit, however often they were stopped and wherever; on
    CUDA up to the order of its sums. What is random is drawn from the seed; everybody else's random numbers go
    on as if nothing had been. Order of the images, views and new heads depend on the seed alone, so that two jobs with
    different regularizers see the same. Every process of several calls this alike, and the folder is one that all of
    them read.

    Raises UsageError for an encoder that cannot learn and for a folder with another run's state, DataError for too
    few images, InputError when training diverges, ResourceError when memory is too small, OutputError when
    the folder cannot be written, and Interrupted after Ctrl-C or SIGTERM, with the state saved.
    """
    state.check_shared(job.folder, job.device)
    known = state.load(job.folder / state.DONE, identity(job))
    if known is not None:
        kept = Kept(**known["kept"])
        return trained(job, kept, known["rows"], known["facts"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(plain_torch())
        stack.enter_context(own_randomness(job.config.seed))
        stop = stack.enter_context(listening())
        stack.enter_context(guards.memory_errors(job.device, job.config.batch_size, job.config.accumulate))
        try:
            stack.enter_context(_tuned_kernels())
            return _Loop(job, progress, stop).run()
        except KeyboardInterrupt as error:
            raise _stopped(job, "The last state that was saved is kept") from error


@contextlib.contextmanager
def _tuned_kernels() -> Iterator[None]:
    """cuDNN tries its algorithms on the first batch: all batches have the same shape."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _stopped(job: TrainJob, what: str) -> Interrupted:
    return Interrupted(
        f"Training ({job.title}) was stopped. {what}", where=str(job.folder), do="Start it again"
    )


class _Loop:
    """One call of `train`."""

    def __init__(self, job: TrainJob, progress: Progress, stop: Stop) -> None:
        self.job, self.progress, self.stop = job, progress, stop
        self.first = processes.rank() == 0
        self.identity = identity(job)
        known = state.load(job.folder / state.STATE, self.identity)
        self.nets: Networks = build(job)
        self.plan: Schedule = schedule(
            job.config, len(job.images), processes.count(), processes.rank(), bool(self.nets.new)
        )
        self.steps = Stepper(job, self.nets, self.plan)
        self.course = Course(phase="heads" if self.plan.head_steps else "train")
        if known is not None:
            self.course = Course.unpack(known["course"])
        self._known, self._stopping = known, False
        self._began = self._saved = time.monotonic()
        self.loggers: list[Logger] = []

    # ------------------------------------------------------------------------------------------ phases

    def run(self) -> Trained:
        """All of it."""
        job, course = self.job, self.course
        if self.first:
            self.loggers = open_loggers(job.loggers, job.folder, job.title, about(job), done=len(course.rows))
        try:
            self._prepare()
            if course.phase == "heads":
                self._warm_up()
            if not course.rows:
                self._start()
            while course.step < self.plan.steps("train") and not course.stopped:
                self._epoch()
            return self._finish()
        finally:
            for logger in self.loggers:
                logger.close()

    def _prepare(self) -> None:
        """What the start encoder alone can tell, and then the networks as they were when the run was stopped."""
        self.steps.reference = self._reference()
        known, self._known = self._known, None
        if known is not None:
            state.restore(self.nets, known["networks"], self.job.folder / state.STATE)
        self.optimizer = self._optimizer(self.course.phase)
        if known is not None:
            self.optimizer.load_state_dict(known["optimizer"])
        self._began = time.monotonic() - self.course.seconds
        self._saved = time.monotonic()

    def _warm_up(self) -> None:
        """New heads alone, on the features of the encoder as it is."""
        if self.course.step == 0:
            self._begin_epoch(0)
        while self.course.step < self.plan.head_steps:
            done = self.course.step
            epoch_end = (done // self.plan.per_epoch + 1) * self.plan.per_epoch
            self._run_steps("heads", min(epoch_end, self.plan.head_steps))
        self.course.phase, self.course.step = "train", 0
        self.optimizer = self._optimizer("train")

    def _start(self) -> None:
        """Row 0: how things stand before the encoder moves."""
        self.nets.look()
        self.course.before = guards.before(self._features())
        self._log(0, {"rank": self.course.before.rank, "usage": 1.0})
        self._keep(0)
        self._save()

    def _epoch(self) -> None:
        """The rest of the epoch that the run is in, and what follows from it."""
        course, plan = self.course, self.plan
        epoch, done = divmod(course.step, plan.per_epoch)
        if done == 0 and not (epoch == 0 and plan.head_steps):  # before the warm-up it was done already
            self._begin_epoch(epoch)
        self._run_steps("train", (epoch + 1) * plan.per_epoch)
        self._measure(epoch + 1)
        self._save()
        if course.step < plan.steps("train") and not course.stopped:
            self._obey()

    def _run_steps(self, phase: Phase, stop: int) -> None:
        """Steps up to number `stop`, all of one epoch."""
        course, plan = self.course, self.plan
        if phase == "heads":
            self.nets.learn_heads()
        else:
            self.nets.learn(self.job.config.batch_norm == "frozen")
        rows = plan.rows(phase, course.step, stop)
        with contextlib.closing(self.steps.feed.parts(phase, course.step, rows)) as parts:
            for _ in rows:
                began = time.monotonic()
                took = self.steps.take(phase, course.step, parts, self.optimizer, self.stop.asked)
                course.step += 1
                course.sums.add(took, time.monotonic() - began)
                self._tell()
                self._stopping = took.stop
                if phase == "train" and course.step == stop:
                    continue  # the epoch is measured first, and then saved
                if took.stop or time.monotonic() - self._saved >= self.job.config.checkpoint_seconds:
                    self._save()
                self._obey()

    def _obey(self) -> None:
        """Stop where somebody asked for it: the state is on disk."""
        if self._stopping:
            raise _stopped(self.job, f"{self._done} of {self._whole} steps are done and saved")

    # ---------------------------------------------------------------------------------------- measuring

    def _begin_epoch(self, epoch: int) -> None:
        """Let the regularizer look at the clean images, if it wants to; what it does not read is not encoded."""
        if not self.nets.needs.images:
            return
        self.nets.look()
        self.nets.regularizer.begin_epoch(epoch, self.steps.sight.own(self.nets.encoder, self.job.images))

    def _reference(self) -> Tensor | None:
        """The start encoder's features of all clean images (N, D) on the CPU: 4 N D bytes in each process."""
        if self.nets.needs.reference != "images":
            return None
        self.nets.look()
        return self.steps.sight.gathered(
            self.nets.encoder, self.job.images, torch.arange(len(self.job.images))
        )

    def _features(self) -> Tensor:
        """Clean features of up to 2,048 training images of the encoder that would be kept, on the CPU."""
        count = len(self.job.images)
        places = torch.arange(min(guards.LOOKED_AT, count)) * count // min(guards.LOOKED_AT, count)
        return self.steps.sight.gathered(self.nets.result, self.job.images, places)

    def _measure(self, epoch: int) -> None:
        """After an epoch: collapse, held-out loss, the log, what is kept, and whether to stop."""
        course, config = self.course, self.job.config
        self.nets.look()
        assert course.before is not None
        assert course.kept is not None
        now = guards.health(self._features(), course.before)
        row = self._log(epoch, {"rank": now.rank, "usage": now.usage})
        collapsed = guards.collapse(now, course.before, config)
        loss = float(row["held_out"])
        better = course.kept.epoch == 0 or loss < course.kept.held_out
        if collapsed:
            kept = f"epoch {course.kept.epoch}" if course.kept.epoch else "the encoder as it was"
            course.stopped = f"{collapsed} in epoch {epoch}; {kept} is kept"
        elif not config.patience or better:
            self._keep(epoch, loss)
        elif epoch - course.kept.epoch >= config.patience:
            course.stopped = f"patience: the held-out loss was lowest after epoch {course.kept.epoch}"
        if self._anywhere(bool(course.stopped)) and not course.stopped:
            course.stopped = "another process stopped"

    def _log(self, epoch: int, measured: dict[str, Value]) -> dict[str, Value]:
        course = self.course
        said = {f"fact.{k}": float(v) for k, v in self.nets.regularizer.facts().items()}
        row: dict[str, Value] = {"epoch": epoch, "step": course.step, **course.sums.row(self.plan.batch)}
        row |= {"held_out": held_out(self.steps), **measured, **said}
        row["seconds"] = time.monotonic() - self._began
        course.sums = Sums()
        course.rows.append(row)
        for logger in self.loggers:
            logger.write(course.rows)
        return row

    def _keep(self, epoch: int, loss: float = float("nan")) -> None:
        projector = getattr(self.nets.base, "projector", None)
        kept = None if projector is None else state_of(projector)
        self.course.kept = Kept(epoch, state_of(self.nets.result), kept, loss)

    # ------------------------------------------------------------------------------------ states on disk

    def _optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        """Plain SGD for new heads; what the configuration says for all."""
        config, nets = self.job.config, self.nets
        if phase == "train":
            return optimizer(config, (nets.encoder, nets.base, nets.regularizer))
        learned = {id(p): p for part in nets.new for p in part.parameters() if p.requires_grad}
        return torch.optim.SGD(learned.values(), lr=config.head_lr, momentum=0.9)

    def _save(self) -> None:
        """Everything, by the first process; all others have the same."""
        self.course.seconds = time.monotonic() - self._began
        if self.first:
            said = {
                "identity": self.identity,
                "course": self.course.pack(),
                "networks": state.networks_state(self.nets),
                "optimizer": self.optimizer.state_dict(),
            }
            state.save(self.job.folder / state.STATE, said)
        self._saved = time.monotonic()

    def _finish(self) -> Trained:
        """The result, on disk instead of the state."""
        course, folder = self.course, self.job.folder
        assert course.kept is not None
        found = facts(self.job, course, self.plan, self.steps.sight.precision)
        if self.first:
            said = {
                "identity": self.identity,
                "kept": pack_kept(course.kept),
                "rows": course.rows,
                "facts": found,
            }
            state.save(folder / state.DONE, said)
            write_csv(folder / LOG, course.rows)
            (folder / state.STATE).unlink(missing_ok=True)
        return trained(self.job, course.kept, course.rows, found)

    # --------------------------------------------------------------------------------------------- small

    def _anywhere(self, yes: bool) -> bool:
        """Whether it is so in any process: they must stop together."""
        return bool(processes.total(torch.tensor(float(yes), device=self.job.device)) > 0)

    @property
    def _whole(self) -> int:
        return self.plan.head_steps + self.plan.steps("train")

    @property
    def _done(self) -> int:
        return self.course.step + (self.plan.head_steps if self.course.phase == "train" else 0)

    def _tell(self) -> None:
        if self.first:
            batch = self.plan.batch
            self.progress(f"train {self.job.title}", self._done * batch, self._whole * batch)
