"""Groups of options that several commands share: a dataclass per group, one field per option.

A command takes whole groups; `grouped` shows typer their fields. Another option of a group is one field.
"""

from repdiag.cli.options.data import DataOptions
from repdiag.cli.options.features import FeatureOptions
from repdiag.cli.options.figures import FigureOptions
from repdiag.cli.options.grouped import grouped
from repdiag.cli.options.images import ImageOptions
from repdiag.cli.options.loading import LoadingOptions

__all__ = ["DataOptions", "FeatureOptions", "FigureOptions", "ImageOptions", "LoadingOptions", "grouped"]
