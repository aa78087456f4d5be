"""What the command's exit codes mean (see the help text of `Settings`), and which one a report deserves."""

from loadtest.capacity_report import CapacityReport
from loadtest.checking import WRONG
from loadtest.report import Report

SUCCESS, VIOLATED, BOTTLENECK, NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130


def exit_code(report: Report) -> int:
    """Of a run."""
    if report.ending == "interrupted":
        return INTERRUPTED
    if WRONG in report.requests.errors:
        return VIOLATED
    if report.generator.bottlenecks:
        return BOTTLENECK
    if report.ending == "too many requests":
        return NOT_RUN
    failed = report.ending == "too many errors" or not report.requests.succeeded
    return VIOLATED if failed or not all(verdict.holds for verdict in report.slo) else SUCCESS


def exit_code_of_search(report: CapacityReport) -> int:
    """Of a search for the capacity."""
    match report.conclusion:
        case "found" | "the highest rate that can be sent holds":
            return SUCCESS
        case "the generator is the bottleneck":
            return BOTTLENECK
        case "interrupted":
            return INTERRUPTED
        case _:
            return VIOLATED
