"""Static files under ASGI, as uvicorn serves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from django.test import AsyncClient
from pytest_django import Settings

STYLE = "p { color: inherit }"
URL = "/static/style.css"


def test_a_file_is_a_whole_answer(settings: Settings, tmp_path: Path) -> None:
    """Django's ASGI handler would warn of one that is streamed from an open file."""
    (tmp_path / "style.css").write_text(STYLE, encoding="utf-8")
    settings.STATIC_ROOT = tmp_path

    @async_to_sync
    async def ask() -> tuple[Any, Any, Any]:
        client = AsyncClient()
        found = await client.get(URL)
        since = {"if-modified-since": found["Last-Modified"]}
        return found, await client.head(URL), await client.get(URL, headers=since)

    found, head, unchanged = ask()

    assert not found.streaming
    assert found.content.decode() == STYLE
    assert found["Content-Type"] == 'text/css; charset="utf-8"'
    assert head.status_code == 200
    assert (head["Content-Length"], head.content) == (str(len(STYLE)), b"")
    assert (unchanged.status_code, unchanged.content) == (304, b"")
