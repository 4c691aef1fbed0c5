"""What a run says about itself: before it, to those who watch, and after it."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from repdiag.encoders.features import network_of
from repdiag.objectives.contract import BASES
from repdiag.training.course import Course, Kept, Value, table
from repdiag.training.job import Trained, TrainJob
from repdiag.training.schedule import Schedule
from repdiag.training.wrap import finished, state_of


def about(job: TrainJob) -> dict[str, Any]:
    """The numbers that a run was started with, by name."""
    name = job.regularizer.name
    numbers = {f"{name}.{key}": value for key, value in dataclasses.asdict(job.regularizer).items()}
    return dataclasses.asdict(job.config) | {"regularizer": name} | numbers


def trained(job: TrainJob, kept: Kept, rows: list[dict[str, Value]], facts: dict[str, Any]) -> Trained:
    """The result of a run that has ended."""
    encoder = finished(job.encoder, kept.encoder)
    return Trained(encoder, state_of(network_of(encoder.module)), kept.projector, facts, table(rows))


def facts(job: TrainJob, course: Course, plan: Schedule, precision: torch.dtype) -> dict[str, Any]:
    """What happened, in JSON's types; None for what there is not.

    `epochs`, `steps` and `images_per_second` are those of training, `head_steps` those of the warm-up; `seconds` are
    of all, measurements and states included, over all stops. `stopped_by` is "" for a run that came to its end.
    `best_epoch` is the one that is kept (0: the encoder as it was), and what is called "after" is of that epoch.
    """
    assert course.kept is not None
    kept, rows, ran = course.kept, course.rows, course.rows[1:]
    chosen = next(row for row in rows if row["epoch"] == kept.epoch)
    seconds = sum(plan.per_epoch * plan.batch / row["images_per_second"] for row in ran)

    def known(row: dict[str, Value], name: str) -> float | None:
        value = row.get(name, float("nan"))
        return None if value != value else float(value)

    return {
        "base": BASES.get(job.config.base).title,
        "regularizer": job.regularizer.name,
        "epochs": len(ran),
        "steps": course.step,
        "head_steps": plan.head_steps,
        "images": plan.images,
        "batch": plan.batch,
        "parts": plan.parts,
        "processes": plan.processes,
        "stopped_by": course.stopped,
        "best_epoch": kept.epoch,
        "loss_first": known(ran[0], "loss") if ran else None,
        "loss_last": known(ran[-1], "loss") if ran else None,
        "held_out_before": known(rows[0], "held_out"),
        "held_out_after": known(chosen, "held_out"),
        "rank_before": known(rows[0], "rank"),
        "rank_after": known(chosen, "rank"),
        "usage": known(chosen, "usage"),
        "device": job.device.type,
        "precision": str(precision).removeprefix("torch."),
        "seconds": course.seconds,
        "images_per_second": course.step * plan.batch / seconds if seconds > 0 else None,
    }
