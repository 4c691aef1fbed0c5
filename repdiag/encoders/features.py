"""Which features of an encoder are taken: layers by name, how they are pooled, whether rows get unit length.

A network of one's own is read like timm's when it offers what those offer: `forward_features(images)`, the map
or the tokens before pooling, and `num_prefix_tokens`, how many tokens come before those of the patches.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from repdiag.encoders import heads, weights
from repdiag.encoders import layers as places
from repdiag.encoders.chosen import Chosen
from repdiag.encoders.layers import LayerInfo
from repdiag.encoders.pools import POOLS, fitting
from repdiag.encoders.taps import Spot, Tap, Tapped, Trace, trace
from repdiag.encoders.types import Encoder, Loading, Output
from repdiag.errors import CheckpointError, RepdiagError, UsageError
from repdiag.registry import did_you_mean

__all__ = ["OUTPUT", "POOLS", "PROJECTOR", "LayerInfo", "layers", "layers_of", "network_of", "select"]

OUTPUT, PROJECTOR = "output", "projector"
"""Names for what is no module: the network's own output, and the projector of its checkpoint."""


def layers(encoder: Encoder) -> tuple[LayerInfo, ...]:
    """The stages or blocks of an encoder in order, with what each gives for one image. Runs one small batch.

    Any other module's name is good for `select` too. () for programs, which hide their parts.
    """
    network = network_of(encoder.module)
    return places.found(network, _look(encoder, network))


def layers_of(network: nn.Module, images: torch.Tensor) -> tuple[LayerInfo, ...]:
    """As `layers`, for a bare network in eval mode; a network and `images` on the meta device cost next to nothing."""
    return places.found(network, trace(network, network, images))


def select(
    encoder: Encoder,
    layer: str | Sequence[str] | None = None,
    pool: str | None = None,
    l2: bool | None = None,
    tensors: Mapping[str, torch.Tensor] | None = None,
) -> Encoder:
    """The encoder that gives other features of the same network; the very same one when nothing is asked for.

    `layer`: names of modules, numbers from the end of `layers` ("-1"), "output" or "projector"; several in a
    sequence or between commas, taken in one pass, their columns side by side (`Encoder.outputs`). `pool`: one of
    POOLS. `l2`: each output's rows get unit length. `tensors` are those of the checkpoint, where a projector
    is looked for. The network must be in eval mode. Raises UsageError for what the network does not have.
    """
    names = [part.strip() for part in layer.split(",")] if isinstance(layer, str) else list(layer or [OUTPUT])
    pool = pool or "auto"
    if pool not in POOLS:
        raise UsageError(f"There is no pooling '{pool}'", do=did_you_mean(pool, list(POOLS)))
    if names == [OUTPUT] and pool == "auto" and not l2:
        return encoder
    if isinstance(encoder.module, (Tapped, Chosen)):
        raise UsageError("The encoder's features were chosen before", do="Choose from the plain encoder")
    network = network_of(encoder.module)
    if any(part.training for part in network.modules()):
        raise ValueError("the network must be in eval mode: looking at its layers would train it")
    look = _Look(encoder, network, _look(encoder, network), pool, tensors)
    asked = [look.resolved(name) for name in names]
    if len(set(asked)) < len(asked):
        raise UsageError(f"Two of the layers {', '.join(names)} are the same one", do="Name each only once")
    if pool != "auto" and asked == [PROJECTOR]:
        raise UsageError(
            f"--pool {pool} does not go with the projector, which takes the encoder's own output",
            do="Leave --pool out",
        )
    return look.assembled(asked, bool(l2))


def network_of(module: nn.Module) -> nn.Module:
    """The network inside an encoder's module, which the layers' names are about."""
    if isinstance(module, Chosen):
        return network_of(module.inner)
    if isinstance(module, (weights.Pooled, Tapped)):
        return module.network
    from repdiag.encoders.wrap import Guest  # which is for networks in memory only

    return module.network if isinstance(module, Guest) else module


def _look(encoder: Encoder, network: nn.Module) -> Trace:
    how = encoder.preprocessing
    # two images: what has no row for each of them is no feature of an image
    noise = torch.randn(2, how.channels, how.size, how.size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=[]):
            return trace(encoder.module, network, noise)
    except RepdiagError:
        raise
    except Exception as error:  # any layer may refuse
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        raise CheckpointError(
            f"The encoder cannot take two images at once, so its features cannot be chosen: {text}",
            where=encoder.name,
            do="Leave out --layer, --pool and --l2",
        ) from error


