"""Training: the loop that plays every game, and the folder that a run is."""
