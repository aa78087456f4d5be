"""Two real processes on this machine (gloo over loopback) against one: the same losses, gradients and students."""

import copy
import datetime as dt
import functools
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from tests.train.conftest import sentences, write_recipe
from train import distributed
from train.checkpoint import StageState, save_state
from train.config import Recipe, Student
from train.corpus import TextMixture, TokenizedPairs, TokenizedTexts, VectorMixture
from train.distributed import average_gradients, copy_from_first, in_shares, on_first, process_group, rank, world_size
from train.errors import DataError, LaunchError
from train.loop import Objective
from train.objectives import DistilObjective, FinetuneObjective
from train.schedules import Distil, Finetune, Objectives
from train.stages import train
from train.student import make_student, set_dropout

EVERYTHING = dict.fromkeys(Objectives.model_fields, 1.0)
CASES: dict[str, dict[str, float]] = {"everything": EVERYTHING} | {name: {name: 1.0} for name in EVERYTHING}
BATCHES = {"uneven": np.array([3, 9, 4, 1, 11, 7, 5]), "even": np.arange(8), "one text": np.array([6])}
RANKS = 2

Outcome = dict[str, Any]


def test_alone_nothing_is_shared_or_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # some clusters set it for everyone; it takes a launcher to mean it
    seen = []

    def compute(rows: np.ndarray) -> Tensor:
        seen.append(rows)
        return torch.rand(len(rows))

    with process_group():
        rows = np.arange(3)
        state = torch.get_rng_state()
        result = in_shares(compute, rows)
        torch.set_rng_state(state)
        assert (rank(), world_size()) == (0, 1)
        assert seen[0] is rows
        assert torch.equal(result, torch.rand(3))
        assert on_first(lambda: 5) == 5
    with pytest.raises(LaunchError, match="a file system that all of them share"):
        distributed.make_shared(lambda: tmp_path / "nowhere")


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", [*CASES, "pairs"])
def test_loss_and_gradients_are_those_of_one_process(
    together: list[Outcome], alone: Outcome, case: str, batch: str
) -> None:
    expected = alone[f"{case}, {batch}"]
    for outcome in together:
        found = outcome[f"{case}, {batch}"]
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5, abs=1e-6)
        assert found["terms"] == pytest.approx(expected["terms"], rel=1e-5, abs=1e-6)
        assert found["gradients"].keys() == expected["gradients"].keys()
        for name, gradient in expected["gradients"].items():
            torch.testing.assert_close(found["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(found["queue"], expected["queue"])


def test_what_is_compared_depends_on_everything_that_learns(alone: Outcome) -> None:
    gradients = alone["everything, uneven"]["gradients"]
    for name in ("projection.weight", "log_temperature", "online_teacher.up"):
        assert gradients[name].abs().max() > 1e-4
    assert sum(name.startswith("student.") and bool(gradient.any()) for name, gradient in gradients.items()) > 10


def test_all_ranks_end_a_step_with_the_same_bits(together: list[Outcome]) -> None:
    first, second = (outcome["everything, uneven"] for outcome in together)
    assert first["loss"] == second["loss"]
    assert all(torch.equal(gradient, second["gradients"][name]) for name, gradient in first["gradients"].items())


def test_dropout_differs_between_ranks_and_leaves_later_draws_alike(together: list[Outcome]) -> None:
    first, second = (outcome["dropout"] for outcome in together)
    assert torch.equal(first["vectors"], second["vectors"])
    assert not torch.allclose(first["vectors"][0], first["vectors"][1])  # the same text, one on each rank
    assert not torch.allclose(first["vectors"], first["again"])
    assert first["draw"] == second["draw"]


def test_weights_begin_as_those_of_the_first_rank(together: list[Outcome]) -> None:
    assert [outcome["drawn"] for outcome in together] == [[0.0], [0.0]]


def test_what_only_the_first_rank_does_is_known_to_all(together: list[Outcome]) -> None:
    assert [outcome["told"] for outcome in together] == ["by rank 0", "by rank 0"]
    assert [outcome["refused"] for outcome in together] == ["no such file", "no such file"]


def test_a_rank_that_falls_silent_does_not_hold_the_others_for_ever(together: list[Outcome]) -> None:
    assert "imed out" in together[0]["silence"]


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_make_the_student_of_one(
    launcher: str, make_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(
        student={"init": "random", "hidden_layers": 1, "hidden_size": 48, "attention_heads": 4},
        distil={
            "examples": 800,
            "evaluations": 3,
            "learning_rate": 3e-3,
            "objectives": {"ckd": 1, "cosine": 10, "triplet_order": 1},
        },
        finetune={"distil_weight": 1.0, "examples": 32, "evaluations": 1, "learning_rate": 3e-4},
    )
    write_recipe(recipe, tmp_path / "recipe.toml")
    torch.manual_seed(recipe.seed)
    untrained = make_student(recipe.student, Path(recipe.teacher.model), tmp_path / "untrained")
    train(recipe, tmp_path / "alone", data=None, resume=False)
    command = [*LAUNCHERS[launcher](), "train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "together")]
    if launcher == "accelerate":  # one of the two goes on with what a single process began
        _interrupted(recipe, tmp_path / "together", monkeypatch)
        command.append("--resume")
    else:  # and one also reads and encodes everything itself
        monkeypatch.setenv("DISCO_CACHE", str(tmp_path / "other-cache"))
    done = subprocess.run(command, env=_environment(), check=True, text=True, capture_output=True)

    assert done.stdout.count("student: ") == 1
    assert done.stderr.count("finetuning on 40 pairs") == 1
    one, two = (encode(SentenceTransformer(str(tmp_path / name))) for name in ("alone", "together"))
    assert np.allclose(one, two, atol=1e-3)
    assert np.abs(one - encode(untrained)).max() > 0.1
    for name in ("loss", "score"):
        figures = [[entry.get(name, 0.0) for entry in history(tmp_path / run)] for run in ("alone", "together")]
        assert figures[0] == pytest.approx(figures[1], rel=1e-3)
    assert not (tmp_path / "together.run").exists()


LAUNCHERS: dict[str, Callable[[], list[str]]] = {
    "torchrun": lambda: [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS)),
        *("--master-addr", "127.0.0.1", "--master-port", str(_free_port()), "-m"),
    ],
    "accelerate": lambda: [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(RANKS)),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_port", str(_free_port()), "-m"),
    ],
}


def encode(student: SentenceTransformer) -> np.ndarray:
    return np.asarray(student.encode(sentences(20, seed=9)))


def history(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "training.json").read_text())["history"]
    return entries


