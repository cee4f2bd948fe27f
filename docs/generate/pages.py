"""The pages of docs/reference: file name -> text."""

from __future__ import annotations

from functools import cache

from docs.generate import codes, http, payload, redis_keys, settings, tables

MODULES = {
    "payload.md": payload,
    "redis-keys.md": redis_keys,
    "tables.md": tables,
    "http.md": http,
    "codes.md": codes,
    "settings.md": settings,
}


@cache
def pages() -> dict[str, str]:
    return {name: module.page() for name, module in MODULES.items()}
