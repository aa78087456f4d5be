"""The process that a benchmark starts for a job: `python -m train.benchmark.worker JOB_FILE`; a JSON line as result."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import msgspec

from train.allocator import use_huge_pages
from train.benchmark.jobs import Job


def main(job_file: Path) -> None:
    """Measure, print the list of measurements."""
    job = msgspec.json.decode(job_file.read_bytes(), type=Job)
    # As `python -m train` does, before torch is loaded; a user of the other library has it not.
    if all(contender.program == "disco" for contender in job.contenders):
        use_huge_pages()
    with redirect_stdout(sys.stderr):  # libraries print
        from train.benchmark.contenders import measure

        measured = measure(job)
    print(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
