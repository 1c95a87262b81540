"""Labelled runs in, the parts of a bundle out: one module per part, and `bundle` which assembles them."""
