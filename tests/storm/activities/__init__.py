"""What the engine of the storm does, a thread for each."""
