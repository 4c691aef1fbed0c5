"""Checkpoint files of every container family, read without running anything they bring along."""

from repdiag.checkpoints.checkpoint import Checkpoint
from repdiag.checkpoints.reader import read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
