"""How a worker reads messages, none of which may end it."""
