"""A message broker and an OpenSearch server in memory, for tests and notebooks: same interface, no network, no threads."""
