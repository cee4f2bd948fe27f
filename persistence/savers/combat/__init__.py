"""Settling a batch of combats: receipt, lock, load, plan, write."""
