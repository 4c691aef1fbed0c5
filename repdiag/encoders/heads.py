"""The projector that SSL training put behind the backbone, read from the tensors beside it.

Names and shapes say which layers there are; the numbers of a Sequential say where a layer without tensors
stands. What that layer is (an activation) nobody wrote down: it is assumed, and the assumption is stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from repdiag.errors import CheckpointError, UsageError

NAMES = (
    "projector", "projection_head", "projection", "projetion", "projection_mlp", "proj_head", "proj",
    "dino_head", "contrastive_head", "mlp_head", "head", "heads", "fc", "neck", "g", "mlp",
)  # fmt: skip
"""What methods call their projector, the plainest first ("projetion" is one port's own spelling)."""

CLASSIFIERS = frozenset({"head", "heads", "fc"})
"""Names that also stand for a classifier, of which a single linear layer has the very form."""

BEHIND = frozenset({"last_layer", "last_layer2", "prototypes"})
"""Parts of a head that come behind the projection: the prototypes of DINO, iBOT and SwAV."""

SIDES = re.compile(r"(?P<before>(?:\w+_)?)(?:backbone|encoder|net|network|model|trunk)(?P<after>(?:_\w+)?)")
"""Components such as teacher_backbone or encoder_q: what surrounds the network's name marks the side."""

ONE_SIDE = frozenset({"teacher", "student", "online", "target", "momentum", "ema", "query", "key"})
"""Components that hold one side whole: what lies beside them belongs to neither."""


@dataclass(frozen=True)
class Projector:
    """A projector in eval mode, (B, in_dim) -> (B, out_dim), float32, without gradients.

    `tensors` are its tensors' names in the checkpoint, `notes` what it was read as and what was assumed.
    """

    module: nn.Module
    in_dim: int
    out_dim: int
    notes: tuple[str, ...]
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """A prefix under which a projector may be, and the names of the tensors there."""

    prefix: str
    name: str
    tensors: tuple[str, ...]


class _Unreadable(Exception):
    """Why tensors are no projector that can be rebuilt; a part of a sentence."""


def read_projector(tensors: Mapping[str, torch.Tensor], prefix: str) -> Projector | None:
    """The projector that belongs to the backbone under `prefix`; None when there is none that can be read.

    It is looked for inside the prefix and beside it, on the same side of a method with two (teacher and
    student, online and target). Raises CheckpointError when its tensors are not finite.
    """
    for same in (prefix, *_elsewhere(tensors, prefix)):
        for place in _places(tensors, same):
            try:
                return _read(tensors, place)
            except _Unreadable:
                continue
    return None


def require_projector(
    tensors: Mapping[str, torch.Tensor], prefix: str, dim: int, others: Sequence[str] = ()
) -> Projector:
    """As `read_projector` for a backbone of `dim` features; raises UsageError with what was found otherwise.

    `others` are the names of the file's tensors that are not the backbone's.
    """
    reasons = []
    for same in (prefix, *_elsewhere(tensors, prefix)):
        for place in _places(tensors, same):
            try:
                found = _read(tensors, place)
            except _Unreadable as error:
                reasons.append(f"{place.prefix}* {error}")
                continue
            if found.in_dim == dim:
                return found
            reasons.append(f"{place.prefix}* takes {found.in_dim} features and the encoder gives {dim}")
    beside = _parts(prefix, others)
    do = (
        f"Beside the encoder the file holds {', '.join(beside[:20])}"
        if beside
        else "It holds the encoder only"
    )
    said = f": {'; '.join(reasons)}" if reasons else ""
    raise UsageError(f"No projector can be read from the checkpoint{said}", do=do)


# --------------------------------------------------------------------------------------------- where


def _places(tensors: Mapping[str, torch.Tensor], prefix: str) -> Iterator[_Place]:
    """Candidates, best first: inside the backbone's prefix, then beside its last component, then further out."""
    components = prefix.split(".")[:-1]
    names = [f"{prefix}{name}." for name in NAMES]
    for depth in range(len(components), -1, -1):
        if depth < len(components):
            last, outer = components[depth], "".join(part + "." for part in components[:depth])
            if last in ONE_SIDE:
                return
            names = [f"{outer}{_on_side(last, name)}." for name in NAMES]
        for name, start in zip(NAMES, names, strict=True):
            if inside := tuple(n for n in tensors if n.startswith(start)):
                yield _Place(start, name, inside)


def _on_side(backbone: str, head: str) -> str:
    """What the head beside a backbone of this name is called: teacher_head beside teacher_backbone."""
    side = SIDES.fullmatch(backbone)
    return f"{side['before']}{head}{side['after']}" if side else head


def _elsewhere(tensors: Mapping[str, torch.Tensor], prefix: str) -> list[str]:
    """Other prefixes under which the backbone's very tensors are as well: a projector may be beside those."""
    own = [name for name in tensors if name.startswith(prefix)]
    largest = max(own, key=lambda name: tensors[name].numel(), default=None)
    if largest is None:
        return []
    end = largest[len(prefix) :]
    named_so = [name for name in tensors if name != largest and name.endswith("." + end)]
    return [
        name[: -len(end)]
        for name in named_so
        if tensors[name].shape == tensors[largest].shape and torch.equal(tensors[name], tensors[largest])
    ]


def _parts(prefix: str, names: Sequence[str]) -> list[str]:
    """The parts of the file that tensors belong to, for people to read: as deep as the backbone's prefix goes."""
    depth = max(1, prefix.count("."))
    return sorted({".".join(name.split(".")[:depth]) for name in names})


# --------------------------------------------------------------------------------------------- what


@dataclass
class _Layer:
    """The tensors of one layer of a head, by their last component; `numbers` are those in its path."""

    path: str
    numbers: tuple[int, ...]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # the tensors' whole names

    @property
    def linear(self) -> bool:
        return "weight" in self.tensors and self.tensors["weight"].dim() == 2


def _read(tensors: Mapping[str, torch.Tensor], place: _Place) -> Projector:
    layers = _layers(tensors, place)
    dino = place.name == "dino_head" or any("last_layer" in name for name in place.tensors)
    activation, called = (nn.GELU, "GELU") if dino else (nn.ReLU, "ReLU")
    parts: list[nn.Module] = []
    notes: list[str] = []
    width, told = 0, True
    for before, layer in zip([None, *layers], layers, strict=False):
        gap = _gap(before, layer) if before else 0
        told = told and gap is not None
        if gap or (gap is None and layer.linear):
            parts.append(activation())
        if gap is not None and gap > 1:
            notes.append(f"{gap} layers without tensors before {layer.path} are read as one {called}")
        parts.append(_made(layer, width))
        width = getattr(parts[-1], "out_features", width)
        if isinstance(parts[-1], nn.LayerNorm):
            notes.append(f"{layer.path} has no running statistics: read as a LayerNorm")
    first = parts[0]
    if not isinstance(first, nn.Linear):
        raise _Unreadable("does not begin with a linear layer")
    if len(parts) == 1 and place.name in CLASSIFIERS and not _contrastive(place.prefix):
        raise _Unreadable(f"is a single linear layer ({first.in_features} to {width}), as classifiers are")
    assumed = []
    if any(isinstance(part, activation) for part in parts):
        where = "in the gaps of the layers' numbers" if told else "before each linear layer but the first"
        assumed.append(f"{called} {where}")
    if any(isinstance(part, (nn.BatchNorm1d, nn.LayerNorm)) for part in parts):
        assumed.append("eps = 1e-5")
    assumed.append("L2 normalization at the end, as in DINO" if dino else "nothing behind the last layer")
    if dino:
        parts.append(_UnitLength())
    said = " - ".join(map(_shown, parts))
    return Projector(
        nn.Sequential(*parts).eval().requires_grad_(False),
        first.in_features,
        width,
        (
            f"projector {place.prefix.rstrip('.')}: {said}; not in the file but assumed: {', '.join(assumed)}",
            *notes,
        ),
        tuple(name for layer in layers for name in layer.names),
    )


def _layers(tensors: Mapping[str, torch.Tensor], place: _Place) -> list[_Layer]:
    """The head's layers in order: by the numbers in their paths, of equal ones the linear layer first."""
    found: dict[str, _Layer] = {}
    for name in place.tensors:
        path, _, end = name[len(place.prefix) :].rpartition(".")
        if BEHIND.isdisjoint(path.split(".")):
            layer = found.setdefault(path, _Layer(path, tuple(map(int, re.findall(r"\d+", path)))))
            layer.tensors[end] = tensors[name]
            layer.names.append(name)
    if not found:
        raise _Unreadable("has no layers of its own")
    order = sorted(found.values(), key=lambda layer: (layer.numbers, not layer.linear))
    keys = [(layer.numbers, layer.linear) for layer in order]
    if len(set(keys)) < len(keys):
        raise _Unreadable(f"has layers whose names do not tell their order ({', '.join(found)})")
    if len({len(layer.numbers) for layer in order}) > 1:
        raise _Unreadable(f"has layers nested in different depths ({', '.join(found)})")
    return order


def _gap(before: _Layer, layer: _Layer) -> int | None:
    """How many layers without tensors stand between two numbered ones of one Sequential; None: nobody can tell."""
    if not before.path.rpartition(".")[2].isdigit() or not layer.path.rpartition(".")[2].isdigit():
        return None
    if before.path.rpartition(".")[0] != layer.path.rpartition(".")[0]:
        return None
    return layer.numbers[-1] - before.numbers[-1] - 1


def _made(layer: _Layer, width: int) -> nn.Module:
    """The module of these tensors, filled; raises _Unreadable for anything but Linear, BatchNorm1d, LayerNorm."""
    given = {name: tensor for name, tensor in layer.tensors.items() if name != "num_batches_tracked"}
    for name, tensor in given.items():
        if not tensor.is_floating_point():
            raise _Unreadable(f"holds {tensor.dtype} numbers in {layer.path}.{name}")
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"The projector's tensor {layer.path}.{name} holds NaN or infinite values")
    names, shapes = set(given), {tuple(tensor.shape) for tensor in given.values()}
    module: nn.Module
    if layer.linear and names <= {"weight", "bias"}:
        outputs, inputs = given["weight"].shape
        if width not in (0, inputs):
            raise _Unreadable(f"does not chain: {layer.path} takes {inputs} features after {width}")
        module = nn.Linear(inputs, outputs, bias="bias" in names)
    elif names in (
        {"running_mean", "running_var"},
        {"running_mean", "running_var", "weight", "bias"},
    ) and shapes == {(width,)}:
        module = nn.BatchNorm1d(width, affine="weight" in names)
    elif names == {"weight", "bias"} and shapes == {(width,)}:
        module = nn.LayerNorm(width)
    else:
        held = ", ".join(f"{name} {'x'.join(map(str, t.shape)) or 'scalar'}" for name, t in given.items())
        raise _Unreadable(f"has a layer that is neither linear nor a norm ({layer.path}: {held})")
    state = module.state_dict()
    state |= {name: tensor.float() for name, tensor in given.items()}
    module.load_state_dict(state)
    return module


class _UnitLength(nn.Module):
    """Rows divided by their L2 norm (at least 1e-12)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (B, D)."""
        return nn.functional.normalize(x, dim=-1)


def _shown(part: nn.Module) -> str:
    if isinstance(part, nn.Linear):
        return f"Linear {part.in_features} to {part.out_features}"
    if isinstance(part, _UnitLength):
        return "L2"
    return type(part).__name__.removesuffix("1d")


def _contrastive(prefix: str) -> bool:
    """Whether the prefix is MoCo's, whose first version projects with a single linear layer."""
    return not {"encoder_q", "encoder_k"}.isdisjoint(prefix.split("."))
