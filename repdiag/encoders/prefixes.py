"""Where in a checkpoint the backbone's tensors are, and which of several equally good places is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repdiag.encoders.sketch import HEADS, Shape, is_computed
from repdiag.errors import CheckpointError

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Path components that DistributedDataParallel, torch.compile and FSDP add; they tell nothing apart."""


@dataclass(frozen=True)
class Preference:
    """Of two readings that differ only there, the path `taken` is used rather than the path `left`."""

    taken: str
    left: str
    because: str
    method: str | None = None  # the guess (see `methods`) that it holds for; None: for every one


PREFERENCES = (
    Preference("teacher", "student", "DINO-like methods evaluate the teacher"),
    Preference("teacher_backbone", "student_backbone", "DINO-like methods evaluate the teacher"),
    Preference("teacher", "model_ema", "DINOv3 evaluates the teacher"),
    Preference("encoder_q", "encoder_k", "MoCo evaluates the query encoder"),
    Preference("base_encoder", "momentum_encoder", "MoCo v3 evaluates the base encoder"),
    Preference("momentum_encoder", "encoder", "the momentum encoder is the one to use (ReSA)", "ReSA"),
    Preference("encoder", "momentum_encoder", "solo-learn evaluates the online encoder", "solo-learn"),
    Preference("target_encoder", "encoder", "the target encoder is the one to use (I-JEPA)"),
    Preference("online_encoder", "target_encoder", "BYOL evaluates the online network"),
    Preference("online_network", "target_network", "BYOL evaluates the online network"),
    Preference("online_network_state_dict", "target_network_state_dict", "BYOL evaluates the online network"),
    Preference("online_net", "target_net", "BYOL evaluates the online network"),
    Preference("backbone", "momentum_backbone", "solo-learn evaluates the online backbone"),
    Preference("backbone", "backbone_momentum", "lightly evaluates the online backbone"),
    Preference("backbone", "target_backbone", "the online backbone is the one to use"),
    Preference("backbone", "target_net.0", "the online backbone is the one to use"),
    Preference("backbone", "encoder_k.0", "MoCo evaluates the query encoder"),
    Preference("state_dict_ema", "state_dict", "the averaged weights (EMA) are the ones to use"),
    Preference("model_ema", "model", "the averaged weights (EMA) are the ones to use"),
    Preference("ema", "model", "the averaged weights (EMA) are the ones to use"),
)

LESSER = {"IL": "it holds DSA's frozen reference network"}
"""Components whose presence makes a reading give way to every one without them."""

Same = Callable[[str, str], bool]
"""Whether two of the checkpoint's tensors, by name, are equal."""


def fitting(required: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> list[str]:
    """Every prefix under which all required names are, with exactly their shapes; () only if there is none."""
    anchor = max(required, key=len)  # a long name is a rare one
    ends = "." + anchor
    starts = [n[: -len(anchor)] for n in shapes if n == anchor or n.endswith(ends)]
    return [p for p in starts if all(shapes.get(p + name) == shape for name, shape in required.items())]


def lacking(prefix: str, required: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> list[str]:
    """The required names that are not under `prefix`, or have another shape there."""
    return [name for name, shape in required.items() if shapes.get(prefix + name) != shape]


def overhang(prefix: str, required: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> list[str]:
    """Tensors inside the backbone's own parts that the architecture has no place for.

    They show that the checkpoint's network is a larger one (a ResNet-18's tensors are all in a ResNet-34).
    """
    parts = {name.partition(".")[0] for name in required if "." in name} - HEADS
    inside = (name[len(prefix) :] for name in shapes if name.startswith(prefix))
    return [n for n in inside if n not in required and n.partition(".")[0] in parts and not is_computed(n)]


def is_lesser(prefix: str) -> bool:
    """Whether the tensors there are a reference network that a method carries along."""
    return not LESSER.keys().isdisjoint(prefix.split("."))


def chosen_by_user(prefixes: Sequence[str], key: str | None, prefix: str | None) -> list[str]:
    """Those under the container `key` and with the given `prefix`.

    The prefix may be the whole one, what follows the key, or what follows any container ("encoder_q." for
    "state_dict.module.encoder_q."), if nothing has it as the whole.
    """
    kept = list(prefixes)
    if key is not None:
        kept = [p for p in kept if p.startswith(_dotted(key))]
    if prefix is None:
        return kept
    wanted = _dotted(prefix)
    whole = {wanted, _dotted(key) + wanted if key is not None else wanted}
    return [p for p in kept if p in whole] or [p for p in kept if wanted and p.endswith("." + wanted)]


def _dotted(path: str) -> str:
    return path.rstrip(".") + "." if path.rstrip(".") else ""


@dataclass(frozen=True)
class Settled:
    """Which of several readings is taken, and why; `notes` are sentences. `prefix` None: no rule decides."""

    prefix: str | None
    notes: tuple[str, ...]
    undecided: tuple[str, ...] = ()


def settle(prefixes: Sequence[str], names: Sequence[str], same: Same, method: str | None) -> Settled:
    """One of several prefixes under which the tensors `names` fit equally well.

    Identical tensors under two prefixes are one reading. `method` is what the checkpoint seems to come from.
    """
    rules = [rule for rule in PREFERENCES if rule.method in (None, method)]
    readings = _distinct(sorted(prefixes, key=lambda p: (len(p), p)), names, same)
    notes = [
        f"{show(r[0])} and {', '.join(map(show, r[1:]))} hold the same tensors" for r in readings if r[1:]
    ]
    left = list(readings)
    for loser in readings:
        winner = next((w for w in readings if w is not loser and _beats(w, loser, rules)), None)
        if winner is not None:
            notes.append(f"{show(winner[0])} was taken, not {show(loser[0])}: {_beats(winner, loser, rules)}")
            left.remove(loser)
    if len(left) != 1:
        return Settled(None, tuple(notes), tuple(r[0] for r in left or readings))
    return Settled(left[0][0], tuple(notes))


def undecided(settled: Settled) -> CheckpointError:
    """The refusal to guess: a guess could silently evaluate the wrong network."""
    where = ", ".join(map(show, settled.undecided))
    return CheckpointError(
        f"The checkpoint holds several different encoders of the same architecture: {where}",
        do="Say which one with --prefix or --key",
    )


def show(prefix: str) -> str:
    """A prefix as people write it."""
    return f"'{prefix.rstrip('.')}'" if prefix else "the top level"


def _distinct(prefixes: Sequence[str], names: Sequence[str], same: Same) -> list[list[str]]:
    """Prefixes grouped by what the tensors under them are."""
    groups: list[list[str]] = []
    for prefix in prefixes:
        for group in groups:
            if all(same(prefix + name, group[0] + name) for name in names):
                group.append(prefix)
                break
        else:
            groups.append([prefix])
    return groups


def _beats(winner: Sequence[str], loser: Sequence[str], rules: Sequence[Preference]) -> str:
    """Why one reading goes before the other, "" when it does not."""
    if all(map(is_lesser, loser)) and not any(map(is_lesser, winner)):
        return next(because for part, because in LESSER.items() if part in loser[0].split("."))
    for ours in winner:
        for theirs in loser:
            for rule in rules:
                core = _core(theirs)
                if _core(ours) == _replaced(core, rule.left, rule.taken) != core:
                    return rule.because
    return ""


def _core(prefix: str) -> str:
    """The prefix without wrappers, dotted at both ends."""
    return "".join(f".{part}" for part in prefix.rstrip(".").split(".") if part not in WRAPPERS) + "."


def _replaced(core: str, left: str, taken: str) -> str:
    return core.replace(f".{left}.", f".{taken}.")
