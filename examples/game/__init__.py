"""A small game, whole, written from docs/engine.md, bot.md and the HTTP page alone."""
