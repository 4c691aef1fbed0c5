"""Writes docs/reference/ from the code; `--check` only says whether the pages are fresh (a test runs it so)."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "100"

HERE = Path(__file__).resolve().parent.parent
REFERENCE = HERE / "docs" / "reference"
MADE = "<!-- Made by scripts/build_docs.py from the code: edit there, then run `make docs`. -->\n\n"


def escape(text: str) -> str:
    """Text that is safe in a Markdown table cell."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def metrics_page() -> Iterator[str]:
    """Every metric by family, with formula, direction, source, laws and docstring."""
    from repdiag.metrics import FAMILIES, all_metrics

    yield "# Metrics\n\n"
    yield (
        "Every number stands beside a 95 % interval and, where labels are involved, beside a null. "
        "Unless a metric says otherwise embeddings are L2-normalized first, and labeled quantities are held out: "
        "from the test part, or cross-fitted over folds. *Status*: **paper** read in the paper's own text, "
        "**code** read in the authors' code, **published** a standard measure whose first paper we did not re-read, "
        "**adapted** published, with the change stated, **ours** our own.\n"
    )
    every = all_metrics()
    for family in FAMILIES:
        yield f"\n## {family}\n"
        for metric in (m for m in every if m.spec.family == family):
            s = metric.spec
            yield f"\n### `{s.name}`\n\n**{s.title}.** {s.meaning[:1].upper()}{s.meaning[1:]}.\n"
            yield f"\n    {s.formula}\n"
            facts = {
                "better": s.direction.value,
                "range": f"{s.low:g} to {s.high:g}{' ' + s.unit if s.unit else ''}",
                "needs": ", ".join(sorted(n.value for n in s.needs)) or "nothing but embeddings",
                "unchanged by": ", ".join(sorted(law.value for law in s.laws)) or "nothing promised",
                "also measured at": "N/4 and N/2 samples" if s.by_size else "",
                "cost": s.cost,
                "source": f"{s.source} ({s.status.value})",
            }
            yield "\n" + "".join(f"- {k}: {v}\n" for k, v in facts.items() if v)
            yield "\n" + (inspect.getdoc(metric.compute) or "") + "\n"


def scores_page() -> Iterator[str]:
    """Every per-sample score."""
    from repdiag.scores import SCORES

    yield "# Per-sample scores\n\n"
    yield (
        "High means trustworthy. Each becomes a column of samples.csv, and `score_comparison` tells how well it "
        "ranks the samples that the linear probe gets wrong. The `risk` column is learned from all label-free "
        "ones together, or from the single best where that does better on the other folds.\n"
    )
    yield "\n| column | score | formula | source | status |\n|---|---|---|---|---|\n"
    for s in SCORES:
        cells = (f"`{s.name}`", s.title, f"`{s.formula}`", s.source, s.status.value)
        yield "| " + " | ".join(escape(c) for c in cells) + " |\n"


