"""Training in rounds, from files and online, each round from the last model on."""
