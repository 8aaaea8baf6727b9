"""The loop that plays every game, the folder that a run is, and the watch over it."""
