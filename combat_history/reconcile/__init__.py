"""Prove from the tables that `processed` means applied exactly once."""

from __future__ import annotations

from combat_history.reconcile.report import Finding, Report, Result
from combat_history.reconcile.run import reconcile

__all__ = ["Finding", "Report", "Result", "reconcile"]
