"""Which project or method a checkpoint seems to come from, by the parts it has, and what follows from that.

A guess for people; nothing is loaded or left out because of it. Only where a project is known to build what
shapes cannot show (solo-learn's stem, the heads of MoCo v3's ViTs) does it become a `Hints`, which the report
states and the user's own options override.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from repdiag.encoders.hints import Hint, Hints


@dataclass(frozen=True)
class Method:
    """A guess: the project's or method's name, and the parts of the checkpoint that speak for it."""

    name: str
    because: str
    hints: Hints = field(default_factory=Hints)


@dataclass(frozen=True)
class Rule:
    """Guesses `name` when all of `has`, one of `any_of` (if given) and none of `lacks` are path components."""

    name: str
    has: frozenset[str]
    any_of: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    hints: Hints = field(default_factory=Hints)

    def match(self, components: frozenset[str]) -> Method | None:
        """The guess, with the components that led to it."""
        one = self.any_of & components
        if not self.has <= components or (self.any_of and not one) or self.lacks & components:
            return None
        return Method(self.name, "it holds " + ", ".join(sorted(self.has | one)), self.hints)


def _rule(name: str, has: str, any_of: str = "", lacks: str = "", hints: Hints | None = None) -> Rule:
    all_of, one_of, none_of = (frozenset(text.split()) for text in (has, any_of, lacks))
    return Rule(name, all_of, one_of, none_of, hints or Hints())


_MOCO3 = Hints(heads=Hint(12, "MoCo v3's ViTs have 12 heads at every width"))
_SOLO = Hints(
    stem_padding=Hint(2, "solo-learn pads its 3x3 stem by 2", kernel=3),
    max_pool=Hint(False, "solo-learn has none behind its 3x3 stem", kernel=3),
)

RULES = (
    # the more telling parts first; a checkpoint is given the first name that fits
    _rule("DSA", "IL"),
    _rule("VISSL", "classy_state_dict"),
    _rule("VISSL", "_feature_blocks"),
    _rule("MoCo v3", "base_encoder", "momentum_encoder predictor", hints=_MOCO3),
    _rule("MoCo v1 or v2", "encoder_q", "encoder_k queue fc"),
    _rule("MAE", "decoder_embed decoder_blocks"),
    _rule(
        "I-JEPA",
        "target_encoder encoder predictor",
        "predictor_embed predictor_blocks predictor_pos_embed opt",
    ),
    _rule("DINOv3", "storage_tokens"),
    _rule("DINOv2", "dino_head ibot_head"),
    _rule("DINOv2", "register_tokens"),
    _rule("iBOT", "ibot_loss"),
    _rule("DINO", "dino_loss"),
    _rule("DINO", "student teacher", "last_layer mlp head"),
    _rule("DINOv2", "mask_token ls1 patch_embed", lacks="decoder_embed neck"),
    _rule("ICCL", "target_backbone"),
    _rule("MMSelfSup or mmpretrain", "backbone neck"),
    _rule("MMSelfSup or mmpretrain", "backbone data_preprocessor"),
    _rule("BYOL", "online_network_state_dict"),
    _rule("BYOL", "online_encoder"),
    _rule("BYOL", "online_network"),
    _rule("solo-learn", "encoder momentum_encoder classifier", hints=_SOLO),
    _rule("ReSA", "momentum_encoder encoder", lacks="base_encoder backbone classifier"),
    _rule("solo-learn", "momentum_backbone", hints=_SOLO),
    _rule("solo-learn", "backbone classifier", "projector predictor", hints=_SOLO),
    _rule("solo-learn", "encoder classifier", "projector predictor", lacks="backbone", hints=_SOLO),
    _rule("lightly", "student_backbone teacher_backbone"),
    _rule("SwAV", "prototypes", "projection_head"),
    _rule("lightly", "backbone_momentum backbone"),
    _rule("lightly", "backbone", "projection_head prediction_head online_classifier"),
    _rule("stable-pretraining", "backbone", "callbacks_modules callbacks_metrics"),
    _rule("Barlow Twins", "backbone projector bn", lacks="predictor"),
    _rule("VICReg", "backbone projector", lacks="predictor classifier"),
    _rule("SimSiam", "encoder predictor", lacks="target_encoder momentum_encoder target_network backbone"),
    _rule("SimCLR", "backbone", "projection_head head projector", lacks="teacher student predictor neck"),
    _rule("SimCLRv2", "resnet head"),
    _rule("DINO-like", "student teacher"),
)


def guess(names: Iterable[str]) -> Method | None:
    """The method or project of a checkpoint by its tensors' (and containers') dotted names; None: no marks."""
    components = frozenset(part for name in names for part in name.split("."))
    return next((method for rule in RULES if (method := rule.match(components))), None)
