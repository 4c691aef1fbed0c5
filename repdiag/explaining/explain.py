"""An encoder and images in, an explanation out: which samples and features, where they look, and is it the object."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from repdiag import __version__
from repdiag.cautions import with_enough_labels
from repdiag.config import ScoreConfig
from repdiag.encoders import Encoder
from repdiag.errors import DataError, UsageError
from repdiag.explaining import targets
from repdiag.explaining.chosen import Chosen, tiles
from repdiag.explaining.heating import Heater
from repdiag.explaining.measuring import per_image
from repdiag.explaining.request import Wanted, rows_of
from repdiag.explaining.statistics import Judge, PerImage, mean_of_draws
from repdiag.explaining.types import Explained, Explanation, FeatureMaps, Overlaps, Region, Summed, Target
from repdiag.extraction import EmbedConfig, embed
from repdiag.extraction.config import choose_device
from repdiag.heatmaps.masks import Masks, open_masks
from repdiag.kernels import rows as kernel_rows
from repdiag.kernels.rows import Doubles
from repdiag.risk import Risk, assess
from repdiag.showing.features import cards as top_features
from repdiag.showing.features import note
from repdiag.showing.riskiest import reasons
from repdiag.store import Store
from repdiag.tables import Columns, sample_columns
from repdiag.types import EmbeddingSet, FloatArray, ImageSource, IntArray, Progress, Skipped, Table, silent
from repdiag.workspace import Skip, Workspace

COARSE = 4
"""Places a side below which heat maps cannot show objects. Ours."""

MOST_SUMMED = 12
"""Features of a sample that are listed by number; the heat map sums all of them."""

NO_FEATURE = "no discriminative feature stands out: no heat map"
NO_MAP = "no place of the picture speaks for these features: no heat map"


def explain(
    encoder: Encoder,
    source: ImageSource,
    wanted: Wanted | None = None,
    *,
    config: ScoreConfig | None = None,
    embed_config: EmbedConfig | None = None,
    store: Store | None = None,
    use_labels: bool = True,
    progress: Progress = silent,
) -> Explanation:
    """Heat maps of chosen samples and of the top features of `encoder` on `source`, and their overlap with masks.

    Embeds all images as `repdiag score` does (the same cache), so that features, Q-Scores, probe answers and risks are
    the report's. Deterministic but for `created` and `timing`. Raises UsageError for an unknown sample, an encoder of
    several layers or one whose activations cannot be seen, DataError for masks of no evaluated sample.
    """
    wanted, config = wanted or Wanted(), config or ScoreConfig()
    embed_config = embed_config or EmbedConfig(seed=config.seed)
    if len(encoder.outputs) > 1:
        names = ", ".join(output.name for output in encoder.outputs)
        raise UsageError(f"The layers {names} have heat maps of their own", do="Choose one layer")
    masks = open_masks(wanted.masks) if wanted.masks is not None else None
    began = time.perf_counter()
    heater = Heater(encoder, source, choose_device(embed_config), wanted.method, embed_config.workers)
    embeddings = embed(encoder, source, embed_config, store=store, progress=progress)
    warnings = [*encoder.loading.warnings, *source.notes, *embeddings.provenance.get("notes", ())]
    if embeddings.corrupt:
        warnings.append(f"{len(embeddings.corrupt):,} images cannot be read and are left out.")
    if not use_labels:
        embeddings = replace(embeddings, labels=None, class_names=(), parents=())
    embeddings, said = with_enough_labels(embeddings)
    masks = masks.among(embeddings.ids) if masks is not None else None
    timing = {"embed": time.perf_counter() - began}
    run = _Run(encoder, source, wanted, config, embed_config, embeddings, heater, progress)
    made = run.explanation([*warnings, *said], masks, timing)
    return replace(made, timing={**made.timing, "total": time.perf_counter() - began})


@dataclass(frozen=True)
class _Run:
    """One explanation on its way."""

    encoder: Encoder
    source: ImageSource
    wanted: Wanted
    config: ScoreConfig
    embed_config: EmbedConfig
    embeddings: EmbeddingSet
    heater: Heater
    progress: Progress

    @cached_property
    def ws(self) -> Workspace:
        """The labeled evaluated samples, or everyone without labels."""
        device = str(self.heater.device)
        found = Workspace(self.embeddings, self.config, device if device.startswith("cuda") else "cpu")
        if len(found) < 4:
            raise DataError(f"Only {len(found)} samples are left to evaluate", do="Give at least 4")
        return found

    @property
    def everyone(self) -> Workspace:
        """All evaluated samples."""
        return self.ws.whole

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each image in the source, by id."""
        return {path: i for i, path in enumerate(self.source.manifest.paths)}

    @cached_property
    def target(self) -> Target:
        """What heat maps of samples explain."""
        return targets.choose(self.everyone, self.wanted.target)

    @cached_property
    def columns(self) -> tuple[Columns, Risk | None, list[str]]:
        """The report's table of samples, the risk behind it, and why there is none."""
        risk, said = None, []
        try:
            risk = assess(self.ws)
        except Skip as skip:
            said.append(f"No risk: {skip.reason}.")
        return sample_columns(self.ws, risk), risk, said

    def explanation(self, warnings: list[str], masks: Masks | None, timing: dict[str, float]) -> Explanation:
        """All parts, in the order in which they are worked out."""
        clock = time.perf_counter()
        asked = rows_of(
            self.wanted.samples, self.embeddings.ids, {c.path: c.reason for c in self.embeddings.corrupt}
        )
        self.progress("risk of each sample", 0, 3)
        columns, risk, said = self.columns
        self.progress("features that stand out", 1, 3)
        counts = self._counts()
        self.progress("explained", 3, 3)
        timing["probe, risk and features"] = time.perf_counter() - clock
        clock = time.perf_counter()
        overlaps, per = self._overlaps(masks, columns)
        timing["heat maps against masks"] = time.perf_counter() - clock
        clock = time.perf_counter()
        table = self._table(columns, counts, per, asked)
        chosen = self._chosen(asked, columns)
        explained = self._explained(chosen, columns, table, masks)
        features, notes = self._features(columns)
        timing["heat maps that are shown"] = time.perf_counter() - clock
        h, w = self.heater.place.grid
        if min(h, w) < COARSE:
            coarse = f"The heat maps have only {h} x {w} places: they tell parts of the picture, not objects."
            warnings = [*warnings, coarse]
        if not self.wanted.samples and not np.isfinite(columns["risk"]).any():
            warnings = [
                *warnings,
                "No sample has a risk, so there is no riskiest one: name samples with --sample.",
            ]
        return Explanation(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            encoder=self.encoder.describe(),
            dataset={
                "name": self.source.name.rstrip("/").rpartition("/")[2] or self.source.name,
                "location": self.source.name,
                "fingerprint": self.source.manifest.fingerprint,
                "samples": len(self.embeddings),
                "evaluated": len(self.everyone),
                "labeled": self.ws.labeled,
                "classes": self.ws.k,
            },
            parameters={
                **{k: v for k, v in asdict(self.wanted).items() if k not in ("masks", "riskiest")},
                "riskiest": self.wanted.count,
                "masks": None if self.wanted.masks is None else str(self.wanted.masks),
                "seed": self.config.seed,
                "eps": self.config.eps,
                "lower": self.config.lower,
                "upper": self.config.upper,
                "bootstrap": self.config.bootstrap,
            },
            environment={
                "repdiag": __version__,
                "python": platform.python_version(),
                "torch": version("torch"),
                "device": str(self.heater.device),
                "precision": "float32",
            },
            target=self.target,
            place=self.heater.described,
            samples=explained,
            features=features,
            overlaps=overlaps,
            table=table,
            risk=self._risk(risk),
            notes=notes,
            warnings=(*warnings, *said),
            timing=timing,
        )

    # ------------------------------------------------------------------------------------ numbers

    def _counts(self) -> IntArray:
        """How many features each evaluated sample's heat map sums."""
        ws, kind = self.everyone, self.target.kind
        return ws.once(("explained features", kind), lambda: targets.counts(kind, ws))

    @staticmethod
    def _risk(risk: Risk | None) -> dict[str, Any]:
        if risk is None:
            return {}
        return {
            "score": risk.score,
            "title": risk.title,
            "validated": risk.validated,
            "auroc": risk.auroc,
            "explanation": risk.explanation,
        }

    def _weigh(self, at: IntArray) -> tuple[FloatArray, FloatArray]:
        """Weights of the discriminative and of as many random features of evaluated samples."""
        ws, kind = self.everyone, self.target.kind
        x = ws.x[at]
        chosen = targets.weights(kind, ws, x)
        seeds = self.config.seed * 1_000_003 + at
        return chosen, targets.random_weights(chosen, x, seeds, kind, ws)

    def _overlaps(self, masks: Masks | None, columns: Columns) -> tuple[Overlaps | Skipped, PerImage | None]:
        """What the masks say of all evaluated samples."""
        if masks is None:
            return Skipped("no masks were given (--masks)"), None
        ws = self.everyone
        ids = [str(name) for name in ws.ids]
        masked = len(set(ids) & set(masks.ids))
        if not masked:
            raise DataError(
                "No mask belongs to an evaluated sample",
                where=str(self.wanted.masks),
                do=f"Masks are matched by path or name; samples are called like '{ids[0]}'",
            )
        per, failed = per_image(
            self.heater,
            masks,
            ids,
            [self.index[name] for name in ids],
            self._weigh,
            _judged(columns, len(ids)),
            self.wanted.threshold,
            self.wanted.draws,
            self.everyone.rng(61),
            self.progress,
        )
        judge = Judge.of(per, self.config.bootstrap, self.everyone.rng(62))
        notes = list(masks.notes)
        if failed:
            place, why = next(iter(failed.items()))
            notes.append(f"{len(failed):,} images could not be read again ({ids[place]}: {why}).")
        regions: list[Region] = [region for measure, region in per.chosen if measure == "mass"]
        maps = int(np.isfinite(per.chosen["mass", "core"]).sum()) if ("mass", "core") in per.chosen else 0
        if not maps:
            return Skipped("no evaluated sample has both a heat map and a core mask"), per
        found = Overlaps(
            masks.kind,
            str(self.wanted.masks),
            self.wanted.threshold,
            int(per.masked.sum()),
            maps,
            tuple(regions),
            judge.quantities(),
            judge.claims(),
            tuple(notes),
        )
        return found, per

    def _table(self, columns: Columns, counts: IntArray, per: PerImage | None, asked: Sequence[int]) -> Table:
        """samples.csv: a row for each evaluated sample, and for each of the train part that was asked for."""
        keep = ("id", "label", "prediction", "correct", "confidence", "risk", "q_score")
        table: Columns = {name: columns[name] for name in keep if name in columns}
        n = len(table["id"])
        table["evaluated"] = np.ones(n, bool)
        table["n_features"] = counts
        if per is not None:
            table |= _overlap_columns(per)
        known = set(table["id"].tolist())
        extra = [row for row in asked if self.embeddings.ids[row] not in known]
        if not extra:
            return Table(table)
        weights = targets.weights(self.target.kind, self.everyone, self._unit(extra))
        return Table(
            {name: _with(name, column, self._beside(name, extra, weights)) for name, column in table.items()}
        )

    def _beside(self, name: str, extra: Sequence[int], weights: FloatArray) -> list[Any]:
        """What a column holds for samples of the train part."""
        if name == "id":
            return [self.embeddings.ids[row] for row in extra]
        if name == "label":
            return [self._label(row) for row in extra]
        if name == "n_features":
            return [int(np.count_nonzero(w)) for w in weights]
        return [False] * len(extra) if name == "evaluated" else [None] * len(extra)

    # ------------------------------------------------------------------------------------ what is shown

    def _unit(self, which: Sequence[int]) -> FloatArray:
        """Rows of the embedding set, of unit length."""
        return kernel_rows.unit(np.asarray(self.embeddings.features[list(which)], np.float32))

    def _label(self, row: int) -> str | None:
        labels = self.embeddings.labels
        return None if labels is None or labels[row] < 0 else self.embeddings.class_names[labels[row]]

    def _chosen(self, asked: Sequence[int], columns: Columns) -> list[Chosen]:
        """Those named, in the order given, then the riskiest that are not among them."""
        ids = [str(name) for name in columns["id"]]
        place = {name: i for i, name in enumerate(ids)}
        risk = np.asarray(columns["risk"], np.float64)
        order = np.argsort(-np.where(np.isfinite(risk), risk, -np.inf), kind="stable")
        rank = {int(row): i + 1 for i, row in enumerate(order) if np.isfinite(risk[row])}
        found = [
            Chosen(row, place.get(name), True, rank.get(place.get(name, -1)))
            for row, name in ((row, self.embeddings.ids[row]) for row in asked)
        ]
        seen = {one.row for one in found}
        of_embedding = {name: row for row, name in enumerate(self.embeddings.ids)}
        for at in order[: self.wanted.count].tolist():
            row = of_embedding[ids[at]]
            if np.isfinite(risk[at]) and row not in seen:
                found.append(Chosen(row, at, False, rank[at]))
        return found

    def _explained(
        self, chosen: Sequence[Chosen], columns: Columns, table: Table, masks: Masks | None
    ) -> tuple[Explained, ...]:
        """The chosen samples with their heat maps."""
        if not chosen:
            return ()
        kind = self.target.kind
        weights = targets.weights(kind, self.everyone, self._unit([one.row for one in chosen]))
        ids = [self.embeddings.ids[one.row] for one in chosen]
        shown = tiles(
            self.heater,
            ids,
            [self.index[name] for name in ids],
            weights,
            masks,
            (NO_FEATURE, NO_MAP),
            lambda done: self.progress("explain samples", done, len(ids)),
        )
        shown_at = np.array([one.at for one in chosen if one.at is not None], np.int64)
        why = reasons(self.ws, columns, shown_at) if shown_at.size else {}
        overlap = [n for n in table.columns if n.startswith(("iou_", "mass_", "area_"))]
        row_of = {str(name): i for i, name in enumerate(table.columns["id"])}
        out = []
        for one, tile, w in zip(chosen, shown, weights, strict=True):
            at = one.at
            out.append(
                Explained(
                    tile,
                    self._label(one.row) if at is None else _text(columns, "label", at),
                    None if at is None else _text(columns, "prediction", at),
                    None if at is None else _flag(columns, at),
                    _number(columns, "risk", at),
                    _number(columns, "confidence", at),
                    _number(columns, "q_score", at),
                    at is not None,
                    one.asked,
                    one.rank,
                    int(np.count_nonzero(w)),
                    self._summed(w, one.row),
                    () if at is None else why.get(at, ()),
                    {n: _number(table.columns, n, row_of[tile.id]) for n in overlap},
                )
            )
        return tuple(out)

    def _summed(self, weights: FloatArray, row: int) -> tuple[Summed, ...]:
        """The features of a heat map with the largest |h_ij|, largest first."""
        values = np.asarray(self.embeddings.features[row], np.float64)
        used = np.flatnonzero(weights)
        order = used[np.argsort(-np.abs(values[used]), kind="stable")][:MOST_SUMMED]
        return tuple(Summed(int(j), int(weights[j]), float(values[j])) for j in order)

    def _features(self, columns: Columns) -> tuple[tuple[FeatureMaps, ...], dict[str, str]]:
        """The top features with heat maps on the images that activate them most."""
        if not self.wanted.features:
            return (), {}
        cards = top_features(self.ws, self.wanted.features)
        said = note(self.ws)
        made = []
        for done, card in enumerate(cards):
            weights = np.zeros((len(card.ids), self.embeddings.dim), np.float32)
            weights[:, card.feature] = 1
            shown = tiles(
                self.heater,
                card.ids,
                [self.index[name] for name in card.ids],
                weights,
                None,
                (NO_MAP, NO_MAP),
            )
            made.append(FeatureMaps(card, tuple(shown)))
            self.progress("explain features", done + 1, len(cards))
        return tuple(made), {} if said is None else {"features": said}


