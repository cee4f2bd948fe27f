"""A progress bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

PLAIN_LINE_SECONDS = 2


class Progress:
    """Shows how many combats are handed over, how many are settled, and how many deeds
    of adventurers are done."""

    def __init__(self, total: int, deeds: int, stream: TextIO) -> None:
        self._total = total
        self._deeds = deeds
        self._stream = stream
        self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
        self._last = ""
        self._all_settled = False
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

    def show(self, submitted: int, settled: int, deeds: int) -> None:
        if self._bar is not None:
            self._bar.n = settled
            self._bar.set_postfix_str(
                f"submitted {submitted}, deeds {deeds}/{self._deeds}"
            )
            return
        line = (
            f"Submitted {submitted}/{self._total}, settled {settled}, "
            f"deeds {deeds}/{self._deeds}"
        )
        is_news = line != self._last
        just_settled = settled == self._total and not self._all_settled
        is_due = time.monotonic() >= self._next_line or just_settled
        self._all_settled = settled == self._total
        if is_news and is_due:
            self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
            self._last = line
            self._stream.write(f"{line}\n")
            self._stream.flush()
