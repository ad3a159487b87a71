# SPDX-License-Identifier: GPL-2.0-or-later
"""Writers on the nodes of a cluster, started and stopped again and again."""

import signal
import time

from . import writer
from .checks import CheckError

# What must come comes in seconds; a machine that has more to do than it can may take that long.
PROGRESS_SECONDS = 120


class WriterLoad:
    """Writers on nodes, run by run."""

    def __init__(self, mirror, chance, think_ms=0):
        self.mirror = mirror
        self._think_ms = think_ms
        self._chance = chance
        self.devices = {}
        self.commands = {}
        self.runs = {node: [] for node in mirror.cluster.nodes}

    def slice_create(self, node):
        if node not in self.devices:
            self.devices[node] = self.mirror.slice_create(node)

    def start(self, node, seconds=600):
        self.slice_create(node)
        self.runs[node].append(len(self.runs[node]) + 1)
        self.commands[node] = writer.writer_start(
            node, self.devices[node], self.mirror.slice_blocks(), seconds,
            self._chance.randrange(1 << 30), self.runs[node][-1], self._think_ms,
        )  # fmt: skip

    def record(self, node):
        return writer.writer_record(node, *self.runs[node])

    def entries(self, node, since=0.0):
        """What the last run of a node has acknowledged so far, after a time."""
        try:
            entries = writer.writer_record(node, self.runs[node][-1]).entries
        except FileNotFoundError:
            return []
        return [entry for entry in entries if entry[3] > since]

    def count(self, node):
        return writer.record_count(node, *self.runs[node])

    def progress_wait(self, nodes, writes=2 * writer.JOB_COUNT, seconds=PROGRESS_SECONDS):
        """Waits until each of the nodes has written that much more. As a rule: the writes that were under way, and as many
        new ones."""
        wanted = {node: self.count(node) + writes for node in nodes}
        deadline = time.monotonic() + seconds
        while waiting := [node.name for node in nodes if self.count(node) < wanted[node]]:
            self.running_check(nodes)
            if time.monotonic() > deadline:
                raise CheckError(f"writes of {waiting} stand still for {seconds} s")
            time.sleep(0.05)

    def running_check(self, nodes):
        for node in nodes:
            if (status := self.commands[node].status()) is not None:
                raise CheckError(f"{node.name}: writer ended ({status}): {self.commands[node].stderr()}")

    def pause(self, nodes):
        """No new writes; those under way end by themselves."""
        self.running_check(nodes)
        for node in nodes:
            self.commands[node].signal(signal.SIGUSR1)

    def resume(self, nodes):
        for node in nodes:
            self.commands[node].signal(signal.SIGUSR2)

    def stop(self, nodes, seconds=PROGRESS_SECONDS):
        for node in nodes:
            self.commands[node].signal(15)
        for node in nodes:
            self.commands[node].check(seconds)

    def slices_remove(self):
        for node in self.devices:
            self.mirror.slice_remove(node)
        self.devices.clear()

    def dead(self, node):
        """The node was killed: its slice is gone with it."""
        self.devices.pop(node)
