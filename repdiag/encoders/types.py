"""What an encoder is to the rest of repdiag, and what is known about how it came to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from repdiag.encoders.input import Preprocessing

if TYPE_CHECKING:
    import torch

    from repdiag.encoders.origin import Origin

SHOWN = 40  # names of tensors in a description


@dataclass(frozen=True)
class Loading:
    """What became of a checkpoint's tensors.

    `loaded` counts tensors, `parameters` their numbers. `dropped` names the file's tensors that the encoder
    does not use, `missing` the optional ones it had to do without, `ignored` buffers that carry no weights.
    `alternatives` are architectures with the very same names and shapes, `readings` says which of several
    equally good prefixes was taken and why, `stubbed` which pickled objects were left inert. `method` is the
    project or method that the checkpoint seems to come from ("" where nothing tells).
    """

    container: str
    method: str = ""
    prefix: str = ""
    loaded: int = 0
    parameters: int = 0
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """All fields, ready for JSON; long lists of names are counted by their first component.

        Batch-norm counters, which evaluation does not use, are told apart from what is really missing.
        """
        counters = [name for name in self.missing if name.endswith("num_batches_tracked")]
        said = asdict(self) | {"missing": tuple(n for n in self.missing if n not in set(counters))}
        shown = {name: _short(v) if isinstance(v, tuple) else v for name, v in said.items()}
        return shown | {"missing_counters": len(counters)}


def _short(names: tuple[str, ...]) -> list[str]:
    """The names, or what they begin with and how often when they are more than a reader can use."""
    if len(names) <= SHOWN:
        return list(names)
    counts = Counter(name.partition(".")[0] for name in names)
    return [f"{first}.* ({count})" for first, count in counts.items()]


@dataclass(frozen=True)
class Output:
    """Columns start..stop of what an encoder gives: the layer they are taken from, and how it is pooled."""

    name: str
    start: int
    stop: int
    pooling: str = "the network's own"

    @property
    def dim(self) -> int:
        """How many features."""
        return self.stop - self.start


@dataclass(frozen=True)
class Encoder:
    """A frozen image encoder: `module` maps (B, C, H, W) float32 to (B, D) float32, pooled, before any head.

    `module` is in eval mode, on the CPU, without gradients. `fingerprint` is a SHA-256 of the weights, the
    architecture and the pooling: equal for equal weights whatever file they came in. `channels_last` tells
    whether it also runs with weights and images in that memory format (`x.view(B, -1)` does not).
    `outputs` says what the D columns are, left to right: usually one output called "output", several when
    several layers were chosen (`features.select`). `l2`: the columns of each have unit length. `origin` tells
    where in which file its tensors are; None for what came from no file.
    """

    module: torch.nn.Module = field(repr=False)
    name: str
    architecture: str
    dim: int
    preprocessing: Preprocessing
    fingerprint: str
    loading: Loading
    channels_last: bool = True
    outputs: tuple[Output, ...] = ()
    l2: bool = False
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.outputs:
            object.__setattr__(self, "outputs", (Output("output", 0, self.dim),))
        ends = [0, *(output.stop for output in self.outputs)]
        if [output.start for output in self.outputs] != ends[:-1] or ends[-1] != self.dim:
            raise ValueError(f"outputs {self.outputs} do not cover {self.dim} columns one after the other")

    def describe(self) -> dict[str, Any]:
        """What the report says about the encoder, ready for JSON."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "dim": self.dim,
            "features": [
                {"layer": output.name, "pooling": output.pooling, "dim": output.dim}
                for output in self.outputs
            ],
            "l2": self.l2,
            "fingerprint": self.fingerprint,
            "preprocessing": self.preprocessing.describe(),
            "loading": self.loading.describe(),
        }
