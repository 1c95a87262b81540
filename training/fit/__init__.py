"""Fits the parts of a bundle to labelled runs: one module for each part, and `bundle`, which assembles them."""
