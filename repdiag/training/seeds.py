"""Seeds that follow from what they are for, so that a run can go on anywhere without a stored random state."""

from __future__ import annotations

import hashlib


def seed_of(*what: int | str) -> int:
    """A seed in 0 .. 2^63 - 1 for `what`, such as (run's seed, "views", step): the same for the same, else another."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8], "big") >> 1
