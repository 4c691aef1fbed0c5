"""Content-addressed cache of embeddings on disk, which survives a kill at any moment."""

from repdiag.store.cache import CACHE_FORMAT, Store, default_root, key_of
from repdiag.store.disk import DiskEntry
from repdiag.store.entry import Entry, MemoryEntry, Shape

__all__ = ["CACHE_FORMAT", "DiskEntry", "Entry", "MemoryEntry", "Shape", "Store", "default_root", "key_of"]
