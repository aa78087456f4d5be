"""The HTTP routes: thin handlers between the schemas and the service. No batching, no error handling here."""

from server.routes.cohere import cohere_embed
from server.routes.embed import embed
from server.routes.openai import models, openai_embeddings
from server.routes.operations import health, info, metrics, ready
from server.routes.similarity import similarity
from server.routes.tokens import decode, tokenize

HANDLERS = [embed, similarity, openai_embeddings, models, cohere_embed, tokenize, decode, info, health, ready, metrics]
