import asyncio
import base64
import json
import random
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import msgspec
import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient, TestClient

from bundle.arrays import Vectors, normalize
from bundle.cpu import detect_cpu
from bundle.embedder import Embedder
from bundle.layout import Bundle
from bundle.output_types import OUTPUT_TYPES, OutputType, convert
from server import schemas
from server.app import create_app
from server.engine import Engine
from server.settings import ServerSettings
from tests.conftest import WORDS

Client = TestClient[Litestar]
SECRET = "zanzibar"
"""A word that stands in texts only; no answer to a bad request may contain it."""


@pytest.fixture(scope="module")
def reference(tiny_bundle: Bundle) -> Embedder:
    return Embedder.from_bundle(tiny_bundle)


def embed(client: Client, **fields: Any) -> Vectors:
    response = client.post("/embed", json=fields)
    assert response.status_code == 200, response.text
    return np.array(msgspec.json.decode(response.content, type=schemas.Embeddings), dtype=np.float32)


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_embed_answers_the_encoders_vectors_bit_by_bit(client: Client, reference: Embedder, path: str) -> None:
    response = client.post(path, json={"inputs": "the cat sat", "options": {"unknown": True}})
    vectors = np.array(response.json(), dtype=np.float32)
    assert vectors.shape == (1, 8), "one string, too, is answered by a list of lists"
    assert np.array_equal(vectors, reference.embed(["the cat sat"]))


def test_vectors_do_not_depend_on_concurrency_or_order(settings: ServerSettings, reference: Embedder) -> None:
    rng = random.Random(0)
    requests = [
        [" ".join(rng.choices(WORDS, k=rng.randint(1, 40))) for _ in range(rng.randint(1, 9))] for _ in range(120)
    ]

    async def main() -> list[Any]:
        async with AsyncTestClient(create_app(settings)) as client:
            return await asyncio.gather(*(client.post("/embed", json={"inputs": texts}) for texts in requests))

    for texts, response in zip(requests, asyncio.run(main()), strict=True):
        assert response.status_code == 200
        np.testing.assert_allclose(response.json(), reference.embed(texts), atol=1e-6)


def test_prompt_dimensions_and_normalize(client: Client, reference: Embedder) -> None:
    plain, prompted = reference.embed(["cat"]), reference.embed(["cat"], prompt_name="query")
    assert np.array_equal(embed(client, inputs="cat", prompt_name="query"), prompted)
    assert not np.array_equal(plain, prompted)
    cut = embed(client, inputs="cat", dimensions=3)
    np.testing.assert_allclose(cut, plain[:, :3] / np.linalg.norm(plain[:, :3]), rtol=1e-6)
    assert np.array_equal(embed(client, inputs="cat", dimensions=3, normalize=False), plain[:, :3])
    assert np.array_equal(embed(client, inputs="cat", dimensions=8), plain)


def test_embed_all_answers_what_there_is_before_pooling(client: Client, reference: Embedder) -> None:
    texts = ["the cat sat", "dog", "the cat sat on a mat", "dog"]
    response = client.post("/embed_all", json={"inputs": texts})
    assert response.status_code == 200
    tokens = client.post("/tokenize", json={"inputs": texts}).json()
    assert [len(text) for text in response.json()] == [len(text) for text in tokens]
    means = np.array([np.mean(text, axis=0) for text in response.json()], dtype=np.float32)
    np.testing.assert_allclose(normalize(means), reference.embed(texts), atol=1e-6)
    assert int(response.headers["x-compute-tokens"]) == sum(len(text) for text in tokens)


def test_embed_all_refuses_what_would_make_too_long_an_answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.service.MOST_TOKEN_VECTORS", 10)
    response = client.post("/embed_all", json={"inputs": ["the cat sat"] * 3})
    assert (response.status_code, response.json()["error_type"]) == (422, "Validation")
    assert "at most 10" in response.json()["error"]


def test_embed_all_needs_a_graph_that_gives_tokens(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "encodes_tokens", False)
    response = client.post("/embed_all", json={"inputs": "cat"})
    assert response.status_code == 422
    assert "pooled vectors only" in response.json()["error"]