@pytest.fixture(scope="module")
def alone(tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcomes(tiny_teacher, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("together")
    ports = (_free_port(), _free_port())
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=member, args=(number, ports, tiny_teacher, folder)) for number in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f"{number}.pt") for number in range(RANKS)]


def member(number: int, ports: tuple[int, int], teacher: Path, folder: Path) -> None:
    """One of the processes."""
    os.environ |= _environment() | {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(RANKS)}
    torch.set_num_threads(1)
    with joined(ports[0]):
        outcome = outcomes(teacher, folder / f"scratch-{number}")
        outcome["dropout"] = _dropout(teacher, folder / f"scratch-{number}")
        drawn = nn.Linear(1, 1, bias=False)
        nn.init.constant_(drawn.weight, number)
        copy_from_first(drawn)
        outcome["drawn"] = drawn.weight.flatten().tolist()
        outcome["told"] = on_first(lambda: f"by rank {rank()}")
        try:
            on_first(_refuse)
        except DataError as error:
            outcome["refused"] = str(error)
    distributed._STEP_TIMEOUT = dt.timedelta(seconds=2)
    with joined(ports[1]):
        if number == 0:
            try:
                in_shares(lambda rows: torch.zeros(len(rows)), np.arange(4))
            except RuntimeError as error:
                outcome["silence"] = str(error)
        torch.save(outcome, folder / f"{number}.pt")
        while not (folder / "0.pt").exists():
            time.sleep(0.05)
        os._exit(0)  # a group that has timed out cannot be left in good order


@contextmanager
def joined(port: int) -> Iterator[None]:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with process_group():
        yield


