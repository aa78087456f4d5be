"""Bundle → HTTP: dynamic batching, TEI- and OpenAI-compatible routes, metrics. Imports `bundle` only; never loads torch."""
