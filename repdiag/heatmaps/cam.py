"""Heat maps: how much each place of an image moves a weighted sum of the features, to first order."""

from __future__ import annotations

from typing import Literal

import torch

from repdiag.encoders import Encoder
from repdiag.encoders.features import network_of
from repdiag.errors import CheckpointError, ResourceError, UsageError
from repdiag.heatmaps.place import Spatial, device_of, exposed

Method = Literal["gradcam", "hirescam"]


def method_for(spatial: Spatial) -> Method:
    """The method that suits the place: HiResCAM where each feature is one place's value, GradCAM elsewhere."""
    return "hirescam" if spatial.kind == "flattened" else "gradcam"


def heat(
    encoder: Encoder,
    spatial: Spatial,
    images: torch.Tensor,
    weights: torch.Tensor,
    method: Method | None = None,
) -> torch.Tensor:
    """Where the target's evidence lies: `signed` with its negative values set to 0.

    `images` (B, C, H, W) float32 are ready inputs, `weights` (B, D) float32; the target of image i is
    t_i = sum_j weights[i, j] h_ij with h the encoder's output. Returns (B, h, w) float32 >= 0 on the CPU, without a
    unit and without an upper bound: maps of two images, or of two methods, do not compare in height. A row whose
    weights are all 0, or whose signed map is nowhere positive, is 0 everywhere: there is no heat map then.

    gradcam: Selvaraju et al. 2017, eq. 1 and 2 (P): alpha_c = mean over places of dt/dA_c, map = ReLU(sum_c alpha_c
    A_c). hirescam: Draelos and Carin 2020 (P): map = ReLU(sum_c dt/dA_c A_c), element by element, without the mean.
    Both were defined for convolutional networks and a class's score; for a weighted sum of features (of this project's
    choosing) and for tokens they are applied as they are (O). None takes what `method_for` says (O): for flattened
    features the mean would spread a feature, which belongs to one place, over the whole map.

    What a map does not say: it is local (a gradient), it is as coarse as the grid, and the activations of one place see
    a field of the image that is wider than the place. GradCAM's mean can put heat where the target does not depend on
    the activations at all (Draelos and Carin); for tokens, attention has mixed places before. For features that are
    averages of a map (GAP), both methods give sum_j weights[i, j] A_j / (h w), cut at 0, exactly.

    Gradients are computed although the parameters are frozen; the module is afterwards as it was. Runs on the device
    of the encoder's weights, under the caller's autocast if there is one; sums over channels are in float32. Halves
    the batch when memory runs out. Raises ResourceError at one image, UsageError where the activations have another
    shape than `spatial` says, and CheckpointError for values that are not finite.
    """
    return signed(encoder, spatial, images, weights, method).clamp_(min=0)


def signed(
    encoder: Encoder,
    spatial: Spatial,
    images: torch.Tensor,
    weights: torch.Tensor,
    method: Method | None = None,
) -> torch.Tensor:
    """As `heat`, before the cut at 0: (B, h, w) float32 on the CPU; places that speak against the target are negative.

    Where the features are a linear function of A, the sum over places of HiResCAM's map is t minus its constant part.
    """
    chosen = method_for(spatial) if method is None else method
    if chosen not in ("gradcam", "hirescam"):
        raise UsageError(f"There is no heat map method '{chosen}'", do="Use gradcam or hirescam")
    _check(encoder, spatial, images, weights)
    if not len(images):
        return torch.zeros(0, *spatial.grid)
    try:
        return _signed(encoder, spatial, images, weights, chosen)
    except torch.OutOfMemoryError as error:
        if len(images) == 1:
            raise ResourceError(
                f"The memory of {device_of(encoder)} is too small for the heat map of one image",
                do="Close what else uses it, or choose --device cpu",
            ) from error
    half = len(images) // 2
    parts = [(images[:half], weights[:half]), (images[half:], weights[half:])]
    return torch.cat([signed(encoder, spatial, *part, method=chosen) for part in parts])


def _check(encoder: Encoder, spatial: Spatial, images: torch.Tensor, weights: torch.Tensor) -> None:
    if weights.shape != (len(images), encoder.dim):
        raise ValueError(f"weights {tuple(weights.shape)} for {len(images)} images, {encoder.dim} features")
    start, stop = spatial.columns
    if bool(weights[:, :start].any()) or bool(weights[:, stop:].any()):
        raise ValueError(f"weights of other features than {start}..{stop}, whose place this is")
    if any(part.training for part in network_of(encoder.module).modules()):
        raise ValueError("the network must be in eval mode: a heat map would depend on the other images")


def _signed(
    encoder: Encoder, spatial: Spatial, images: torch.Tensor, weights: torch.Tensor, method: Method
) -> torch.Tensor:
    device = device_of(encoder)
    kind = device.type
    mixed = torch.autocast(
        kind,
        dtype=torch.get_autocast_dtype(kind),
        enabled=torch.is_autocast_enabled(kind),
        cache_enabled=False,  # weights that were cast in inference mode do not serve gradients
    )
    with mixed, exposed(encoder, spatial) as found:
        inputs, wanted = _plain(images.to(device)), _plain(weights.to(device, torch.float32))
        features = encoder.module(inputs)
        leaf = found.leaf
        if leaf is None or tuple(leaf.shape[1:]) != spatial.shape:
            shape = "nothing" if leaf is None else tuple(leaf.shape[1:])
            raise UsageError(
                f"{spatial.module_name or 'The network'} gives {shape} for inputs of {tuple(images.shape[1:])}, not "
                f"{spatial.shape}",
                where=encoder.name,
                do="Find the place anew for inputs of another size",
            )
        with torch.enable_grad():
            target = (features.float() * wanted).sum()
        # each image's target depends on its own activations only: one gradient serves all
        (gradient,) = torch.autograd.grad(target, leaf)
        values, slopes = spatial.places(leaf.detach()), spatial.places(gradient)
        if method == "gradcam":
            slopes = slopes.mean((1, 2), keepdim=True)
        found_map = (slopes * values).sum(-1)
        found_map[(wanted == 0).all(1)] = 0
        result = found_map.float().cpu()
    if not bool(result.isfinite().all()):
        raise CheckpointError("The encoder's gradients are NaN or infinite", where=encoder.name)
    return result


def _plain(values: torch.Tensor) -> torch.Tensor:
    """A tensor that gradients may use, which one made in inference mode is not."""
    return values.clone() if values.is_inference() else values
