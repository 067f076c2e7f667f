"""Files, processes, errors and random choices: what every other package may use."""
