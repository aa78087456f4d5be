import json
from itertools import islice
from pathlib import Path

import pytest
import zstandard
from pydantic import ValidationError

from train.builtin import docstring_pairs, docstring_texts
from train.data import Pair, read_pairs, read_source, read_texts
from train.errors import DataError
from train.sources import Pairs, Texts


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(zstandard.compress(content) if path.suffix == ".zst" else content)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.zst"])
def test_lines_are_texts(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "one é\r\n\n  two  \nthree\x85still three".encode())
    assert list(read_texts(Texts(path=name), tmp_path)) == ["one é", "two", "three\x85still three"]


def test_json_lines_give_the_chosen_field(tmp_path: Path) -> None:
    rows = [{"title": f"t{i}", "text": f"x{i}"} for i in range(3)]
    write(tmp_path / "a.jsonl.zst", "\n".join(map(json.dumps, rows)).encode())
    assert list(read_texts(Texts(path="a.jsonl.zst", field="title"), tmp_path)) == ["t0", "t1", "t2"]


def test_the_limit_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"1\n2\n3\n")
    assert list(read_texts(Texts(path="a.txt", limit=2), tmp_path)) == ["1", "2"]


def test_edited_copies_follow_the_texts_of_either_kind_of_source(tmp_path: Path) -> None:
    rows = [("A dog is in the garden.", "A small pet plays."), ("Two men are singing.", "Some people perform.")]
    texts = [text for row in rows for text in row]
    write(tmp_path / "a.txt", "\n".join(texts).encode())
    write(tmp_path / "a.tsv", ("anchor\tpositive\n" + "\n".join(map("\t".join, rows))).encode())
    lines = Texts(path="a.txt", edits=3, limit=3)
    pairs = Pairs(path="a.tsv", columns=("anchor", "positive"), edits=3, limit=2)
    produced = list(read_source(lines, tmp_path))
    assert [text for text in produced if text in texts] == texts[:3]
    assert 3 < len(produced) <= 12
    assert list(read_source(pairs, tmp_path))[: len(produced)] == produced
    assert list(read_texts(lines, tmp_path)) == texts[:3]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", b"fine\n" * 40_000 + b"\xff\xfe\n" + b"fine\n" * 40_000, "line 40001: not UTF-8"),
        ("a.txt", b"\n\n", "nothing to train on"),
        ("a.jsonl", b'{"text": "x"}\n{"other": "x"}\n', "line 2: no JSON object with a field 'text'"),
        ("a.jsonl", b"[1]\n", "line 1: no JSON object"),
        ("a.jsonl", b'{"text": 3}\n', "line 1: field 'text' is not text"),
        ("a.jsonl", rb'{"text": "\ud83d\ude00"}' + b"\n" + rb'{"text": "\ud800"}', "line 2: field 'text' is not valid"),
        ("a.jsonl", b"[" * 100_000, "line 1: no JSON object"),
    ],
)
def test_bad_text_files_are_named(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=complaint) as caught:
        list(read_texts(Texts(path=name), tmp_path))
    assert str(path.name) in str(caught.value)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"under the data folder {tmp_path}"):
        list(read_texts(Texts(path="no.txt"), tmp_path))
    with pytest.raises(DataError, match="DISCO_DATA is not set"):
        list(read_texts(Texts(path="no.txt"), None))


def test_pairs_take_their_columns_by_name_and_filter_by_source(tmp_path: Path) -> None:
    write(tmp_path / "p.tsv", b'source\tanchor\tpositive\tnegative\ns1\ta "1\tb\tc\ns2\td\te\tf\n')
    assert list(read_pairs(Pairs(path="p.tsv"), tmp_path)) == [Pair('a "1', "b", "c"), Pair("d", "e", "f")]
    assert list(read_pairs(Pairs(path="p.tsv", sources=("s2",)), tmp_path)) == [Pair("d", "e", "f")]


def test_pairs_without_a_negative_and_without_a_header(tmp_path: Path) -> None:
    write(tmp_path / "p.tsv.zst", b"q1\ta1\nq2\ta2\n")
    source = Pairs(path="p.tsv.zst", columns=("anchor", "positive"), header=False)
    assert list(read_pairs(source, tmp_path)) == [Pair("q1", "a1"), Pair("q2", "a2")]


def test_pairs_come_from_json_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    rows = [{"title": f"title {n}", "text": f"text {n}", "source": "ab"[n % 2], "lead": True} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    source = Pairs(path=str(path), columns=("title", "text"), sources=("b",))
    assert list(read_pairs(source, None)) == [Pair("title 1", "text 1"), Pair("title 3", "text 3")]
    broken = Pairs(path=str(path), columns=("title", "lead"))
    with pytest.raises(DataError, match=r"passages.jsonl, line 1: field 'lead' is not text"):
        list(read_pairs(broken, None))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"anchor\tpositive\nx\ty\n", "no column 'negative'"),
        (b"anchor\tpositive\tnegative\nx\ty\n", "line 2: 2 columns, expected 3"),
        (b"anchor\tpositive\tnegative\n", "nothing to train on"),
        (b"anchor\tpositive\tnegative\nx\ty\tz\nx\t \tz\n", "line 3: column 'positive' is empty"),
        (b"anchor\tpositive\tnegative\nx\ty\t\xff\n", "line 2: not UTF-8"),
    ],
)
def test_bad_pair_files_are_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    write(tmp_path / "p.tsv", content)
    with pytest.raises(DataError, match=complaint):
        list(read_pairs(Pairs(path="p.tsv"), tmp_path))


