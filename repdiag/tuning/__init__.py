"""`repdiag finetune`: train a regularizer and its control from one start, score them alike, and say what came of it."""

from __future__ import annotations
