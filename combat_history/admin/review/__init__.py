"""The pages of what waits for a person."""
