"""Write-behind half of the game: from Redis, where a fight ends, to PostgreSQL.

`contract`, `engine` and `dispatcher` are the engine's side, `bot` is the bot's: they
import without Django. `tasks` and all other packages are the worker's side.
"""
