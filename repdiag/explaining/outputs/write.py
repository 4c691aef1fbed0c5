"""Writing an explanation: every file whole before the first takes its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from repdiag.explaining.outputs import pictures
from repdiag.explaining.outputs.html import render
from repdiag.explaining.outputs.json_form import to_json
from repdiag.explaining.outputs.tables import tables
from repdiag.explaining.types import Explanation, Tile
from repdiag.files import atomic
from repdiag.report.enclosed import pack
from repdiag.report.json_form import dumps
from repdiag.report.tables import TableFile, write_and_enclose

MAPS = "heatmaps"


def write_explanation(found: Explanation, out: Path, *, save_maps: bool = False) -> dict[str, Path]:
    """Write explain.html, explain.json, samples.csv and quantities.csv into the folder `out` (made when missing).

    `save_maps` adds a folder heatmaps with two PNG files for each heat map that is shown: NAME.gray.png is the map
    alone (8 bits, scaled to its maximum, as large as the encoder's input), NAME.png lies over the picture. Returns the
    paths by name, the folder for all maps; raises OutputError.
    """
    made = tables(found)
    names = ("explain.html", "explain.json", *made)
    maps = dict(_maps(found)) if save_maps else {}
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic(out / name)) for name in names}
        for name, content in maps.items():
            stack.enter_context(atomic(out / MAPS / name)).write_bytes(content)
        written: dict[str, TableFile] = {}
        for name, table in made.items():
            with paths[name].open("wb") as file:
                written[name] = write_and_enclose(name, table, file)
        document = dumps(to_json(found, written)).encode("utf-8")
        paths["explain.json"].write_bytes(document)
        written["explain.json"] = TableFile(0, "", pack("explain.json", document))
        paths["explain.html"].write_text(render(found, written), encoding="utf-8")
    return {name: out / name for name in paths} | ({MAPS: out / MAPS} if maps else {})


def _maps(found: Explanation) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the PNG files."""
    for number, one in enumerate(found.samples, 1):
        yield from _pair(f"sample-{number:04d}-{_safe(one.id)}", one.tile)
    for feature in found.features:
        for number, tile in enumerate(feature.tiles, 1):
            yield from _pair(f"feature-{feature.card.feature}-{number:02d}-{_safe(tile.id)}", tile)


def _pair(name: str, tile: Tile) -> Iterator[tuple[str, bytes]]:
    if tile.heat is None or tile.picture is None:
        return
    yield f"{name}.gray.png", pictures.gray(tile.heat, tile.picture.shape[0])
    yield f"{name}.png", pictures.composed(tile.picture, tile.heat)


def _safe(name: str) -> str:
    """The end of an id, fit for a file name anywhere."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem)[-40:] or "image"
