"""Bundle → HTTP: dynamic batching, TEI- and OpenAI-compatible routes, metrics. Never loads torch."""
