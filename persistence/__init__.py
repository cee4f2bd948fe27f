"""Write-behind half of the game: from Redis, where a fight ends, to PostgreSQL.

`payload`, `ids`, `errors`, `redis_keys`, `handoff` and `dispatcher` are the engine's
side: they import without Django. `tasks` and `savers` are the worker's side.
"""
