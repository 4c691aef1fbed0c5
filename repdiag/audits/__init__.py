"""`repdiag audit`: which samples a person should look at, and why."""

from __future__ import annotations

from repdiag.audits.audit import audit
from repdiag.audits.types import Audit

__all__ = ["Audit", "audit"]
