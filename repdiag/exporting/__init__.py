"""The clean backbone of a checkpoint in the formats that others read."""

from repdiag.exporting.description import Exported
from repdiag.exporting.export import export
from repdiag.exporting.formats import FORMATS

__all__ = ["FORMATS", "Exported", "export"]
