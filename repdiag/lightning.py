"""A Lightning callback that scores the encoder while it trains (extra: lightning)."""
