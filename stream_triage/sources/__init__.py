"""Where chunks come from. Each module carries the name of its system and offers one `Source` (see `ports`)."""
