"""What names and shapes cannot tell about a network, and who said it: the user, the layout, or a default."""

from __future__ import annotations

from dataclasses import dataclass

BY_USER = "set by the user"


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
    follows it, `heads` counts the attention heads of a ViT.
    """

    stem_padding: Hint | None = None
    max_pool: Hint | None = None
    heads: Hint | None = None

    def over(self, other: Hints) -> Hints:
        """These, and where they are silent the `other`'s."""
        return Hints(
            self.stem_padding or other.stem_padding,
            self.max_pool or other.max_pool,
            self.heads or other.heads,
        )

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

    return Hints(said(stem_padding), said(max_pool), said(heads))
