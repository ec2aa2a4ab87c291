"""A table's processes as tasks of a Ray cluster. Ray chooses the machine, and starts a task anew on another one, up to
:data:`RETRIES` times, when its machine or worker is lost; the run resumes from its last save.

Code, --save_dir, --data_dir and --out must be under the same path on every machine. Ray is optional: pip install -r
requirements-ray.txt.
"""
from __future__ import annotations

import logging
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from helper.errors import UserError, in_short

from .launch import ROOT, work

RETRIES = 3


class RayExecutor:
    """Starts processes as Ray's tasks, see :class:`.jobs.Local`. All jobs are submitted at once; Ray starts them as
    there is room.

    address: of a cluster ('auto' finds one on this machine); None starts one here. gpus, cpus: what a process takes,
    fractions allowed; gpus None: one where the cluster has any. shared: folders that every machine must see.
    """

    full = False

    def __init__(self, address: str | None, gpus: float | None, cpus: float, shared: list[Path]):
        for name, amount in (("gpus", gpus), ("cpus", cpus)):
            if amount and (amount != round(amount, 4) or (amount > 1 and not amount.is_integer())):
                raise UserError(f"--{name}_per_run {amount}: Ray takes whole numbers, and fractions below 1 of at most "
                                "four decimals, as 0.25")
        self.ray = connect(address)
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if gpus is None:
            gpus = float(any(machine.get("GPU") for machine in machines))
        self.room = sum(room_on(machine, gpus, cpus) for machine in machines)
        if not self.room:
            have = sorted({f"{machine.get('GPU', 0):g} GPU, {machine.get('CPU', 0):g} CPU" for machine in machines})
            raise UserError(f"--gpus_per_run {gpus:g} --cpus_per_run {cpus:g}: no machine of the Ray cluster has so "
                            f"much (they have {'; '.join(have)}); give less")
        print(f"==> Ray: {len(machines)} machines, room for {self.room} runs of {gpus:g} GPU, {cpus:g} CPU", flush=True)
        self.shared = [str(folder.resolve()) for folder in shared]
        self.task = self.ray.remote(num_gpus=gpus, num_cpus=cpus, max_retries=RETRIES)(work)

    def start(self, argv: list[str], log: Path) -> RayProcess:
        return RayProcess(self.ray, self.task.remote(argv, str(log.resolve()), os.getcwd(), self.shared), log)


def room_on(machine: dict[str, float], gpus: float, cpus: float) -> int:
    """How many processes a machine takes at once. One process runs on one machine, whatever all have together."""
    needs = {"GPU": gpus, "CPU": cpus}
    return min(int(machine.get(name, 0) / amount + 1e-9) for name, amount in needs.items() if amount)


class RayProcess:
    """A task, with the methods of subprocess.Popen that :mod:`.jobs` uses."""

    def __init__(self, ray: Any, task: Any, log: Path):
        self.ray, self.task, self.log = ray, task, log
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._look(timeout) is None:
            raise subprocess.TimeoutExpired(str(self.log), timeout)
        return self.returncode

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and self.ray.wait([self.task], timeout=timeout)[0]:
            try:
                self.returncode, problem = self.ray.get(self.task)
            except self.ray.exceptions.RayError as error:  # cancelled before it began, or lost too often
                self.returncode, problem = 1, in_short(error)
            if problem:
                with self.log.open("a") as log:
                    print(problem, file=log)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        self.ray.cancel(self.task)

    def kill(self) -> None:
        self.ray.cancel(self.task, force=True)


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
        check_reachable(address)
    try:
        ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
                 logging_level=logging.ERROR, ignore_reinit_error=True,
                 runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(f"--address {address or 'local'}: no Ray cluster there ({in_short(error)}); "
                        "start one with ray start --head; both sides need the same RAY_AUTH_MODE and token") from None
    return ray


def check_reachable(address: str) -> None:
    """Raises UserError where nothing listens; Ray itself would retry for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address}: not HOST:PORT; give auto, or what ray start --head prints")
    try:
        socket.create_connection((host.split("//")[-1], int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--address {address}: no Ray cluster there ({error}); give auto, or HOST:PORT of the head as "
                        "ray start --head prints it") from None
