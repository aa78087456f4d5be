"""What a comparison needs before anything is started: environments, the models' forms, right vectors to check with."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadtest.peers.answers import Vectors
from loadtest.peers.environments import install
from loadtest.peers.errors import AbsentError, PreparationError
from loadtest.peers.settings import Settings
from loadtest.peers.systems import INT8_FILE, SENTENCE_TRANSFORMERS, Places, Reference

_PACKAGE = "package:"


def prepare(settings: Settings) -> Places:
    """Make the environment that prepares the others' models, and those models.

    Raises:
        PreparationError: it cannot be made; without it there is no reference.
    """
    workspace = settings.workspace.absolute()
    places = Places(
        teacher=workspace / "models" / "teacher",
        bundle=settings.bundle.absolute(),
        student=settings.student.absolute(),
        requirements=settings.requirements.absolute(),
        environments=workspace,
    )
    for bundle in (places.bundle, places.student):
        if not (bundle / "manifest.json").is_file():
            raise PreparationError(f"{bundle} is not a bundle; make one with `python -m export`")
    source = _find_model(settings.teacher)
    try:
        prepare_environment(SENTENCE_TRANSFORMERS, places)
    except AbsentError as error:
        raise PreparationError(f"no environment to compute the reference in: {error}") from error
    if not places.teacher.is_dir():
        places.teacher.parent.mkdir(parents=True, exist_ok=True)
        _run(places, "prepare.py", str(source), str(places.teacher), INT8_FILE)
    return places


def prepare_environment(name: str, places: Places) -> None:
    """Make the environment of that name, unless it is there.

    Raises:
        AbsentError: it cannot be made.
    """
    install(places.requirements / f"{name}.txt", places.environments / name)


def reference_vectors(places: Places, texts: Sequence[str]) -> dict[Reference, Vectors]:
    """What torch makes of `texts` with the teacher, and plain ONNX Runtime with the student, which has no weights here.

    Raises:
        PreparationError: it cannot be computed.
    """
    (student_graph,) = (places.student / "onnx").glob("*.onnx")
    arguments: dict[Reference, list[str]] = {
        "teacher": [str(places.teacher)],
        "student": [str(places.student), f"onnx/{student_graph.name}"],
    }
    question = json.dumps(texts)
    return {
        name: np.array(json.loads(_run(places, "reference.py", *words, question=question)), dtype=np.float32)
        for name, words in arguments.items()
    }


def _find_model(name: str) -> Path:
    package, _, folder = name.removeprefix(_PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if name.startswith(_PACKAGE) else None
    path = Path(found.origin).parent / folder if found and found.origin else Path(name).absolute()
    if not (path / "modules.json").is_file():
        raise PreparationError(f"--teacher: {name} is not a folder of sentence-transformers")
    return path


def _run(places: Places, script: str, *arguments: str, question: str = "") -> str:
    print(f"{script} {' '.join(arguments)}", file=sys.stderr)
    command: list[str | Path] = [places.python(SENTENCE_TRANSFORMERS), places.requirements / script, *arguments]
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PreparationError(f"{script} fails: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return done.stdout
