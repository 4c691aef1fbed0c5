"""Reports kept as baselines in a plain folder, and whether a report can be compared with one.

A store (`repdiag-baselines` unless told otherwise) has one folder per baseline; the folder's name is the baseline's,
and there is no index. A baseline holds report.json and, of the tables, samples.csv and classes.csv: what gates read.
report.json lists these tables only, so that the folder is a report by itself, and can be committed: equal reports give
equal bytes. samples.csv takes about 0.3 kB per evaluated image. report.json names the folder that was scored as it was
given (`dataset.location`).
"""

from __future__ import annotations

from repdiag.baselines.alike import Alike, comparable, same_images
from repdiag.baselines.store import STORE, Baseline, find, is_name, list_baselines, load, save, show

__all__ = [
    "STORE",
    "Alike",
    "Baseline",
    "comparable",
    "find",
    "is_name",
    "list_baselines",
    "load",
    "same_images",
    "save",
    "show",
]
