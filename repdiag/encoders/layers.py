"""Which layers a network has: its stages and blocks by name, and what each of its modules gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from repdiag.encoders.pools import Form
from repdiag.encoders.taps import Call, Spot, Trace

AVERAGES = ("avg", "avgmax", "max", "map")
"""timm's `global_pool` of networks that do not take the class token."""


@dataclass(frozen=True)
class LayerInfo:
    """A layer's name and what it gives for one image: (D,), (T, D), (C, h, w) or (h, w, C)."""

    name: str
    shape: tuple[int, ...]


def found(network: nn.Module, seen: Trace) -> tuple[LayerInfo, ...]:
    """The stages or blocks of a network, in order: the layers that are worth comparing, not every convolution."""
    names = _named_by_timm(network, seen) or list(_blocks(network, "", seen))
    shapes = {name: shape_at(network.get_submodule(name), seen) for name in names}
    return tuple(LayerInfo(name, shape) for name, shape in shapes.items() if shape is not None)


def shape_at(module: nn.Module, seen: Trace) -> tuple[int, ...] | None:
    """What `module` gives for each image; None when it did not run, or gives no one tensor with a row per image."""
    call = seen.of(module)
    return call.shape[1:] if call and call.shape and _per_image(call.shape, seen.images) else None


def _per_image(shape: tuple[int, ...], images: int) -> bool:
    return 2 <= len(shape) <= 4 and shape[0] == images and 0 not in shape


def _named_by_timm(network: nn.Module, seen: Trace) -> list[str]:
    """The stages that timm declares for a network; [] for networks of others."""
    listed = getattr(network, "feature_info", None)
    listed = getattr(listed, "info", listed)
    if not isinstance(listed, list):
        return []
    modules = dict(network.named_modules())
    said = [str(one["module"]) for one in listed if isinstance(one, dict) and one.get("module") in modules]
    said = [name for name in said if shape_at(modules[name], seen) is not None]
    whole = [name for name in said if _height(modules[name]) > 1]
    return whole if said and said[-1] in whole else said  # without the stem's single layers


def _blocks(module: nn.Module, prefix: str, seen: Trace) -> Iterator[str]:
    """The children with the deepest nesting, and those one level less deep that are called alike (a ResNet's
    first stage has no downsampling). Where there is only one, its children in turn; a list that is run item by
    item stands for its items.
    """
    children = [(name, child) for name, child in module.named_children() if _height(child)]
    deepest = max((_height(child) for _, child in children), default=0)
    if deepest < 2:  # nothing but single layers
        if prefix and seen.of(module) is not None:
            yield prefix
        return
    alike = {_stem(name) for name, child in children if _height(child) == deepest}
    least = {True: max(2, deepest - 1), False: deepest}
    chosen = [(name, child) for name, child in children if _height(child) >= least[_stem(name) in alike]]
    for name, child in chosen:
        path = f"{prefix}.{name}" if prefix else name
        if len(chosen) == 1 or seen.of(child) is None:
            yield from _blocks(child, path, seen)
        else:
            yield path


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _height(module: nn.Module) -> int:
    """Levels of modules with weights below and with this one; 0 without weights."""
    below = max((_height(child) for child in module.children()), default=0)
    own = any(True for _ in module.parameters(recurse=False))
    return below + 1 if below or own else 0


# --------------------------------------------------------------------------------------------- forms


def form(network: nn.Module, shape: tuple[int, ...], seen: Trace) -> Form:
    """What values of `shape` (without the images' axis) are in this network."""
    if len(shape) == 3:
        return Form(shape, channels_last=_channels_last(network, shape))
    if len(shape) != 2:
        return Form(shape)
    prefix = _prefix(network)
    final = seen.body if isinstance(seen.body, torch.Tensor) else seen.own
    last = int(final.shape[1]) if isinstance(final, torch.Tensor) and final.dim() == 3 else shape[0]
    if prefix and shape[0] != last:  # class tokens that join only behind some block (CaiT, XCiT)
        prefix = 0 if shape[0] == last - prefix else None
    has_class = bool(prefix) and getattr(network, "cls_token", ...) is not None
    averages = getattr(network, "global_pool", None) in AVERAGES
    return Form(shape, prefix=prefix, class_token=has_class, averages=averages)


def _channels_last(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a map's channels come last: as timm says, or as the two equal sides of a square image show."""
    first_two, last_two = shape[0] == shape[1], shape[1] == shape[2]
    if first_two != last_two:
        return first_two
    return getattr(network, "output_fmt", None) == "NHWC"


def _prefix(network: nn.Module) -> int | None:
    """How many of a network's tokens come before the patches'; None when nobody says."""
    said = getattr(network, "num_prefix_tokens", None)
    if isinstance(said, int):
        return said
    if type(network).__module__.startswith("torchvision.") and hasattr(network, "class_token"):
        return 1
    if type(network).__module__.startswith("timm."):
        names = [name for name, _ in network.named_parameters()]
        return None if any("cls_token" in name or "dist_token" in name for name in names) else 0
    return None


# --------------------------------------------------------------------------------------------- the last map


def body(network: nn.Module, seen: Trace) -> tuple[Spot, tuple[int, ...]] | None:
    """Where the network's map or tokens are before it pools them, and their shape; None when it hides that.

    timm's networks have a method for it. Otherwise it is what the network itself gives, if that is not pooled,
    torchvision's encoder of tokens, or what goes into the average pooling at the end.
    """
    method = Spot("apart" if seen.apart else "method", "forward_features")
    own = Spot("apart", "forward") if isinstance(network, torch.jit.ScriptModule) else Spot("output")
    for spot, values in ((method, seen.body), (own, seen.own)):
        if isinstance(values, torch.Tensor):
            shape = tuple(values.shape)
            if _per_image(shape, seen.images) and len(shape) > 2:
                return spot, shape[1:]
    if type(network).__module__.startswith("torchvision.") and hasattr(network, "class_token"):
        shape_ = shape_at(network.get_submodule("encoder"), seen)
        return (Spot("output", "encoder"), shape_) if shape_ is not None else None
    pools = [
        (call, name)
        for name, module in network.named_modules()
        if isinstance(module, nn.AdaptiveAvgPool2d)
        and module.output_size in (1, (1, 1))
        and (call := seen.of(module)) is not None
        and call.count == 1
    ]
    call, name = max(pools, key=lambda pool: pool[0].order, default=(None, ""))
    if call is None or call.given is None or not _per_image(call.given, seen.images):
        return None
    later = [other for other in seen.calls.values() if other.order > call.order]
    parent = network.get_submodule(name.rpartition(".")[0]) if "." in name else network
    outer = seen.of(parent)
    last = call.pooled is not None and torch.equal(call.pooled.flatten(1).float(), seen.answer)
    last = (
        last or parent is network or (outer is not None and outer.shape is not None and len(outer.shape) == 2)
    )
    if not last or any(map(_is_image, later)) or len(call.given) != 4:  # in the middle, for an attention say
        return None
    return Spot("input", name), call.given[1:]


def _is_image(call: Call) -> bool:
    return call.shape is not None and len(call.shape) == 4 and max(call.shape[2:]) > 1
