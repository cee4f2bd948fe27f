"""Savers: the rules by which Redis state becomes rows."""
