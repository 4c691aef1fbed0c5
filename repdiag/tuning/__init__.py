"""`repdiag finetune`: train a regularizer and its control from one start, score them alike, and say what came of it."""

from repdiag.tuning.api import finetune

__all__ = ["finetune"]
