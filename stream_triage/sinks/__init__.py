"""Where verdicts go. Each module carries the name of its system and offers one `Sink` (see `ports`)."""
