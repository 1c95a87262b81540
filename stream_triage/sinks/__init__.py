"""Where verdicts go. Each module has the name of its target and contains one sink; `ports` defines what a sink does."""