def _options(command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    for p in arguments:
        yield f"- `{(p.metavar or p.name).upper()}` {p.help or ''}\n"
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    if options:
        yield "\n| option | meaning | default |\n|---|---|---|\n"
    for p in options:
        names = ", ".join(f"`{o}`" for o in [*p.opts, *p.secondary_opts])
        said = p.show_default if isinstance(p.show_default, str) else None
        default = said or getattr(p.default, "value", p.default)
        shown = (
            "" if default is None or default is False or p.is_eager else f"`{default}`".replace("True", "on")
        )
        yield f"| {names} | {escape(p.help or '')} | {shown} |\n"


def cli_page() -> Iterator[str]:
    """Every command with its options."""
    import typer

    from repdiag.cli import app

    group: Any = typer.main.get_command(app)
    yield "# Command line\n"
    yield "\n" + (group.help or "") + "\n\n"
    yield from _options(group)
    for name, command in sorted(group.commands.items()):
        yield f"\n## `repdiag {name}`\n\n{inspect.cleandoc(command.help or '')}\n\n"
        yield from _options(command)
        for below, one in sorted(getattr(command, "commands", {}).items()):
            yield f"\n### `repdiag {name} {below}`\n\n{inspect.cleandoc(one.help or '')}\n\n"
            yield from _options(one)


def exit_codes_page() -> Iterator[str]:
    """Exit codes, from the error classes and the gate's verdicts."""
    from repdiag import errors
    from repdiag.cli.gate import EXIT_CODES

    yield "# Exit codes\n\n| code | meaning |\n|---|---|\n"
    verdicts = {
        "pass": "Done; of `repdiag gate`: every rule passes.",
        "fail": "`repdiag gate`: a rule fails.",
        "undetermined": "`repdiag gate`: no rule fails, but one is undetermined: the samples are too few to tell, or "
        "what it judges was not measured.",
    }
    codes = {EXIT_CODES[outcome]: text for outcome, text in verdicts.items()}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if kind.__module__ == errors.__name__ and kind is not errors.RepdiagError:
            text = (inspect.getdoc(kind) or "").splitlines()[0]
            codes[kind.exit_code] = f"{codes[kind.exit_code]} {text}" if kind.exit_code in codes else text
    codes[5] = "Internal error: a fault of repdiag; `--debug` prints the traceback."
    codes[141] = "The reader of stdout went away."
    for code, text in sorted(codes.items()):
        yield f"| {code} | {text} |\n"
    yield "\nThe codes are stable. No error ends with 1 or 4: those two are verdicts.\n"


def config_page() -> Iterator[str]:
    """The fields of ScoreConfig with their defaults."""
    from dataclasses import fields

    from repdiag.config import ScoreConfig

    yield "# Configuration of the measures\n\n`repdiag.config.ScoreConfig`; every field is in report.json under "
    yield "`config`.\n\n| field | default |\n|---|---|\n"
    for f in fields(ScoreConfig):
        yield f"| `{f.name}` | `{f.default}` |\n"


def verdicts_page() -> Iterator[str]:
    """The rules behind the verdicts."""
    from repdiag import verdicts
    from repdiag.metrics import FAMILIES

    yield (
        "# Verdicts\n\n"
        + inspect.cleandoc(verdicts.__doc__ or "").partition("\n\n")[2].partition(" Adding a")[0]
    )
    yield "\n\n| family | rule | metrics | what it says |\n|---|---|---|---|\n"
    for rule in sorted(verdicts.RULES, key=lambda r: FAMILIES.index(r.family)):
        cells = (rule.family, rule.name, ", ".join(f"`{n}`" for n in rule.needs), rule.text)
        yield "| " + " | ".join(escape(c) for c in cells) + " |\n"


def advice_page() -> Iterator[str]:
    """The rules behind the three things to do next."""
    from repdiag.showing import advice

    yield "# What to do next\n\n" + inspect.cleandoc(advice.__doc__ or "").replace("RULES is", "Below is")
    yield f"\n\nAt most {advice.MOST} are given, and of one kind only the first.\n"
    yield "\n| rule | kind | it is given where |\n|---|---|---|\n"
    for rule in advice.RULES:
        yield "| " + " | ".join(escape(c) for c in (rule.name, rule.kind, rule.when)) + " |\n"


def objectives_page() -> Iterator[str]:
    """Bases, regularizers and training, with all their numbers."""
    from dataclasses import fields

    from repdiag.objectives.contract import BASES, REGULARIZERS
    from repdiag.training.config import PRESETS, TuneConfig

    def table(kind: Any) -> Iterator[str]:
        yield "\n| number | meaning | default |\n|---|---|---|\n"
        for f in fields(kind):
            default = "" if f.default is None else f"`{f.default}`"
            yield f"| `{f.name}` | {escape(f.metadata['help'])} | {default} |\n"

    yield "# Objectives and training\n\n"
    yield (
        "What `repdiag finetune` trains: a base objective plus a regularizer. Each number is a flag (`--lr`,"
        " `--qscore-lambda1`) and an entry of a file for `--config` (`lr = 0.01`; `[qscore]` `lambda1 = 1e-4`).\n"
    )
    yield "\n## Bases (`--base`)\n\n| name | method | source | slow encoder | small crops | labels |\n"
    yield "|---|---|---|---|---|---|\n"
    for base in BASES:
        slow = (
            ""
            if base.momentum is None
            else f"{base.momentum:g}" + (", constant" if base.constant else ", to 1")
        )
        cells = (
            f"`{base.name}`",
            base.title,
            base.source,
            slow,
            *("yes" if x else "" for x in (base.small_crops, base.uses_labels)),
        )
        yield "| " + " | ".join(escape(c) for c in cells) + " |\n"
    yield "\n## Regularizers (`--regularizer`)\n"
    for one in REGULARIZERS:
        yield f"\n### `{one.kind.name}`\n\n**{one.title}.** {inspect.getdoc(one) or ''}\n\n- source: {one.source}\n"
        if ablations := one.ablations():
            yield "- arms of `--ablate`: " + ", ".join(f"`{name}`" for name in ablations) + "\n"
        if fields(one.kind):
            yield from table(one.kind)
    yield "\n## Training\n\n" + inspect.cleandoc(TuneConfig.__doc__ or "") + "\n"
    yield from table(TuneConfig)
    yield "\n## Presets (`--preset`)\n\nA preset goes before the file, and the file before flags. "
    yield "What differs from the defaults:\n\n"
    for name, changed in PRESETS.items():
        yield (
            f"- `{name}`: "
            + ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in changed.items())
            + "\n"
        )


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "metrics.md": metrics_page,
    "scores.md": scores_page,
    "cli.md": cli_page,
    "exit-codes.md": exit_codes_page,
    "configuration.md": config_page,
    "verdicts.md": verdicts_page,
    "advice.md": advice_page,
    "objectives.md": objectives_page,
}


def main() -> int:
    """Write the pages, or with --check compare them; returns how many are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        text, path = MADE + "".join(page()), REFERENCE / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        sys.stderr.write(f"{'stale' if check else 'wrote'}: docs/reference/{name}\n")
        if not check:
            REFERENCE.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
