"""HOW data moves: the steps of a delivery, in the order in which they run."""
