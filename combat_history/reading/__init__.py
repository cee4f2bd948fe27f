"""What players, bots and engines are told of combats."""
