"""The static student: one learned vector per token; a text is the mean of its tokens' vectors. Knows no loss.

It starts as Model2Vec does, from the teacher's vector of every token alone, weighed down where the token is frequent.
The finished student is sentence-transformers' own `StaticEmbedding`, which reads no special tokens, so none are ever
fed to it: its tokenizer has no template, and its `max_length` counts tokens of text.
"""

from typing import Any

import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from torch import Tensor

from train.corpus import TextMixture
from train.errors import ModelError

_BATCH = 512  # tokens a forward pass of the teacher

# a of a / (a + p): tokens as rare as this are halved (Arora et al. 2017, "A simple but tough-to-beat baseline").
_RARE = 1e-3


def make_token_table(teacher: SentenceTransformer, max_length: int) -> StaticEmbedding:
    """The teacher's unit vectors of its tokens, each read alone between the special tokens of a text.

    Raises:
        ModelError: the teacher's tokenizer is a slow one.
    """
    if not getattr(teacher.tokenizer, "is_fast", False):
        raise ModelError("the teacher's tokenizer has no fast version (tokenizer.json); convert it first")
    tokenizer = Tokenizer.from_str(teacher.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vectors = _vectors_of_tokens(teacher, tokenizer)
    tokenizer.post_processor = None
    tokenizer.enable_truncation(max_length)
    return StaticEmbedding(tokenizer, embedding_weights=vectors)


def weigh_tokens(student: SentenceTransformer, texts: TextMixture) -> None:
    """Subtract the mean row of the tokens that occur in `texts`, then scale each row by a / (a + its token's share).

    Shares are counted, not read from the order of the vocabulary as Model2Vec does: a WordPiece vocabulary begins with
    a thousand single characters, which would pass for the most frequent tokens.
    """
    table: Any = student[0]
    weights = table.embedding.weight.data
    counts = torch.from_numpy(texts.count_tokens(len(weights))).to(weights.device)
    share = (counts / counts.sum()).to(weights.dtype)
    weights -= weights[counts > 0].mean(dim=0)
    weights *= (_RARE / (_RARE + share)).unsqueeze(-1)


def bag_features(input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
    """Padded ids and mask, int64[n, length] each, as `StaticEmbedding` reads them: flat ids and each text's start."""
    mask = attention_mask.bool()
    ends = mask.sum(dim=1).cumsum(dim=0)
    return {"input_ids": input_ids[mask], "offsets": torch.cat([ends.new_zeros(1), ends[:-1]])}


@torch.no_grad()
def _vectors_of_tokens(teacher: SentenceTransformer, tokenizer: Tokenizer) -> Tensor:
    """float32[vocabulary, dim], on the CPU."""
    before, after = _template(tokenizer)
    vocabulary = torch.arange(tokenizer.get_vocab_size(with_added_tokens=True))
    vectors = []
    for tokens in vocabulary.split(_BATCH):
        texts = [[*before, token, *after] for token in tokens.tolist()]
        input_ids = torch.tensor(texts, device=teacher.device)
        features = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        vectors.append(teacher(features)["sentence_embedding"].float().cpu())
    return F.normalize(torch.cat(vectors), dim=-1)


def _template(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    encoding = tokenizer.encode("a")
    special = encoding.special_tokens_mask
    start, stop = special.index(0), len(special) - special[::-1].index(0)
    return encoding.ids[:start], encoding.ids[stop:]
