"""`python -m settlement_project.web`: the web server within its bounds.

Takes uvicorn's options, which come after these and win: `--host 0.0.0.0 --port 8000`.
"""

from __future__ import annotations

import sys

from uvicorn.main import main

APPLICATION = "settlement_project.asgi:application"

BOUNDS = (
    *("--http", "settlement_project.connections:BoundedConnection"),
    # More connections than this are answered 503 at once.
    *("--limit-concurrency", "500"),
    *("--h11-max-incomplete-event-size", "16384"),
    *("--timeout-keep-alive", "5"),
    *("--backlog", "512"),
)

if __name__ == "__main__":
    main([*BOUNDS, APPLICATION, *sys.argv[1:]])
