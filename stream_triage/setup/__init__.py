"""What servers need before a worker begins: made and changed by `stream-triage setup`, and nothing twice."""
