"""WHAT a dataset must be: contracts, and the engine that judges lines by them."""
