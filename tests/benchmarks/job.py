"""A job in a process of its own: `python -m tests.benchmarks.job MODULE.FUNCTION ARGUMENT...`.

It gets ready, then does the work once a line it reads.
"""

import json
import os
import resource
import sys
import time
from importlib import import_module


def main(job: str, *arguments: str) -> None:
    """Write a line of JSON a run: seconds, cpu_seconds (with subprocesses), peak_gb, answer.

    peak_gb is that of the largest process, getting ready included.
    """

    def usage():
        return [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]

    def cpu():
        return sum(u.ru_utime + u.ru_stime for u in usage())

    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is not an answer
    module, function = job.split(".")
    work = getattr(import_module(f"tests.benchmarks.{module}"), function)(*arguments)
    for _ in sys.stdin:
        begin, cpu_begin = time.perf_counter(), cpu()
        found = {
            "answer": work(),
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": cpu() - cpu_begin,
        }
        found["peak_gb"] = max(u.ru_maxrss for u in usage()) / (
            2**30 if sys.platform == "darwin" else 2**20
        )
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
