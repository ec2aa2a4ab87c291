"""A table's runs on a Ray cluster: a run goes where there is room, and goes on elsewhere when its machine is lost.

What every machine must see under the same path: this code, --save_dir, --data_dir and --out. Ray is optional:
pip install -r requirements-ray.txt.
"""
from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from helper.errors import UserError, in_short

from .jobs import Child, Pool, Process
from .launch import ROOT
from .worker import Worker

RETRIES = 3  # lost machines that a run survives
LOST = 256  # status of a run whose machine was lost; no process ends with it


class RayPool(Pool):
    """A :class:`Pool` whose runs are started on a Ray cluster, as many at once as it has room for.

    address: of a cluster ('auto' finds one that runs on this machine); None starts one here. gpus, cpus: what a run
    takes, fractions allowed; gpus None: one where the cluster has any. shared: folders that every machine must see.
    """

    def __init__(self, address: str | None, gpus: float | None, cpus: float, logs: Path, shared: list[Path]):
        super().__init__(1, [], logs)
        self.ray = connect(address)
        self.nodes = 0
        total = self.ray.cluster_resources()
        gpus = (1.0 if total.get("GPU") else 0.0) if gpus is None else gpus
        self.needs = {name: amount for name, amount in (("GPU", gpus), ("CPU", cpus)) if amount}
        self._check_machines()
        self.seen = Seen(shared)
        self.lost: dict[int, int] = {}

    def _alive(self) -> list[dict[str, float]]:
        """The resources of each machine of the cluster."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _room(self, machine: dict[str, float]) -> int:
        """How many runs a machine takes at once."""
        return min(int(machine.get(name, 0) / amount + 1e-9) for name, amount in self.needs.items())

    def _check_machines(self) -> None:
        """A run is on one machine, whatever all have together. Raises UserError where it fits none of today's."""
        machines = self._alive()
        if any(map(self._room, machines)):
            return
        flags = " ".join(f"--{name.lower()}s_per_run {amount:g}" for name, amount in self.needs.items())
        have = "; ".join(sorted({", ".join(f"{machine.get(name, 0):g} {name}" for name in self.needs)
                                 for machine in machines}))
        raise UserError(f"{flags}: no machine of the Ray cluster has so much (they have {have}); ask for less")

    def _start_what_can(self) -> None:
        """Machines join and leave: what there is room for is asked anew each time."""
        nodes = self._alive()
        room = sum(map(self._room, nodes))
        highest = max([room, *(child.slot + 1 for child in self.children)])
        self.slots = [""] * highest
        if len(nodes) != self.nodes:
            self.nodes = len(nodes)
            print(f"==> Ray: {len(nodes)} machines, room for {room} runs of "
                  + ", ".join(f"{amount:g} {name}" for name, amount in self.needs.items()), flush=True)
        super()._start_what_can()

    def _spawn(self, argv: list[str], path: Path, slot: int) -> Process:
        worker = self.ray.remote(Worker).options(num_gpus=self.needs.get("GPU", 0), num_cpus=self.needs.get("CPU", 0),
                                                 max_concurrency=2, max_restarts=0).remote()
        return RayProcess(self.ray, worker, argv, path, self.seen)

    def _tries_again(self, child: Child) -> bool:
        if child.process.returncode != LOST:
            return super()._tries_again(child)
        tries = self.lost[id(child.run)] = self.lost.get(id(child.run), 0) + 1
        if tries > RETRIES:
            print(f"==> machine lost{child.process.place}: {child.run.label}, for the last time", flush=True)
            return False
        self.waiting.insert(0, child.run)
        print(f"==> machine lost{child.process.place}: {child.run.label} goes on from its last save elsewhere "
              f"({tries} of {RETRIES} times)", flush=True)
        return True

    @property
    def room(self) -> int:
        return sum(map(self._room, self._alive()))

    def close(self) -> None:
        self.seen.remove()
        self.ray.shutdown()


def connect(address: str | None) -> Any:
    """The ray module, connected; UserError, one line, where there is no Ray or no cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # runs without a GPU keep what they see
    try:
        import ray
    except ImportError:
        raise UserError('--executor ray: Ray is not installed; pip install -r requirements-ray.txt, or leave '
                        "--executor out") from None
    if address not in (None, "auto"):
        reachable(address)
    try:
        ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
                 logging_level=logging.ERROR, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(f"--address {address or 'local'}: no Ray cluster there ({in_short(error)}); "
                        "start one with ray start --head; both sides need the same RAY_AUTH_MODE and token") from None
    return ray


def reachable(address: str) -> None:
    """Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address}: not HOST:PORT; give auto, or what ray start --head prints")
    try:
        socket.create_connection((host.split("//")[-1], int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--address {address}: no Ray cluster there ({error}); give auto, or HOST:PORT of the head as "
                        "ray start --head prints it") from None


class Seen:
    """Marks in the folders that every machine must see, so that one that doesn't is told from one that is empty."""

    def __init__(self, folders: list[Path]):
        self.marks = []
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            mark = folder.resolve() / f".seen-{uuid.uuid4().hex}"
            mark.touch()
            self.marks.append(mark)

    def remove(self) -> None:
        for mark in self.marks:
            mark.unlink(missing_ok=True)


class RayProcess:
    """A :class:`Worker`'s command, asked as subprocess.Popen is."""

    def __init__(self, ray: Any, worker: Any, argv: list[str], path: Path, seen: Seen):
        self.ray, self.worker, self.log = ray, worker, path
        self.returncode: int | None = None
        self.host = worker.place.remote()
        self.done = worker.run.remote(argv, str(path.resolve()), os.getcwd(), list(map(str, seen.marks)),
                                      {"PYTHONUNBUFFERED": "1"})
        self.place = ""

    def poll(self) -> int | None:
        self._look(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(str(self.log), timeout)
            self._look(1.0 if left is None else min(left, 1.0))
        return self.returncode

    def _look(self, timeout: float) -> None:
        errors = self.ray.exceptions
        try:
            if not self.place and self.ray.wait([self.host], timeout=0)[0]:
                self.place = f" on {self.ray.get(self.host)}"
            if self.returncode is None and self.ray.wait([self.done], timeout=timeout)[0]:
                self.returncode, said = self.ray.get(self.done)
                if said:
                    with self.log.open("a") as log:
                        print(said, file=log)
                self.ray.kill(self.worker)  # gives its room back at once
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError):
            self.returncode = LOST

    def send_signal(self, signum: int) -> None:
        self.worker.signal.remote(signum)

    def kill(self) -> None:
        self.ray.kill(self.worker)
        self.returncode = LOST
