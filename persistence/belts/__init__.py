"""Belts: what a live combat may use of its fighters' inventories."""