@pytest.mark.parametrize("output_dtype", OUTPUT_TYPES)
def test_every_output_type_in_every_encoding(
    client: Client, reference: Embedder, tiny_bundle: Bundle, output_dtype: OutputType
) -> None:
    output_range = tiny_bundle.manifest.output_range
    assert output_range is not None
    expected = convert(reference.embed(["the cat", "dog"]), output_dtype, output_range=output_range)
    body = {"inputs": ["the cat", "dog"], "output_dtype": output_dtype}
    assert np.array_equal(np.array(client.post("/embed", json=body).json(), dtype=expected.dtype), expected)
    rows = [base64.b64decode(row) for row in client.post("/embed", json=body | {"encoding_format": "base64"}).json()]
    assert rows == [row.tobytes() for row in expected]
    openai = {"input": body["inputs"], "output_dtype": output_dtype, "encoding_format": "base64"}
    data = client.post("/v1/embeddings", json=openai).json()["data"]
    assert [base64.b64decode(row["embedding"]) for row in data] == rows
    raw = client.post("/embed", json=body, headers={"accept": "application/octet-stream"})
    assert raw.headers["content-type"] == "application/octet-stream"
    shape = tuple(map(int, raw.headers["x-embedding-shape"].split(",")))
    assert np.array_equal(np.frombuffer(raw.content, raw.headers["x-embedding-dtype"]).reshape(shape), expected)
    assert raw.headers["x-compute-tokens"] == "7"
    npy = client.post("/embed", json=body, headers={"accept": "application/x-npy"})
    assert np.array_equal(np.load(BytesIO(npy.content)), expected)


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/json"),
        ("application/json, application/octet-stream;q=0.5", "application/json"),
        ("application/octet-stream;q=0.5, application/json", "application/json"),
        ("application/octet-stream, application/x-npy;q=0.1", "application/octet-stream"),
        ("text/html, application/x-npy", "application/x-npy"),
        ("nonsense", "application/json"),
    ],
)
def test_bytes_are_for_clients_that_prefer_them(client: Client, accept: str, answered: str) -> None:
    response = client.post("/embed", json={"inputs": "the cat"}, headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == answered


@pytest.mark.parametrize("side", ["left", "right", "Left", "Right"])
def test_truncation_direction_in_either_case(client: Client, reference: Embedder, side: str) -> None:
    text = " ".join(["cat"] * 30 + ["dog"] * 30)
    kept = ["dog"] * 30 if side.lower() == "left" else ["cat"] * 30
    vectors = embed(client, inputs=text, truncate=True, truncation_direction=side)
    np.testing.assert_allclose(vectors, reference.embed([" ".join(kept)]), atol=1e-6)


def test_token_ids_are_decoded_and_read_again(client: Client, reference: Embedder) -> None:
    expected = reference.embed(["the cat", "dog"])
    assert np.array_equal(embed(client, inputs=[5, 6]), expected[:1]), "a flat list is one text"
    assert np.array_equal(embed(client, inputs=[[5, 6], "dog"]), expected)


def test_similarity_is_the_cosine(client: Client, reference: Embedder) -> None:
    texts = ["the cat", "the dog", "a house by night", "the cat"]
    variants: list[dict[str, Any]] = [{}, {"parameters": {}}, {"parameters": None}]
    for extra in variants:
        response = client.post(
            "/similarity", json={"inputs": {"source_sentence": texts[0], "sentences": texts[1:]}} | extra
        )
        similarities = msgspec.json.decode(response.content, type=list[float])
        vectors = reference.embed(texts)
        np.testing.assert_allclose(similarities, vectors[1:] @ vectors[0], atol=1e-6)
        assert similarities[2] == pytest.approx(1)


def test_similarity_of_pairs_of_lists_and_the_best(client: Client, reference: Embedder) -> None:
    texts = ["the cat", "the dog", "a house by night", "music"]
    unit = reference.embed(texts)

    def compare(**body: Any) -> Any:
        return client.post("/similarity", json=body).json()

    pairs = compare(inputs={"pairs": [texts[:2], texts[2:]]})
    np.testing.assert_allclose(pairs, [unit[0] @ unit[1], unit[2] @ unit[3]], atol=1e-6)
    lists = {"queries": texts[:1], "documents": texts[1:]}
    matrix = compare(inputs=lists)
    np.testing.assert_allclose(matrix, unit[:1] @ unit[1:].T, atol=1e-6)
    best = int(np.argmax(matrix[0]))
    ((match,),) = compare(inputs=lists, top_k=1)
    assert match == {"index": best, "score": matrix[0][best]}
    source = {"source_sentence": texts[0], "sentences": texts[1:]}
    assert compare(inputs=source, top_k=2)[0] == match
    assert [found["index"] for found in compare(inputs=source, top_k=9)] == list(np.argsort(-np.array(matrix[0])))


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_openai_floats_and_base64_agree(client: Client, reference: Embedder, path: str) -> None:
    expected = reference.embed(["the cat", "dog"])
    for encoding in ("float", "base64"):
        response = client.post(path, json={"input": ["the cat", "dog"], "model": "any", "encoding_format": encoding})
        answer = msgspec.json.decode(response.content, type=schemas.OpenAIResponse)
        assert [row.index for row in answer.data] == [0, 1]
        assert (answer.model, answer.usage.total_tokens) == ("tiny", 7)
        rows = [
            np.frombuffer(base64.b64decode(row.embedding), dtype="<f4")
            if isinstance(row.embedding, str)
            else row.embedding
            for row in answer.data
        ]
        assert np.array_equal(np.array(rows, dtype=np.float32), expected)


def test_cohere_gets_every_type_at_once(client: Client, reference: Embedder, tiny_bundle: Bundle) -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    body = {"model": "any", "texts": ["the cat", "dog"], "embedding_types": types, "input_type": "search_query"}
    answer = msgspec.json.decode(client.post("/v2/embed", json=body).content, type=schemas.CohereResponse)
    expected = reference.embed(["the cat", "dog"], prompt_name="query")
    assert answer.embeddings.floats is not None
    assert np.array_equal(np.array(answer.embeddings.floats, dtype=np.float32), expected)
    assert answer.embeddings.base64 == [base64.b64encode(row.tobytes()).decode() for row in expected]
    output_range = tiny_bundle.manifest.output_range
    assert output_range is not None
    narrow: tuple[OutputType, ...] = ("int8", "uint8", "binary", "ubinary")
    for name in narrow:
        codes = convert(expected, name, output_range=output_range)
        assert getattr(answer.embeddings, name) == codes.tolist()
    assert answer.meta.billed_units.input_tokens == 9

    plain = client.post("/v2/embed", json={"texts": ["dog"], "input_type": "search_document"}).json()
    assert plain["embeddings"].keys() == {"float"}, "and a prompt that the model lacks is left out"
    assert np.array_equal(np.array(plain["embeddings"]["float"], dtype=np.float32), reference.embed(["dog"]))


@pytest.mark.parametrize(("side", "kept"), [("END", "cat"), ("START", "dog")])
def test_cohere_says_which_end_is_cut(client: Client, reference: Embedder, side: str, kept: str) -> None:
    text = " ".join(["cat"] * 30 + ["dog"] * 30)
    answer = client.post("/v2/embed", json={"texts": [text], "truncate": side}).json()
    np.testing.assert_allclose(answer["embeddings"]["float"], reference.embed([" ".join([kept] * 30)]), atol=1e-6)
    refused = client.post("/v2/embed", json={"texts": [text], "truncate": "NONE"})
    assert refused.status_code == 422
    assert refused.json() == {"message": "`inputs` must have at most 32 tokens. Given: 62"}


def test_tokenize_tells_where_tokens_stand(client: Client) -> None:
    response = client.post("/tokenize", json={"inputs": "the Cat", "prompt_name": "query"})
    (tokens,) = msgspec.json.decode(response.content, type=list[list[schemas.TokenBody]])
    assert [(token.text, token.special, token.start, token.stop) for token in tokens] == [
        ("[CLS]", True, None, None),
        ("a", False, 0, 1),
        ("the", False, 2, 5),
        ("Cat", False, 6, 9),
        ("[SEP]", True, None, None),
    ]
    (bare,) = client.post("/tokenize", json={"inputs": ["cat"], "add_special_tokens": False}).json()
    assert [token["id"] for token in bare] == [6]


def test_decode_undoes_tokenize(client: Client) -> None:
    (tokens,) = client.post("/tokenize", json={"inputs": "the cat"}).json()
    ids = [token["id"] for token in tokens]
    assert client.post("/decode", json={"ids": ids}).json() == ["the cat"]
    assert client.post("/decode", json={"ids": [ids, [6]]}).json() == ["the cat", "cat"]
    kept = client.post("/decode", json={"ids": ids, "skip_special_tokens": False}).json()
    assert kept == ["[CLS] the cat [SEP]"]


def test_the_served_model_is_listed(client: Client) -> None:
    answer = msgspec.json.decode(client.get("/v1/models").content, type=schemas.Models)
    assert [(model.id, model.created) for model in answer.data] == [("tiny", 1735689600)]


def test_info_describes_the_bundle(client: Client, tiny_bundle: Bundle) -> None:
    info = msgspec.json.decode(client.get("/info").content, type=schemas.Info)
    assert (info.model_id, info.dimension, info.max_input_length) == ("tiny", 8, 32)
    assert info.bundle_version == tiny_bundle.manifest.version
    assert info.graph == "onnx/model.onnx"
    assert info.choice == f"the first graph that is right on this CPU ({info.cpu})"
    assert info.cpu == detect_cpu()
    assert info.prompts == ["query"]


def test_openvino_serves_the_same_vectors(client: Client, settings: ServerSettings) -> None:
    texts = {"inputs": ["the cat sat", "music at night"]}
    with TestClient(create_app(settings.model_copy(update={"runtime": "openvino"}))) as other:
        info = msgspec.json.decode(other.get("/info").content, type=schemas.Info)
        vectors = np.array(other.post("/embed", json=texts).json())
    assert info.engine.startswith("openvino")
    assert info.choice == "asked for"
    assert np.allclose(vectors, client.post("/embed", json=texts).json(), atol=0.01)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_answer_an_empty_200(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.content) == (200, b"")


def test_timing_headers_are_those_of_tei_and_more(client: Client) -> None:
    headers = client.post("/embed", json={"inputs": ["the cat", "dog"]}).headers
    for name in ("compute-time", "total-time", "tokenization-time", "queue-time", "inference-time"):
        assert headers[f"x-{name}"].isdigit()
    assert (headers["x-compute-characters"], headers["x-compute-tokens"]) == ("10", "7")
    assert headers["x-compute-type"] == "cpu+optimized"
    assert "inference;dur=" in headers["server-timing"]


def test_a_clients_request_id_comes_back_unless_it_could_forge_a_log_line(client: Client) -> None:
    assert client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 50_000):
        yield b"a" * 50_000


