"""The tuned encoder as the user gets it: in the layout it came in, as safetensors, and how it came to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repdiag import __version__
from repdiag.comparison.types import Comparison
from repdiag.errors import OutputError, UsageError
from repdiag.exporting import export, same_layout
from repdiag.files import write_text
from repdiag.tuning.plan import Plan, Run

if TYPE_CHECKING:
    from repdiag.training.job import Trained

SAFETENSORS, PROVENANCE = "tuned.safetensors", "provenance.json"


def deliver(
    plan: Plan, comparison: Comparison, run: Run, trained: Trained
) -> tuple[dict[str, str], list[str]]:
    """Write the encoder of `run`; returns what each file is, by name, and what could not be written and why.

    The safetensors file and the provenance are always written; the layout of the original where it is a file whose
    tensors can be replaced. Raises OutputError when the folder cannot be written.
    """
    out = plan.request.out
    files: dict[str, str] = {}
    notes: list[str] = []
    said = provenance(plan, comparison, run, trained)
    model = plan.request.model
    if isinstance(model, str) and Path(model).exists():
        name = f"tuned-{Path(model).name}"
        try:
            written = same_layout.write(
                trained.encoder, model, trained.state, trained.projector, out / name, **plan.request.loading
            )
            files[name] = f"the tuned encoder in the layout of {Path(model).name}"
            notes += written.notes
            said["same_layout"] = {"file": name, "replaced": written.replaced, "kept": list(written.kept)}
        except UsageError as refusal:
            notes.append(f"Not written in its own layout: {refusal.what}.")
    else:
        notes.append("The model is no file, so that there is no layout to write it back in.")
    try:
        export(
            trained.encoder, out / SAFETENSORS, force=True, notes={"repdiag.tuning": json.dumps(said["run"])}
        )
        files[SAFETENSORS] = "the tuned backbone, for `repdiag score` and everybody"
    except UsageError as refusal:
        notes.append(f"Not written as safetensors: {refusal.what}.")
    if not files:
        raise OutputError(
            "The tuned encoder could be written in no form",
            where=str(out),
            do=f"Its weights are in {run.folder}",
        )
    write_text(out / PROVENANCE, json.dumps(said, indent=2, ensure_ascii=False, default=str) + "\n")
    files[PROVENANCE] = "how it came to be: encoder, data, numbers, versions, and what came of it"
    return files, notes


def provenance(plan: Plan, comparison: Comparison, run: Run, trained: Trained) -> dict[str, Any]:
    """Everything that the tuned weights depend on, and the verdict."""
    return {
        "repdiag": __version__,
        "created": comparison.created,
        "run": {
            "arm": run.arm,
            "seed": run.seed,
            "base": plan.request.config.base,
            "regularizer": run.regularizer.name,
            "from": plan.encoder.fingerprint,
            "to": trained.encoder.fingerprint,
            "verdict": comparison.effect.value,
        },
        "reason": comparison.reason,
        "facts": dict(trained.facts),
        **plan.describe(),
    }
