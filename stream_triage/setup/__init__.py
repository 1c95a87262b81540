"""What servers need before a worker starts: created and updated by `stream-triage setup`."""