def outcomes(teacher: Path, scratch: Path) -> Outcome:
    """Every case's loss and gradients after one step of which only the queue is kept."""
    found = {}
    for name, rows in BATCHES.items():
        for case, weights in CASES.items():
            found[f"{case}, {name}"] = _step(_distil_objective(teacher, scratch, weights), rows)
        found[f"pairs, {name}"] = _step(_finetune_objective(teacher, scratch), rows)
    return found


def _step(objective: Objective, rows: np.ndarray) -> Outcome:
    torch.manual_seed(7)
    objective.loss(np.arange(5))
    objective.after_step()
    loss = objective.loss(rows)
    loss.backward()
    average_gradients(objective)
    return {
        "loss": loss.item(),
        "terms": {name: term.item() for name, term in objective.terms.items()},
        "gradients": {name: p.grad for name, p in objective.named_parameters() if p.grad is not None},
        "queue": objective.queue.vectors if isinstance(objective, DistilObjective) else torch.zeros(0),
    }


def _distil_objective(teacher: Path, scratch: Path, weights: dict[str, float]) -> DistilObjective:
    config = Distil.model_validate(
        {
            "examples": 1,
            "texts": [{"path": "x"}],
            "objectives": weights,
            "queue_size": 9,
            "learn_temperature": True,
            "skd_candidates": 3,
            "skd_rank": 2,
        }
    )
    texts, vectors = _corpus()
    student, projection = _student(teacher, scratch)
    objective = DistilObjective(student, projection, config, TextMixture([texts]), vectors, np.arange(len(texts)))
    if "okd" in weights:
        nn.init.normal_(objective.online_teacher.up, std=0.1)
    return objective


def _finetune_objective(teacher: Path, scratch: Path) -> FinetuneObjective:
    config = Finetune.model_validate({"examples": 1, "pairs": [{"path": "x"}], "distil_weight": 2.0})
    texts, vectors = _corpus()
    rest = TokenizedTexts(texts.ids, texts.offsets[:19])
    return FinetuneObjective(*_student(teacher, scratch), config, TokenizedPairs([rest, texts], [3, 2]), vectors)


def _corpus() -> tuple[TokenizedTexts, VectorMixture]:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 12, size=24)
    texts = TokenizedTexts(random.integers(4, 40, lengths.sum(), dtype=np.int32), np.cumsum([0, *lengths]))
    vectors = random.standard_normal((48, 32))
    return texts, VectorMixture([(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)])


def _student(teacher: Path, scratch: Path) -> tuple[SentenceTransformer, nn.Module]:
    return copy.deepcopy(_made_once(teacher, scratch))


@functools.cache
def _made_once(teacher: Path, scratch: Path) -> tuple[SentenceTransformer, nn.Module]:
    torch.manual_seed(0)
    small = Student(init="random", hidden_layers=1, hidden_size=16, attention_heads=2)
    return make_student(small, teacher, scratch), nn.Linear(16, 32)


def _dropout(teacher: Path, scratch: Path) -> Outcome:
    student, _ = _student(teacher, scratch)
    set_dropout(student, 0.5)
    student.train()
    torch.manual_seed(1)
    ids = torch.tensor([5, 6, 7, 8])

    def embed(rows: np.ndarray) -> Tensor:
        features = {"input_ids": ids.expand(len(rows), -1), "attention_mask": torch.ones(len(rows), 4).long()}
        vectors: Tensor = student(features)["sentence_embedding"].detach()
        return vectors

    vectors = in_shares(embed, np.array([0, 0]))
    draw = torch.rand(()).item()
    return {"vectors": vectors, "again": in_shares(embed, np.array([0, 0])), "draw": draw}


def _refuse() -> None:
    raise DataError("no such file")


def _interrupted(recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave behind what a single process that died in the middle of distilling would."""
    with monkeypatch.context() as patched:
        patched.setattr("train.loop.save_state", _save_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out, data=None, resume=False)


def _save_and_die(state: StageState, path: Path) -> None:
    save_state(state, path)
    raise KeyboardInterrupt


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
