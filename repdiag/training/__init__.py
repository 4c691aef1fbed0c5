"""The training loop: seeded, resumable to the bit on the CPU, on one process or several."""

from __future__ import annotations
