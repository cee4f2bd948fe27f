"""Actions of people: each with a permission, a reason and an audit entry."""

from __future__ import annotations