def _overlap_columns(per: PerImage) -> Columns:
    """Per image: mIoU's term and mass by region, the control's, the mean with other masks, and the mask's area."""
    out: Columns = {f"{measure}_{region}": v for (measure, region), v in per.chosen.items()}
    out |= {f"area_{region}": v for (measure, region), v in per.uniform.items() if measure == "mass"}
    out |= {f"{measure}_{region}_random": v for (measure, region), v in per.random.items()}
    out |= {
        f"{measure}_{region}_other_masks": mean_of_draws(v) for (measure, region), v in per.others.items()
    }
    return out


def _judged(columns: Columns, n: int) -> Doubles:
    """1 where the probe is right, 0 where it is wrong, NaN where no label tells (N,)."""
    given = columns.get("correct")
    if given is None:
        return np.full(n, np.nan)
    return np.array([np.nan if value is None else float(bool(value)) for value in given.tolist()])


def _with(name: str, column: Any, more: list[Any]) -> Any:
    """A column with more cells, None where one is missing and the type cannot say so."""
    if column.dtype.kind == "f":
        return np.concatenate([column, np.array([np.nan if v is None else v for v in more], column.dtype)])
    if None in more or column.dtype.kind == "O":
        out = np.empty(len(column) + len(more), dtype=object)
        out[:] = [*column.tolist(), *more]
        return out
    return np.concatenate([column, np.array(more)])


def _text(columns: Columns, name: str, at: int) -> str | None:
    if name not in columns:
        return None
    value = columns[name][at]
    return None if value is None else str(value)


def _flag(columns: Columns, at: int) -> bool | None:
    if "correct" not in columns or columns["correct"][at] is None:
        return None
    return bool(columns["correct"][at])


def _number(columns: Mapping[str, Any], name: str, at: int | None) -> float:
    if at is None or name not in columns or columns[name][at] is None:
        return float("nan")
    return float(columns[name][at])
