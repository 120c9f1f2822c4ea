"""A real Slurm of one node, from the packages of the system, which ends with its block."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import tiny_runs as runs

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=5
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=60 State=UP
"""


def missing() -> str:
    """What is not installed of it."""
    return ", ".join(name for name in NEEDED if not shutil.which(name))


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Path]:
    """Yields the path of slurm.conf, for SLURM_CONF."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    ports = dict(zip(("controller", "node"), _free_ports(2), strict=True))
    conf.write_text(CONF.format(folder=folder, host=host, **ports))
    files = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    named = [f"--{key}={folder / name}" for key, name in files.items()]
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", *named]
    commands = [
        [*munge, f"--seed-file={folder / 'munge.seed'}"],
        ["slurmctld", "-D", "-c", "-f", str(conf)],
        ["slurmd", "-D", "-c", "-f", str(conf)],
    ]
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    log = (folder / "out.log").open("wb")
    begun = []
    try:
        for command in commands:
            begun.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        runs.until(lambda: _idle(environment), seconds=120)
        yield conf
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()
        log.close()


def _idle(environment: dict[str, str]) -> bool:
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True
    )
    return asked.stdout.strip() == "idle"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
