"""The engine's side: how it reaches Redis, and what it asks there. Needs no Django."""
