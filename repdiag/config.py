"""All choices behind the numbers of a report, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from repdiag.errors import UsageError


@dataclass(frozen=True)
class ScoreConfig:
    """All choices behind the numbers. Every one of them is written to the report."""

    seed: int = 0
    folds: int = 5
    bootstrap: int = 500
    permutations: int = 20
    neighbors: int = 10  # for purity, density and neighborhood consistency
    knn: int = 20  # for kNN classification
    knn_temperature: float = 0.07
    clusters: int | None = None  # None: the number of classes, or 10 when unlabeled
    kmeans_seeds: int = 5
    null_draws: int = 5
    silhouette_samples: int = 5000
    eps: float = 4.0  # Q-Score: activation threshold in standard deviations
    lower: float = 50.0  # Q-Score: percentiles of activation frequency that bound S
    upper: float = 95.0
    probe_l2: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    map_samples: int = 10000
    thumbnails: int = (
        10000  # most images with a small picture on the map, or in a gallery; 0: no picture at all
    )
    by_size: bool = True  # measure what moves with N at N/4 and N/2 as well
    l2: bool | None = None  # unit rows: None by each metric's definition, True from the start, False avoided

    def __post_init__(self) -> None:
        for name, least in (
            ("folds", 2),
            ("bootstrap", 50),
            ("permutations", 2),
            ("neighbors", 1),
            ("knn", 1),
            ("thumbnails", 0),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be from 0 to 2^32 - 1, not {self.seed}")
        if self.clusters is not None and self.clusters < 2:
            raise UsageError(f"clusters must be at least 2, not {self.clusters}")
        if not 0 < self.eps < math.inf:
            raise UsageError(f"eps must be a positive number of standard deviations, not {self.eps}")
        if not 0 <= self.lower < self.upper <= 100:
            raise UsageError(
                f"lower and upper must be percentiles with lower below upper, not {self.lower:g} and {self.upper:g}"
            )
