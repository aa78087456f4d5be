"""What stands in for tiles on CPUs without any does as Intel's manual says, whatever form an instruction has."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "native" / "src"
COMPILER = shutil.which("g++")
CPU = Path("/proc/cpuinfo")

# The trap is built for such machines alone (`make native-tiles`); where there are tiles nothing is illegal.
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ builds the program that is run"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="tile instructions are x86's"),
    pytest.mark.skipif(CPU.is_file() and "amx_tile" in CPU.read_text(), reason="this CPU has tiles of its own"),
]

REFUSED = 42


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("trap") / "tile_trap"
    files = [HERE / "tile_trap.cpp", SOURCES / "tile_trap.cpp"]
    subprocess.run([str(COMPILER), "-std=c++20", "-O1", f"-I{SOURCES}", *files, "-o", program], check=True)
    return program


@pytest.mark.parametrize(
    "case",
    [
        "loads by every form of address",
        "configures by base and index",
        "a new configuration clears",
        "multiplies bytes",
        "adds first and second halves apart",
    ],
)
def test_done_as_the_manual_says(program: Path, case: str) -> None:
    assert subprocess.run([program, case], check=False).returncode == 0


@pytest.mark.parametrize(
    "case",
    [
        "ud2",
        "tilezero before ldtilecfg",
        "tilezero after tilerelease",
        "tilezero of a tile without rows",
        "rows of no whole numbers",
        "too many rows",
        "shapes that do not fit",
        "one tile twice",
    ],
)
def test_what_would_fault_goes_to_the_earlier_handler(program: Path, case: str) -> None:
    assert subprocess.run([program, case], check=False).returncode == REFUSED
