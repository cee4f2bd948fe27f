"""Reading: look-ups of how fights ended, their texts, and accounts made anew."""