BAD_BODIES: list[tuple[str, Any, int, str, str]] = [
    # route, body, status, error_type, what the message says
    ("/embed", b'{"inputs": ""}', 400, "Empty", "cannot be empty"),
    ("/embed", b'{"inputs": []}', 400, "Empty", "cannot be empty"),
    ("/embed", b'{"inputs": [[]]}', 400, "Empty", "cannot be empty"),
    ("/embed", json.dumps({"inputs": [SECRET, ""]}), 400, "Empty", "cannot be empty"),
    ("/similarity", json.dumps({"inputs": {"source_sentence": SECRET, "sentences": []}}), 400, "Empty", "sentences"),
    ("/tokenize", b'{"inputs": []}', 400, "Empty", "cannot be empty"),
    ("/decode", b'{"ids": []}', 400, "Empty", "`ids` cannot be empty"),
    ("/decode", b'{"ids": [[5], []]}', 400, "Empty", "`ids` cannot be empty"),
    ("/decode", b'{"ids": [-1]}', 422, "Validation", "outside the vocabulary"),
    ("/decode", b'{"ids": [[5], 5]}', 422, "Validation", "token ids stand beside"),
    ("/embed", b"", 400, "Validation", "body is empty"),
    ("/embed", b"not json zanzibar", 400, "Validation", "not valid JSON"),
    ("/embed", b'{"inputs": "zanzibar', 400, "Validation", "not valid JSON"),
    ("/embed", b'{"inputs": "zanzibar\xff"}', 400, "Validation", "not UTF-8"),
    ("/embed", b"[]", 422, "Validation", "Expected `object`"),
    ("/embed", b"{}", 422, "Validation", "required field `inputs`"),
    ("/embed", b'{"inputs": 5}', 422, "Validation", "$.inputs"),
    ("/embed", b'{"inputs": [1.5]}', 422, "Validation", "$.inputs[0]"),
    ("/embed", b'{"inputs": [true]}', 422, "Validation", "$.inputs[0]"),
    ("/embed", json.dumps({"inputs": [1, SECRET]}), 422, "Validation", "token ids stand beside texts"),
    ("/embed", b'{"inputs": [99999999999999999999999]}', 422, "Validation", "outside the vocabulary"),
    ("/embed", b'{"inputs": [-1]}', 422, "Validation", "outside the vocabulary"),
    ("/embed", b'{"inputs": "a", "normalize": "yes"}', 422, "Validation", "$.normalize"),
    ("/embed", b'{"inputs": "a", "truncation_direction": "up"}', 422, "Validation", "truncation_direction"),
    ("/embed", b'{"inputs": "a", "dimensions": 0}', 422, "Validation", "should be positive"),
    ("/embed", b'{"inputs": "a", "dimensions": 9}', 422, "Validation", "maximum embedding dimension"),
    ("/embed", b'{"inputs": "a", "output_dtype": "int4"}', 422, "Validation", "$.output_dtype"),
    ("/embed", b'{"inputs": "a", "output_dtype": "int8", "normalize": false}', 422, "Validation", "set `normalize`"),
    ("/embed", json.dumps({"inputs": SECRET, "prompt_name": "nope"}), 422, "Validation", "This model's prompts: query"),
    ("/embed", b'{"inputs": "zanzibar\\ud800"}', 422, "Validation", "lone surrogate"),
    ("/embed", b'{"inputs": "\\udc00 zanzibar"}', 422, "Validation", "lone surrogate"),
    ("/embed", b'{"inputs": "a", "deep": ' + b"[" * 50_000 + b"}", 422, "Validation", "nested too deeply"),
    (
        "/embed",
        json.dumps({"inputs": ["cat"] * 65}),
        422,
        "Validation",
        "batch size 65 > maximum allowed batch size 64",
    ),
    ("/embed", json.dumps({"inputs": SECRET * 12_000, "truncate": False}), 422, "Validation", "characters"),
    ("/embed", json.dumps({"inputs": "cat " * 40, "truncate": False}), 422, "Validation", "at most 32 tokens"),
    ("/similarity", b'{"inputs": "cat"}', 422, "Validation", "$.inputs"),
    ("/similarity", b'{"inputs": {}}', 422, "Validation", "Given: none of them"),
    ("/similarity", b'{"inputs": {"sentences": ["zanzibar"]}}', 422, "Validation", "Given: `sentences`"),
    ("/similarity", b'{"inputs": {"pairs": [["a", "b"]], "queries": ["c"]}}', 422, "Validation", "`pairs`, `queries`"),
    ("/similarity", b'{"inputs": {"pairs": [["a"]]}}', 422, "Validation", "$.inputs.pairs[0]"),
    ("/similarity", b'{"inputs": {"pairs": [["a", "b"]]}, "top_k": 1}', 422, "Validation", "leave it out"),
    ("/similarity", b'{"inputs": {"queries": ["a"], "documents": []}}', 400, "Empty", "`inputs.documents`"),
    ("/similarity", b'{"inputs": {"pairs": []}}', 400, "Empty", "`inputs.pairs`"),
    (
        "/similarity",
        b'{"inputs": {"queries": ["a"], "documents": ["b"]}, "top_k": 0}',
        422,
        "Validation",
        "should be positive. Given: 0",
    ),
    ("/embed", b"a" * 300_000, 413, "PayloadTooLarge", "payload limit"),
    ("/embed", chunks(300_000), 413, "PayloadTooLarge", "payload limit"),
]


