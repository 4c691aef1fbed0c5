"""Writes docs/reference/checkpoints.md: builds a file in every layout of tests/layouts, loads it and compares.

`--only NAME ...` replaces the rows of those layouts and keeps the others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE / "tests"))


def main() -> int:
    """Measure and write; 1 when a layout is unknown or does not give its source's features."""
    from layouts import ALL, table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="layouts to load again")
    only: list[str] | None = parser.parse_args().only
    if unknown := set(only or ()) - ALL.keys():
        print(f"There is no layout {', '.join(sorted(unknown))}", file=sys.stderr)
        return 1
    rows = table.committed_rows() if only is not None else {}
    wrong = 0
    for name, layout in ALL.items():
        if only is None or name in only:
            with tempfile.TemporaryDirectory() as folder:
                loaded = table.load(layout, Path(folder))
            rows[name] = loaded.row
            wrong += loaded.features == "different"
            print(rows[name], file=sys.stderr)
    if wrong:
        print(
            f"{wrong} layout(s) give other features than their source: the page is left as it was",
            file=sys.stderr,
        )
        return 1
    table.PAGE.write_text(table.page(rows[name] for name in ALL), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
