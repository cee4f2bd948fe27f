"""A progress bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

PLAIN_LINE_SECONDS = 2


class Progress:
    """Shows how many combats are handed over and how many are settled."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
        self._last = ""
        self._bar = (
            tqdm(total=total, desc="Settled", unit=" combats", file=stream)
            if stream.isatty()
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, submitted: int, settled: int) -> None:
        if self._bar is not None:
            self._bar.n = settled
            self._bar.set_postfix_str(f"submitted {submitted}")
            return
        line = f"Submitted {submitted}/{self._total}, settled {settled}"
        is_news = line != self._last
        is_due = time.monotonic() >= self._next_line or settled == self._total
        if is_news and is_due:
            self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
            self._last = line
            self._stream.write(f"{line}\n")
            self._stream.flush()
