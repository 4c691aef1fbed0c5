"""No regularizer: the control, which has all of the training but the terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from repdiag.objectives.contract import Outputs, Regularizer, regularizer
from repdiag.objectives.parameters import NoneParameters, Parameters


@regularizer
class NoneRegularizer(Regularizer):
    """Adds nothing to the base's loss."""

    kind: ClassVar[type[Parameters]] = NoneParameters
    title: ClassVar[str] = "no regularizer"
    source: ClassVar[str] = "control, ours"

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """None."""
        return {}
