"""Small pictures on the page, as data URIs, with a limit to what they weigh."""

from __future__ import annotations

import base64
from collections.abc import Mapping

MAX_BYTES = 600_000  # JPEG bytes of one large gallery; base64 makes a third more of them


class Album:
    """Pictures by sample id. When they would weigh more than `limit` together, the later ones are not shown.

    A picture that is asked for twice counts twice, for it is written twice.
    """

    def __init__(self, thumbnails: Mapping[str, bytes], limit: int = MAX_BYTES) -> None:
        self._thumbnails, self._left = thumbnails, limit
        self.refused = 0

    def uri(self, identity: str) -> str | None:
        """The picture as a data URI; None where there is none, or no room."""
        jpeg = self._thumbnails.get(identity)
        if jpeg is None:
            return None
        if len(jpeg) > self._left:
            self.refused += 1
            return None
        self._left -= len(jpeg)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
