"""Encoders against one another on the same images: paired differences, their intervals, and what they say."""

from __future__ import annotations
