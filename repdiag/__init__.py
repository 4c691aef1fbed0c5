"""How good is a self-supervised image encoder really? `repdiag score model.pt dataset/` tells.

Importing this package is cheap: no torch, no pandas.
"""

from __future__ import annotations

__version__ = "0.1.0"
