"""Django's PostgreSQL backend for a process with many short-lived threads."""

from __future__ import annotations
