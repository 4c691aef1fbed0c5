"""A vision model of transformers as a network like all others: images in, features out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

POOLER, CLASS_TOKEN, MEAN_OF_TOKENS, GLOBAL_AVERAGE = (
    "pooler",
    "class token",
    "mean of tokens",
    "global average",
)

SENTENCES = {
    POOLER: "the model's own pooled output (pooler_output) is taken",
    CLASS_TOKEN: "the class token of last_hidden_state is taken: the checkpoint has no trained pooler",
    MEAN_OF_TOKENS: "the mean of last_hidden_state's patch tokens is taken: the model has no class token",
    GLOBAL_AVERAGE: "the average of last_hidden_state over the image is taken",
}

CLASS_NAMES = ("cls_token", "class_token", "class_embedding")


class Vision(nn.Module):
    """`model` behind one tensor in, one tensor out; `takes` says what of its output is the representation.

    `forward_features` and `num_prefix_tokens` are timm's protocol for tokens before pooling.
    """

    def __init__(self, model: nn.Module, config: Mapping[str, Any], size: int, patch: int) -> None:
        super().__init__()
        self.model, self.config, self.size, self.patch = model, config, size, patch
        accepted = inspect.signature(model.forward).parameters
        self.interpolates = "interpolate_pos_encoding" in accepted
        self.masks = "noise" in accepted
        shapes = {name.rpartition(".")[2]: tensor.shape for name, tensor in model.state_dict().items()}
        self.class_token = any(name in shapes for name in CLASS_NAMES)
        registers = shapes["register_tokens"][-2] if "register_tokens" in shapes else 0
        self.num_prefix_tokens = self.class_token + registers + ("distillation_token" in shapes)
        self.takes = POOLER

    def run(self, images: torch.Tensor) -> Any:
        """The model's own output. A masked autoencoder sees all patches, in their order."""
        more: dict[str, Any] = {}
        height, width = int(images.shape[-2]), int(images.shape[-1])
        if self.interpolates and (height, width) != (self.size, self.size):
            more["interpolate_pos_encoding"] = True
        if self.masks:  # patches are sorted by this "noise"
            count = (height // self.patch) * (width // self.patch)
            order = torch.arange(count, dtype=torch.float32, device=images.device)
            more["noise"] = order.expand(images.shape[0], count)
        return self.model(pixel_values=images, **more)

    def choose(self, image: torch.Tensor) -> str:
        """Settle what is taken, by the output for one image; a sentence about it."""
        with torch.inference_mode():
            out = self.run(image)
        if getattr(out, "pooler_output", None) is not None:
            self.takes = POOLER
        elif out.last_hidden_state.dim() == 4:
            self.takes = GLOBAL_AVERAGE
        else:
            self.takes = CLASS_TOKEN if self.class_token else MEAN_OF_TOKENS
        return SENTENCES[self.takes]

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, T, D) tokens or (B, D, h, w) map, as the model's last_hidden_state has it."""
        tokens: torch.Tensor = self.run(images).last_hidden_state
        return tokens

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> (B, D)."""
        out = self.run(images)
        if self.takes == POOLER:
            pooled: torch.Tensor = out.pooler_output
            return pooled.flatten(1)  # convolutional models give (B, D, 1, 1)
        tokens: torch.Tensor = out.last_hidden_state
        if self.takes == CLASS_TOKEN:
            return tokens[:, 0]
        return tokens.mean(dim=(2, 3)) if self.takes == GLOBAL_AVERAGE else tokens.mean(dim=1)

    def resampled(self, size: int) -> tuple[str, ...]:
        """A sentence when images of `size` pixels need other position embeddings than the checkpoint has."""
        learned = any("position_embedding" in name for name in self.model.state_dict())
        if size == self.size or not learned:
            return ()
        return (f"the model interpolates its position embeddings from {self.size} to {size} pixels",)
