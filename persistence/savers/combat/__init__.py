"""Settling a batch of combats: look up, lock, load, plan, write."""