def test_an_empty_text_of_a_json_pair_is_named(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", b'{"a": "x", "b": "y"}\n{"a": "x", "b": ""}\n')
    with pytest.raises(DataError, match="line 2: column 'b' is empty"):
        list(read_pairs(Pairs(path="p.jsonl", columns=("a", "b")), tmp_path))


def test_rows_of_other_sources_may_be_empty(tmp_path: Path) -> None:
    write(tmp_path / "p.tsv", b"source\ta\tb\nother\t\t\nthis\tx\ty\n")
    assert list(read_pairs(Pairs(path="p.tsv", columns=("a", "b"), sources=("this",)), tmp_path)) == [Pair("x", "y")]


def test_nothing_but_tabs_and_newlines_parts_a_table(tmp_path: Path) -> None:
    long = "word " * 40_000
    write(tmp_path / "p.tsv", f'a\tb\n"x\ry\t{long}\n'.encode())
    assert list(read_pairs(Pairs(path="p.tsv", columns=("a", "b")), tmp_path)) == [Pair('"x\ry', long)]


@pytest.mark.parametrize("columns", [("anchor",), ("a", "b", "c", "d")])
def test_a_pair_has_two_texts_or_three(columns: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="columns"):
        Pairs(path="p.tsv", columns=columns)


def test_a_folder_is_the_text_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "more").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    write(folder / "b.txt", b"three\n")
    write(folder / "a.txt.zst", b"one\ntwo")
    write(folder / "more" / "c.jsonl", b'{"text": "four"}\n')
    for name in (".hidden/d.txt", ".e.txt", "notes.md"):
        write(folder / name, b"never\n")
    assert list(read_texts(Texts(path="folder"), tmp_path)) == ["one", "two", "three", "four"]
    assert list(read_texts(Texts(path="folder", limit=3), tmp_path)) == ["one", "two", "three"]
    write(folder / "more" / "c.jsonl", b'{"title": "four"}\n')
    with pytest.raises(DataError, match=r"more/c\.jsonl, line 1: no JSON object with a field 'text'"):
        list(read_texts(Texts(path="folder"), tmp_path))


def test_a_folder_without_text_and_one_of_pairs_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty is a folder without a \.txt or \.jsonl file"):
        list(read_texts(Texts(path="empty"), tmp_path))
    with pytest.raises(DataError, match="empty is a folder; pairs come from one file"):
        list(read_pairs(Pairs(path="empty"), tmp_path))


@pytest.fixture
def hub_dataset(tmp_path: Path) -> str:
    """A data set as `datasets` finds it on a hub, in a folder."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    rows = [{"text": f"text {n}", "anchor": f"a{n}", "positive": f"p{n}", "source": f"s{n % 2}"} for n in range(4)]
    write(folder / "train.jsonl", "\n".join(map(json.dumps, rows)).encode())
    return f"hub:{folder}"


def test_hub_data_sets_are_streamed_by_column(hub_dataset: str) -> None:
    assert list(read_texts(Texts(path=hub_dataset, limit=2), None)) == ["text 0", "text 1"]
    pairs = Pairs(path=hub_dataset, columns=("anchor", "positive"), sources=("s1",))
    assert list(read_pairs(pairs, None)) == [Pair("a1", "p1"), Pair("a3", "p3")]


def test_a_hub_data_set_without_the_column_is_named(hub_dataset: str) -> None:
    with pytest.raises(DataError, match="row 1: no text column 'sentence' among"):
        list(read_texts(Texts(path=hub_dataset, field="sentence"), None))


def test_a_hub_data_set_that_cannot_be_opened_is_named(hub_dataset: str) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        list(read_texts(Texts(path=hub_dataset, split="validation"), None))
    with pytest.raises(DataError, match="cannot be opened"):
        list(read_texts(Texts(path="hub:/no/such/folder"), None))


def test_a_hub_data_set_may_have_configurations(hub_dataset: str) -> None:
    folder = Path(hub_dataset.removeprefix("hub:"))
    for name in ("first", "second"):
        write(folder / f"{name}.jsonl", json.dumps({"text": name, "a": name, "b": name}).encode())
    (folder / "train.jsonl").unlink()
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("first", "second"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert list(read_texts(Texts(path=hub_dataset, config="second"), None)) == ["second"]
    assert list(read_pairs(Pairs(path=hub_dataset, columns=("a", "b"), config="first"), None)) == [
        Pair("first", "first")
    ]
    with pytest.raises(DataError, match="config 'third', split 'train': cannot be opened"):
        list(read_texts(Texts(path=hub_dataset, config="third"), None))


def test_docstrings_make_a_corpus_of_prose() -> None:
    texts = list(islice(docstring_texts(), 300))
    assert len(set(texts)) == 300
    assert all(5 <= len(text.split()) <= 64 and text[0].isupper() and "`" not in text for text in texts)


def test_docstrings_make_weak_pairs() -> None:
    pairs = list(islice(docstring_pairs(), 30))
    assert len({summary for summary, _ in pairs}) == 30
    assert all(summary != body for summary, body in pairs)
