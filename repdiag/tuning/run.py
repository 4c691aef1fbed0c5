"""Train every arm and seed, score them on the same images, compare, and hand over the tuned encoder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from repdiag.comparison.compare import compare, scored
from repdiag.comparison.types import Comparison, Scored
from repdiag.encoders import Encoder
from repdiag.extraction import EmbedConfig
from repdiag.objectives import processes
from repdiag.pipeline import Request as ScoreRequest
from repdiag.pipeline import make_plan as plan_score
from repdiag.pipeline import run as run_score
from repdiag.training.images import TrainingImages, training_images
from repdiag.training.job import TrainJob
from repdiag.training.loop import train
from repdiag.tuning.deliver import deliver
from repdiag.tuning.plan import Plan, Run
from repdiag.tuning.request import BEFORE, CONTROL
from repdiag.types import Progress, Report, Skipped, silent

if TYPE_CHECKING:
    from repdiag.training.job import Trained


def run(plan: Plan, progress: Progress = silent) -> Comparison | None:
    """Carry out `plan`; every state and finished run is kept in its folder, and the same call goes on from there.

    Returns the comparison, written to the request's folder, in the first of several processes and None in the
    others. Raises what loading, training, scoring and writing raise.
    """
    told = progress if processes.rank() == 0 else silent
    trained = _train_all(plan, told)
    if processes.rank() > 0:
        return None
    arms = [scored(BEFORE, None, _score(plan, plan.encoder, BEFORE, told))]
    for number, (one, result) in enumerate(trained, 1):
        report = _score(plan, result.encoder, f"{one.name} ({number}/{len(trained)})", told)
        arms.append(scored(one.arm, one.seed, report, training=result.facts, log=result.log))
    order = [BEFORE, CONTROL, plan.request.name]  # and then the ablations, as they were trained
    arms.sort(key=lambda one: order.index(one.arm) if one.arm in order else len(order))
    return _compared(plan, arms, trained)


def _train_all(plan: Plan, progress: Progress) -> list[tuple[Run, Trained]]:
    request, config = plan.request, plan.request.config
    how = plan.encoder.preprocessing

    def read(rows: Any) -> TrainingImages:
        return training_images(
            plan.source, rows, how, memory=config.image_memory, workers=request.workers,
            max_corrupt=request.max_corrupt, progress=progress,
        )  # fmt: skip

    images = read(plan.rows)
    validation = read(plan.validation) if len(plan.validation) else None
    found = []
    for one in plan.runs:
        job = TrainJob(
            encoder=plan.encoder,
            projector=None if plan.projector is None else plan.projector.network,
            images=images,
            validation=validation,
            config=dataclasses.replace(config, seed=one.seed),
            regularizer=one.regularizer,
            folder=one.folder,
            device=plan.device,
            loggers=request.loggers,
            classes=len(plan.source.manifest.class_names) or None,
            name=one.name,
        )
        found.append((one, train(job, progress)))
    return found


def _score(plan: Plan, encoder: Encoder, name: str, progress: Progress) -> Report:
    """The report of one encoder on the images kept from training; embeddings of tuned ones stay with the run."""
    request = plan.request
    asked = ScoreRequest(
        encoder,
        plan.source,
        config=request.score,
        embed=EmbedConfig(
            device=request.device,
            precision=request.config.precision,
            workers=request.workers,
            max_corrupt=request.max_corrupt,
            seed=request.score.seed,
        ),
        cache=request.cache if name == BEFORE else request.out / "runs" / "embeddings",
        use_labels=request.use_labels,
        metrics=request.metrics,
        draw_map=False,
    )

    def told(step: str, done: int, total: int) -> None:
        progress(f"embed {name}" if step == "embed" else f"{name}: {step}", done, total)

    return run_score(plan_score(asked), told)


def _out_of_scope(plan: Plan, start: Report) -> tuple[str, ...]:
    """Q-Score was trained on features for which its paper did not define it: the report of the start tells."""
    found = start.measurement("qscore_mean")
    if plan.request.regularizer.name != "qscore" or found is None or not isinstance(found.outcome, Skipped):
        return ()
    return (f"Q-Score was trained all the same, but is not measured here: {found.outcome.reason}",)


def _compared(plan: Plan, arms: list[Scored], trained: list[tuple[Run, Trained]]) -> Comparison:
    from repdiag.report.comparison import write_comparison

    request = plan.request
    comparison = compare(
        arms,
        subject=request.name,
        against=request.against,
        start=BEFORE,
        config=plan.describe(),
        warnings=plan.warnings,
    )
    chosen = next((one, result) for one, result in trained if one.arm == request.name)
    files, notes = deliver(plan, comparison, *chosen)
    comparison = dataclasses.replace(
        comparison, files={**comparison.files, **files}, warnings=(*comparison.warnings, *notes)
    )
    write_comparison(comparison, request.out)
    return comparison