@pytest.mark.parametrize(("path", "body", "status", "error_type", "message"), BAD_BODIES)
def test_bad_input_is_answered_as_documented_and_the_server_goes_on(
    client: Client, path: str, body: Any, status: int, error_type: str, message: str
) -> None:
    response = client.post(path, content=body, headers={"content-type": "application/json"})
    answer = msgspec.json.decode(response.content, type=schemas.ErrorBody)
    assert (response.status_code, answer.error_type) == (status, error_type)
    assert message in answer.error
    assert SECRET not in response.text
    assert client.post("/embed", json={"inputs": "cat"}).status_code == 200


@pytest.mark.parametrize("path", ["/embed", "/similarity", "/v1/embeddings"])
@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({"x-request-timeout-ms": "20000", "x-request-priority": "Bulk"}, {}, 200),
        ({}, {"timeout_ms": 20_000, "priority": "bulk"}, 200),
        ({"x-request-timeout-ms": "0.000001"}, {}, 504),
        ({"x-request-timeout-ms": "0.000001"}, {"timeout_ms": 20_000}, 200),
        ({"x-request-timeout-ms": "soon"}, {}, 422),
        ({"x-request-timeout-ms": "nan"}, {}, 422),
        ({}, {"timeout_ms": 5e-324}, 504),
        ({"x-request-priority": "urgent"}, {}, 422),
        ({"x-request-priority": "urgent"}, {"priority": "bulk"}, 422),
        ({}, {"timeout_ms": 0}, 422),
        ({}, {"priority": "urgent"}, 422),
    ],
)
def test_every_embedding_route_takes_deadline_and_priority(
    client: Client, path: str, headers: dict[str, str], fields: dict[str, Any], status: int
) -> None:
    unseen = f"{path} {headers} {fields}"  # not in the cache
    bodies: dict[str, dict[str, Any]] = {
        "/embed": {"inputs": unseen},
        "/similarity": {"inputs": {"source_sentence": unseen, "sentences": ["cat"]}},
        "/v1/embeddings": {"input": unseen},
    }
    assert client.post(path, json=bodies[path] | fields, headers=headers).status_code == status


