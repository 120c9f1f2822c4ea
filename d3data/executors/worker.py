"""A worker process, `python -m d3data.executors.worker`: does the jobs that it is told.

A job comes as a line of JSON on stdin; lines of JSON on stdout report on it:

    {"progress": {...}}   {"done": true}   {"failed": {"error": ..., "message": ..., "trace": ...}}

The line `stop` has the worker save the job that it does, and end; so do the signals with which
Slurm cancels and preempts. The end of stdin means that the
one who told is gone, for whatever reason, and the worker ends at once.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from typing import Any

from d3data.executors.base import Job, Memory, do
from d3data.executors.processes import STOP
from d3data.utils.process import keep_freed_memory
from d3data.utils.progress import Progress


def main() -> None:
    """Do jobs until stdin ends; what anybody prints goes to stderr."""
    keep_freed_memory()
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    stopping = threading.Event()
    threading.Thread(target=_listen, args=(lines, stopping), daemon=True).start()
    memory: Memory = {}

    def stop(*_: object) -> None:
        stopping.set()
        lines.put(STOP)

    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, stop)

    def send(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    def report(progress: Progress) -> None:
        send(progress=asdict(progress))
        if stopping.is_set():
            raise KeyboardInterrupt

    while (line := lines.get()) != STOP:
        try:
            do(Job.heard(line), report, memory)
        except KeyboardInterrupt:
            break
        except Exception as failure:
            trace = "".join(traceback.format_exception(failure))
            send(failed={"error": type(failure).__name__, "message": str(failure), "trace": trace})
        else:
            send(done=True)


def _listen(lines: "queue.SimpleQueue[bytes]", stopping: threading.Event) -> None:
    """Pass lines of stdin on; at its end, end the process whatever it is doing."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        for line in stdin:
            if line == STOP:
                stopping.set()
            lines.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
