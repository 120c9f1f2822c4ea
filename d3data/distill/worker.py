"""A worker process, `python -m d3data.distill.worker`: does the jobs that its driver sends.

A job comes as a line of JSON on stdin; lines of JSON on stdout report on it:

    {"progress": {...}}   {"done": true}   {"failed": {"error": ..., "message": ..., "trace": ...}}

The end of stdin means that the driver is gone, for whatever reason, and the worker ends at once.
"""

import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import asdict
from typing import Any, TextIO


def main() -> None:
    """Do jobs until stdin ends."""
    out = _private_stdout()
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()

    from d3data.distill.jobs import AnyJob, loader, perform  # takes seconds: after the listener
    from d3data.distill.progress import JobProgress, throttled

    def send(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    def report(progress: JobProgress) -> None:
        send({"progress": asdict(progress)})

    load = loader()
    while True:
        job = AnyJob.validate_json(lines.get())
        try:
            perform(job, throttled(report), load)
        except Exception as failure:
            trace = "".join(traceback.format_exception(failure))
            error = {"error": type(failure).__name__, "message": str(failure), "trace": trace}
            send({"failed": error})
        else:
            send({"done": True})


def _listen(lines: "queue.Queue[bytes]") -> None:
    """Pass lines of stdin on; at its end, end the process whatever it is doing."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        for line in stdin:
            lines.put(line)
    os._exit(1)


def _private_stdout() -> TextIO:
    """A file for our messages; whatever anybody prints goes to stderr from now on."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    main()
