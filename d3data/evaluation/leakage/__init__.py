"""Leakage: how near a set comes to the real images that it was made from."""
