import subprocess
import sys

# Allocates and frees the same large buffer, and tells how often the kernel had to give out a page for it.
_PROGRAM = """
import resource
{prepare}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(64 << 20)
before = faults()
for _ in range(20):
    bytearray(64 << 20)
print(faults() - before)
"""


def faults(prepare: str) -> int:
    program = _PROGRAM.format(prepare=prepare)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def test_freed_memory_is_used_again_without_asking_the_kernel() -> None:
    kept = faults("from train.allocator import keep_freed_memory; keep_freed_memory()")
    assert kept < faults("") / 10
