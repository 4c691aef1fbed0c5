"""Other numbers for the tensors of a checkpoint file; everything else in it stays, byte for byte.

Nothing is loaded or unpickled for it: the readers of `repdiag.checkpoints` tell where in the file each tensor's bytes
are, and only these are written. One module per container family says where (`FAMILIES`), `patch` writes.
"""

from repdiag.checkpoints.rewrite.patch import Replaced, replace_tensors

__all__ = ["Replaced", "replace_tensors"]
