"""Model folders in Hugging Face's layout: config.json, weights beside it, preprocessor_config.json.

The weights are read by `repdiag.checkpoints`, never by transformers; transformers (extra `hf`) builds the
network from the config and knows how its tensors were named in earlier versions. Code that comes with a folder
is never run. transformers is imported only when such a folder is opened.
"""

from repdiag.encoders.huggingface.load import is_saved, load, load_saved

__all__ = ["is_saved", "load", "load_saved"]
