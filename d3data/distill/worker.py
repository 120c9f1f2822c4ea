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
from typing import Any

from d3data.distill.executors import throttled
from d3data.distill.jobs import AnyJob, loader, perform


def main() -> None:
    """Do jobs until stdin ends; what anybody prints goes to stderr."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    load = loader()

    def send(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    while True:
        job = AnyJob.validate_json(lines.get())
        try:
            perform(job, throttled(lambda progress: send(progress=asdict(progress))), load)
        except Exception as failure:
            trace = "".join(traceback.format_exception(failure))
            send(failed={"error": type(failure).__name__, "message": str(failure), "trace": trace})
        else:
            send(done=True)


def _listen(lines: "queue.Queue[bytes]") -> None:
    """Pass lines of stdin on; at its end, end the process whatever it is doing."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        for line in stdin:
            lines.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
