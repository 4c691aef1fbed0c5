"""What names and shapes cannot tell about a network, and who said it: the user, the layout, or a default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from repdiag.errors import CheckpointError

BY_USER = "set by the user"
BY_FILE = "the file's metadata"


@dataclass(frozen=True)
class Hint:
    """A setting, and the sentence part that says where it comes from ("set by the user").

    One about a stem may hold for a `kernel` of one size only.
    """

    value: int | bool
    because: str
    kernel: int | None = None


@dataclass(frozen=True)
class Hints:
    """The settings that are known for a checkpoint; None: nobody said.

    `stem_padding` pads the first convolution (pixels), `max_pool` tells whether a 3x3 max-pool of stride 2
    follows it, `stem_relu` whether a ReLU does, `heads` counts the attention heads of a ViT. Among known
    architectures of equal tensors those that have `family` in their name go first, and where `class_token` is
    True their feature is the class token.
    """

    stem_padding: Hint | None = None
    max_pool: Hint | None = None
    stem_relu: Hint | None = None
    heads: Hint | None = None
    class_token: Hint | None = None
    family: str | None = None

    def over(self, other: Hints) -> Hints:
        """These, and where they are silent the `other`'s."""
        chosen = {f.name: getattr(self, f.name) or getattr(other, f.name) for f in dataclasses.fields(self)}
        return Hints(**chosen)

    def options(self, because: str) -> list[str]:
        """The command-line options of the settings that come from there."""
        named = {"--stem-padding": self.stem_padding, "--max-pool": self.max_pool, "--heads": self.heads}
        return [option for option, hint in named.items() if hint is not None and hint.because == because]


def by_user(stem_padding: int | None, max_pool: bool | None, heads: int | None) -> Hints:
    """The user's own words; raises ValueError for what no network has."""
    if stem_padding is not None and not 0 <= stem_padding <= 16:
        raise ValueError(f"a stem is padded by 0 to 16 pixels, not {stem_padding}")
    if heads is not None and heads < 1:
        raise ValueError(f"a transformer has at least one attention head, not {heads}")

    def said(value: int | bool | None) -> Hint | None:
        return None if value is None else Hint(value, BY_USER)

    return Hints(stem_padding=said(stem_padding), max_pool=said(max_pool), heads=said(heads))


def said_by_file(metadata: Mapping[str, str], where: str) -> Hints:
    """What `repdiag export` wrote into the file's metadata; raises CheckpointError if that is malformed."""
    text = metadata.get("repdiag.hints")
    if text is None:
        return Hints()
    try:
        said = json.loads(text)
        family = said.pop("family", None)
        if not all(isinstance(value, int) for value in said.values()) or not isinstance(family, str | None):
            raise ValueError("values of other types")
        return Hints(**{name: Hint(value, BY_FILE) for name, value in said.items()}, family=family)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The file's own 'repdiag.hints' cannot be used: {error}", where=where
        ) from error