@dataclasses.dataclass(frozen=True)
class _Look:
    """An encoder that was looked at, and what is wanted of it."""

    encoder: Encoder
    network: nn.Module
    seen: Trace
    pool: str
    tensors: Mapping[str, torch.Tensor] | None

    def resolved(self, name: str) -> str:
        """A layer's own name for what the user wrote; UsageError when there is none such."""
        if name in (OUTPUT, PROJECTOR):
            return name
        known = [layer.name for layer in places.found(self.network, self.seen)]
        listed = f"It has {', '.join(known)}" if known else "It does not show its layers"
        if re.fullmatch(r"-\d+", name):
            if not 1 <= -int(name) <= len(known):
                raise UsageError(f"There is no layer {name}: the encoder has {len(known)}", do=listed)
            return known[int(name)]
        modules = dict(self.network.named_modules(remove_duplicate=False))
        if not name or name not in modules:
            advice = did_you_mean(name, [*known, OUTPUT, PROJECTOR, *modules])
            advice = f"{advice} {listed}" if advice.startswith("Did") else listed
            raise UsageError(f"The encoder has no layer '{name}'", where=self.encoder.name, do=advice)
        if places.shape_at(modules[name], self.seen) is None:
            call = self.seen.of(modules[name])
            parts = [
                f"{name}.{part}" for part, child in modules[name].named_children() if self.seen.of(child)
            ]
            why = "is not run as a whole"
            if call is not None:
                gives = call.kind if call.shape is None else "x".join(map(str, call.shape))
                why = f"gives {gives} for {self.seen.images} images, not features of each"
            do = f"Name one of its parts: {', '.join(parts[:30])}" if parts else listed
            raise UsageError(f"The layer '{name}' {why}", where=self.encoder.name, do=do)
        return name

    def tap(self, name: str) -> tuple[Tap, str, tuple[str, ...]]:
        """The tap for a resolved name, what its pooling is called, and sentences on how it is read."""
        own = self.encoder.outputs[0].pooling
        if name == PROJECTOR:
            found = self.projector()
            return Tap(Spot("answer"), head=found.module), "of the encoder's output", found.notes
        if name == OUTPUT and self.pool == "auto":
            return Tap(Spot("answer")), own, ()
        if name == OUTPUT:
            body = places.body(self.network, self.seen)
            if body is None:
                raise UsageError(
                    f"The encoder does not show what it pools, so that --pool {self.pool} has nothing to take",
                    where=self.encoder.name,
                    do=f"Name a layer as well: {', '.join(x.name for x in places.found(self.network, self.seen))}",
                )
            spot, shape, calls, subject = *body, 1, "the encoder before its own pooling"
        else:
            module = self.network.get_submodule(name)
            call, shape_ = self.seen.of(module), places.shape_at(module, self.seen)
            assert call is not None
            assert shape_ is not None
            spot, shape, calls, subject = Spot("output", name), shape_, call.count, name
        pooling = fitting(places.form(self.network, shape, self.seen), self.pool, subject)
        notes = [f"{subject} gives {pooling.form}; taken: {pooling}"]
        if calls > 1:
            notes.append(f"{name} runs {calls} times in one pass; its last output is taken")
        return Tap(spot, pooling, calls), str(pooling), tuple(notes)

    def projector(self) -> heads.Projector:
        """The projector beside the encoder's weights; UsageError when there is none that can be read."""
        if self.tensors is None:
            raise UsageError(
                "There is no checkpoint to read a projector from", where=self.encoder.name, do="Give its file"
            )
        loading = self.encoder.loading
        return heads.require_projector(self.tensors, loading.prefix, self.encoder.dim, loading.dropped)

    def assembled(self, names: Sequence[str], l2: bool) -> Encoder:
        """The encoder of the chosen features, tried on a small batch."""
        taps, poolings, notes = zip(*map(self.tap, names), strict=True)
        module = Tapped(self.encoder.module, self.network, taps, l2).eval().requires_grad_(False)
        how = self.encoder.preprocessing
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            pieces = module.pieces(torch.zeros(2, how.channels, how.size, how.size))
        outputs, start = [], 0
        for name, pooling, piece in zip(names, poolings, pieces, strict=True):
            if not bool(piece.isfinite().all()):
                raise CheckpointError(
                    f"The layer {name} gives NaN or infinite features", where=self.encoder.name
                )
            outputs.append(Output(name, start, start + piece.shape[1], pooling))
            start += piece.shape[1]
        return dataclasses.replace(
            self.encoder,
            module=module,
            dim=start,
            outputs=tuple(outputs),
            l2=l2,
            fingerprint=self.fingerprint(module, outputs),
            loading=self.loading(names, [note for some in notes for note in some]),
        )

    def fingerprint(self, module: Tapped, outputs: Sequence[Output]) -> str:
        """SHA-256 of the encoder's own and of everything that was chosen."""
        parts = [
            self.encoder.fingerprint,
            *(f"{o.name} {o.pooling} {o.dim}" for o in outputs),
            f"l2 {module.l2}",
        ]
        parts += [weights.fingerprint(head.state_dict(), repr(head)) for head in module.heads]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def loading(self, names: Sequence[str], notes: Sequence[str]) -> Loading:
        """What became of the checkpoint's tensors: those of a projector that is used are not dropped."""
        before = self.encoder.loading
        used = frozenset(self.projector().tensors if PROJECTOR in names else ())
        return dataclasses.replace(
            before,
            loaded=before.loaded + len(used),
            dropped=tuple(name for name in before.dropped if name not in used),
            readings=(*before.readings, *notes),
        )