def test_openai_errors_have_openais_shape(client: Client) -> None:
    response = client.post("/v1/embeddings", json={"input": ["cat"] * 65})
    error = msgspec.json.decode(response.content, type=schemas.OpenAIErrorBody).error
    assert response.status_code == 422
    assert (error.type, error.param, error.code) == ("invalid_request_error", None, "validation")
    assert "65 > maximum" in error.message


def test_a_100_000_character_text_is_truncated(client: Client) -> None:
    assert embed(client, inputs="cat " * 25_000).shape == (1, 8)


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/nowhere", 404), ("GET", "/embed", 405)])
def test_unknown_routes_and_methods_are_told_in_json(client: Client, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert "/docs" in msgspec.json.decode(response.content, type=schemas.ErrorBody).error


def test_another_content_type_is_refused(client: Client) -> None:
    response = client.post("/embed", content=b'{"inputs": "cat"}', headers={"content-type": "text/plain"})
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]


def test_openapi_documents_the_structs_and_every_status(client: Client) -> None:
    document = client.get("/openapi.json").json()
    embed_route = document["paths"]["/embed"]["post"]
    assert set(embed_route["responses"]) == {
        "200",
        "400",
        "401",
        "404",
        "408",
        "413",
        "415",
        "422",
        "424",
        "429",
        "503",
        "504",
    }
    reference = embed_route["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.endswith("EmbedRequest")
    assert embed_route["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorBody")
    for path in ("/", "/similarity", "/v1/embeddings", "/tokenize", "/info", "/health", "/ready", "/metrics"):
        assert path in document["paths"]


def test_the_docs_page_needs_no_other_site(client: Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "POST /embed" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
