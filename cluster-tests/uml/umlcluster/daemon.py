# SPDX-License-Identifier: GPL-2.0-or-later
"""mirrorlogd on a node of the cluster."""

import json
import signal
import time

from .cluster import PROGRAMS
from .guest import BUILD
from .node import CommandError
from .sandbox import SetupError

RUN_DIR = "/run/mirrorlogd"
POLL_SECONDS = 0.05


class Daemon:
    """The daemon of one node, over restarts."""

    def __init__(self, node, cluster_kind="corosync", fencing="assume", options=()):
        self.node = node
        self.program = PROGRAMS[0]
        self._options = [f"--cluster={cluster_kind}", f"--fencing={fencing}", *options]
        self._command = None
        self._logs = []

    def start(self):
        argv = [f"{BUILD}/{self.program}", "-D", f"--run-dir={RUN_DIR}", f"--pidfile={RUN_DIR}.pid", *self._options]
        # What a sanitizer finds ends up in the log; leaks at the end of a killed process say nothing.
        env = {"ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        self._command = self.node.start(*argv, env=env)
        self._logs.append(self._command)

    def status(self, seconds=60):
        """`mirrorlogctl status --json`, parsed; None while the daemon does not answer."""
        command = self.node.start(f"{BUILD}/mirrorlogctl", f"--run-dir={RUN_DIR}", "status", "--json")
        if command.wait(seconds) != 0:
            return None
        return json.loads(command.stdout())

    def log_status(self, uuid):
        """The part of the status that speaks of one log; None when the daemon does not know it."""
        status = self.status()
        return next((log for log in (status or {}).get("logs", []) if log["uuid"] == uuid), None)

    def ready_wait(self, seconds=90):
        """Waits until the daemon knows the state of the cluster."""
        deadline = time.monotonic() + seconds
        status = None
        while not (status and status["ready"]):
            if (code := self._command.status()) is not None:
                raise SetupError(f"{self.node.name}: mirrorlogd ended ({code}): {self.log()[-1500:]}")
            if time.monotonic() > deadline:
                raise SetupError(f"{self.node.name}: mirrorlogd is not ready: {status}; {self.log()[-1500:]}")
            time.sleep(POLL_SECONDS)
            status = self.status()

    def kill(self):
        """SIGKILL, as the out-of-memory killer or a bug would."""
        self._command.signal(signal.SIGKILL)
        self._command.wait(60)

    def signal(self, signum):
        self._command.signal(signum)

    def stop(self, seconds=60):
        """SIGTERM; returns the exit status."""
        self._command.signal(signal.SIGTERM)
        return self._command.wait(seconds)

    def running(self):
        return self._command is not None and self._command.status() is None

    def log(self):
        """All it has said, over all starts."""
        return "".join(command.stderr() for command in self._logs)

    def faults(self):
        """What its log holds that must never be there: sanitizer reports and failed assertions."""
        words = ("Sanitizer", "runtime error", "Assertion", "assertion failed")
        return [line for line in self.log().splitlines() if any(word in line for word in words)]


def ghosts_wait(daemon, mirror, seconds):
    """Waits until the dead node's regions are repaired; returns how many are left."""
    deadline = time.monotonic() + seconds
    while True:
        log = daemon.log_status(mirror.uuid)
        left = log["ghost_regions"] + log["unsynced_regions"] if log else -1
        if left == 0 or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def daemons_start(cluster, nodes=None, **arguments):
    """Starts a daemon on each node, waits until all are ready, returns them by node."""
    daemons = {node: Daemon(node, **arguments) for node in nodes or cluster.nodes}
    for daemon in daemons.values():
        daemon.start()
    for daemon in daemons.values():
        daemon.ready_wait()
    return daemons


def stop_quietly(daemon):
    """Stops a daemon whose end does not matter; for cleaning up."""
    try:
        daemon.stop()
    except CommandError:
        pass
