"""notebooks/audit.ipynb: can the tracking be trusted, and what is missing or doubled."""

from mctlib.audit.audit import Audit, audit_events

__all__ = ["Audit", "audit_events"]
