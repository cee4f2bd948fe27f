"""Applying a player's queued inventory operations."""
