"""How many threads a piece of work deserves."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

SMALL = 4e6
"""Multiply-adds of one pass below which threads cost more than they bring. On a busy machine far more:
every parallel region waits for its slowest thread, and an L-BFGS fit has thousands of regions."""


@contextlib.contextmanager
def suited(work: float) -> Iterator[None]:
    """Use one thread inside the block when one pass takes fewer than SMALL multiply-adds."""
    if work >= SMALL:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    faiss_threads = 0
    if importlib.util.find_spec("faiss"):
        import faiss

        faiss_threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if faiss_threads:
            faiss.omp_set_num_threads(faiss_threads)
