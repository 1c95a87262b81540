"""The long-running side: messages of Kafka topics in, final verdicts out, with nothing lost when a worker is killed."""
