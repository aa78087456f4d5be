"""The HTTP routes: thin handlers between the schemas and the service. No batching, no error handling here."""

from server.routes.admin import reload
from server.routes.cohere import cohere_embed
from server.routes.embed import embed, embed_all
from server.routes.openai import models, openai_embeddings
from server.routes.operations import health, info, metrics, ready
from server.routes.similarity import similarity
from server.routes.tokens import decode, tokenize

_EMBEDDING = [embed, embed_all, similarity, openai_embeddings, cohere_embed]
_TOKENS = [tokenize, decode]
_OPERATIONS = [info, models, health, ready, metrics, reload]
HANDLERS = [*_EMBEDDING, *_TOKENS, *_OPERATIONS]
