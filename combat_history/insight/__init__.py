"""Insight into settlement, for people: figures, failures, explanations."""
