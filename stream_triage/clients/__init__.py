"""Connections to Kafka, OpenSearch, SQLite and HTTP servers. Each module is the only importer of its client library."""
