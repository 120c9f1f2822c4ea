"""A worker process of an evaluation: trains a share of its networks, for the cache of trials.

Its arguments are its number, how many workers there are, and the set, the task and the options as
JSON. Lines of JSON on stdout say how far it is. What fails here fails in the evaluation too, which
says so.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict

from d3data.errors import D3DataError
from d3data.evaluation.planner import EvaluationOptions, plan
from d3data.evaluation.protocols import Protocol
from d3data.utils.progress import Progress


def _end_with_parent() -> None:
    """End this process when its stdin ends, which its parent holds."""
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Train the share; SIGINT ends it after a step, when its trial is saved."""
    number, count, (data, task, values) = (json.loads(word) for word in sys.argv[1:])
    out, stopped = os.fdopen(os.dup(1), "w", encoding="utf-8"), threading.Event()
    os.dup2(2, 1)  # what anybody else prints
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def report(progress: Progress) -> None:
        print(json.dumps(asdict(progress)), file=out, flush=True)
        if stopped.is_set():
            raise KeyboardInterrupt

    if isinstance(values["protocol"], dict):
        values["protocol"] = Protocol.parse(values["protocol"], where="the protocol")
    try:
        plan(data, task, EvaluationOptions(**values)).train(number, count, progress=report)
    except (KeyboardInterrupt, D3DataError):
        sys.exit(1)


if __name__ == "__main__":
    main()
