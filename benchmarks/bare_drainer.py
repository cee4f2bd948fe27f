"""The least that anybody could do: wait for one document, settle it, strike it off.

Blocks on a list, moves a document to one of its own, commits the same rows in one
transaction, and removes it in the round trip of the effects. Run as a module it says
`ready` and goes on until it is ended.
"""

from __future__ import annotations

import os

from benchmarks.transaction import Settler

QUEUE = "benchmark:queue"
BUSY = f"benchmark:busy:{os.getpid()}"


def main() -> None:
    settler = Settler(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
    print("ready", flush=True)
    while True:
        raw = settler.redis.blmove(QUEUE, BUSY, 0, src="RIGHT", dest="LEFT")
        if raw is not None:
            settler.settle([raw], ("LREM", BUSY, 1, raw))


if __name__ == "__main__":
    main()
