"""Pages as people read them."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

_APART = frozenset({"br", "dd", "div", "dt", "h2", "h3", "li", "p", "td", "th"})
_UNREAD = frozenset({"script", "style", "title", "desc"})


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._unread += tag in _UNREAD
        if tag in _APART:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._unread -= tag in _UNREAD

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(data)


def text_of(page: str) -> str:
    """Without markup; runs of white space are single spaces."""
    reader = _Text()
    reader.feed(page)
    return re.sub(r"\s+", " ", unescape("".join(reader.parts)))
