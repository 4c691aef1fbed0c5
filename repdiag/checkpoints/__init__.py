"""Checkpoint files of every container family, read without running anything they bring along.

`read_checkpoint` gives the tensors, `read_layout` everything but them (without importing torch).
"""

from repdiag.checkpoints.checkpoint import Checkpoint, Layout, TensorInfo
from repdiag.checkpoints.reader import read_checkpoint, read_layout

__all__ = ["Checkpoint", "Layout", "TensorInfo", "read_checkpoint", "read_layout"]
