"""The pages of players, their inventory and the item catalogue."""
