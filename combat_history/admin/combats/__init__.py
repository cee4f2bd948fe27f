"""The pages of combats."""
