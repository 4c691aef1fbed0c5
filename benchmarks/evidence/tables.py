"""Writes docs/evidence/*.md from the runs under out/evidence: nothing is computed there but these tables.

python -m benchmarks.evidence.tables [--only PAGE] [--print]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.catalog import ROOT
from benchmarks.evidence import compression, crowding, ladder, levels, qscore, stability
from benchmarks.evidence.reading import Evidence, Page, flowed, read, table
from benchmarks.evidence.study import OUT, STUDY, TINY_CLASSES

README = "README.md"
DOCS = ROOT / "docs" / "evidence"
PAGES: dict[str, Callable[[Evidence], Page]] = {
    "quality_ladder": ladder.page,
    "supervised_vs_ssl": crowding.page,
    "compression": compression.page,
    "qscore": qscore.page,
    "stability": stability.page,
    "verdicts": levels.page,
}


def index(evidence: Evidence, pages: Sequence[Page], docs: Path) -> str:
    """README.md: what was run, the pages (those that other scripts wrote, too), and what agrees with the papers."""
    counts = ", ".join(f"{len(evidence.of(images))} on {images.title}" for images in evidence.images)
    claims = [(claim, page) for page in pages for claim in page.claims]
    rows = [[f"[{page.title}]({page.file})", page.question] for page in pages]
    for path in sorted(docs.glob("*.md")):
        if path.stem not in PAGES and path.name != README:
            heading, _, rest = path.read_text(encoding="utf-8").partition("\n")
            rows.append(
                [f"[{heading.lstrip('# ')}]({path.name})", " ".join(rest.strip().split("\n\n")[0].split())]
            )
    said = "".join(
        f"- **{claim.paper}: {claim.found}.** {claim.said} {claim.sentence} ([{page.title.lower()}]({page.file}))\n"
        for claim, page in claims
    )
    missing = len(evidence.study.runs) - len(evidence.found)
    partly = (
        f" {missing} of the study's {len(evidence.study.runs)} runs are missing here.\n" if missing else "\n"
    )
    return flowed(f"""# Evidence

What the metrics say of real encoders, and where that agrees with the papers they come from. `make evidence` scores
{len(evidence.study.runs)} pairs of an encoder and a data set and writes all of these pages; it needs the encoders and
images of `../shared/data` ([where they come from](../benchmarks/real-encoders.md)), and goes on where it was
stopped.{partly}
{table(("page", "question"), rows, left=2)}
## Where it agrees with the papers

{said}
The words follow from rules. Crowding: *agrees* where, on every data set, more metrics lean to more crowded than lean
to less or are divided; *disagrees* where on every one more lean to less. Compression: *agrees* where the
gain's interval
is above 0 on more than half of the runs, and on three times as many as below; *disagrees* where it is below on
as many
as above. Q-Score: *agrees* where the interval of its AUROC reaches 0.62 on more than three quarters of the runs,
*disagrees* where on fewer than one quarter. SC_std: *agrees* where rho with accuracy is told to be negative on every
data set, *disagrees* where on none. All else is *mixed*.

These encoders are small: four convolutions on 84x84 pixels, or CIFAR ResNets with 64 features. The papers measured
ResNet-50s on ImageNet. What disagrees here is not thereby refuted there; it says what to expect of encoders
like these.

## How it was made

    python -m benchmarks.evidence.score
    python -m benchmarks.evidence.judge
    python -m benchmarks.evidence.tables

Runs: {counts}. Every run is `repdiag score` with its defaults, without the map and the values by size, and with
augmented views of 1,000 images.
Inputs are prepared as each encoder's source says (`benchmarks/catalog.py`). Of Tiny-ImageNet, {TINY_CLASSES}
classes at equal steps in the order of their WordNet ids are taken, of those that mini-ImageNet's training (and so
the Conv4 encoders) did not use; 50 images of each teach the probes, 50 others are evaluated. Relatives of one
encoder on the same images share those images' noise, and encoders of one ladder share their training images: no
count of agreeing runs is a count of independent experiments.
""")


def write(evidence: Evidence, docs: Path, only: str = "", printed: bool = False) -> list[Path]:
    """Write (or print) the pages, and README.md when all of them are made."""
    made = {name: make(evidence) for name, make in PAGES.items() if only in name}
    texts = {page.file: page.text() for page in made.values()}
    if len(made) == len(PAGES):
        texts[README] = index(evidence, list(made.values()), docs)
    if printed:
        print("\n".join(texts.values()))
        return []
    docs.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (docs / file).write_text(text, encoding="utf-8")
    return [docs / file for file in texts]


def main() -> int:
    """Write the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only the pages whose name contains this")
    parser.add_argument("--print", action="store_true", dest="printed", help="print instead of writing")
    given = parser.parse_args()
    evidence = read(STUDY, OUT)
    if not evidence.found:
        raise SystemExit("nothing is scored yet: python -m benchmarks.evidence.score")
    for path in write(evidence, DOCS, given.only, given.printed):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
