import numpy as np

from server.errors import UnhealthyError
from server.jobs import Job


def test_a_job_is_done_once_all_rows_are_there_in_whatever_order() -> None:
    calls: list[str] = []
    job = Job(3, deadline=0, on_done=lambda: calls.append("done"))
    job.resolve([2, 0], np.ones(2, dtype=np.float32), queue_seconds=3, inference_seconds=6)
    assert calls == []
    job.resolve([1], np.zeros(2, dtype=np.float32), queue_seconds=0, inference_seconds=3)
    assert calls == ["done"]
    assert np.stack(job.rows).tolist() == [[1, 1], [0, 0], [1, 1]]
    assert (job.queue_seconds, job.inference_seconds) == (2, 5)


def test_only_the_first_failure_counts() -> None:
    calls: list[str] = []
    half = Job(2, deadline=0, on_done=lambda: calls.append("done"))
    half.resolve([1], np.ones(2, dtype=np.float32), queue_seconds=2, inference_seconds=4)
    assert calls == []
    half.fail(UnhealthyError("gone"))
    half.fail(UnhealthyError("again"))
    half.resolve([0], np.zeros(2, dtype=np.float32), queue_seconds=2, inference_seconds=4)
    assert calls == ["done"]
    assert str(half.error) == "gone"
