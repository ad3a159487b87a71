# SPDX-License-Identifier: GPL-2.0-or-later
"""How long I/O stands still after each kind of failure: kernels with their real 15 s, daemons as built."""

import datetime
import pathlib
import re
import signal
import struct
import time

from netnscluster.cluster import poll
from netnscluster.lab import MIRROR
from stalls import Stalls

ENDLESS_SECONDS = 3600
PATIENCE_SECONDS = 90
# What is seen of I/O before the fault, and after it goes on.
BEFORE_SECONDS = 1.0
AFTER_SECONDS = 2.5
LOAD_PER_SECOND = 200


def clock():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def writes_of(lab, node_id, since):
    """When each write of a node was complete (CLOCK_BOOTTIME)."""
    lab.kernels[node_id].info(MIRROR)
    data = (lab.work_dir / f"{MIRROR}.n{node_id}.writes").read_bytes()
    data = data[:len(data) // 8 * 8]
    return [ns / 1e9 for (ns,) in struct.iter_unpack("=Q", data) if ns / 1e9 >= since]


def members_told(lab, node_id, count, since):
    """When corosync of this node said that it has so many members, after `since`."""
    offset = time.time() - clock()
    year = datetime.date.today().year
    text = (lab.work_dir / f"n{node_id}-corosync.log").read_text(errors="replace")
    for line in re.finditer(r"^(\w{3} \d\d \d\d:\d\d:\d\d\.\d+) .*\[QUORUM\] Members\[(\d+)\]", text, re.M):
        told = datetime.datetime.strptime(f"{year} {line.group(1)}", "%Y %b %d %H:%M:%S.%f").timestamp() - offset
        if told >= since - 0.002 and int(line.group(2)) == count:
            return told
    return None


class Measurement:
    """One cluster, one failure after the other."""

    def __init__(self, context, stalls, **options):
        self.lab = context.lab(3, own_paths=True, **options)
        self.random = context.random
        self.stalls = stalls
        self.lab.start()
        self.lab.activate()
        self.lab.sync_wait()

    def victim(self, writer):
        return self.lab.writer() if writer else self.random.choice([i for i in self.lab.alive()
                                                                    if i != self.lab.writer()])

    def others(self, victim):
        return [i for i in self.lab.alive() if i != victim]

    def measure(self, kind, nodes, fault, members=None):
        """fault() returns when what it did was over, None if that is no part of it. With `members` what is waited for is
        corosync, until it has told all that so many are left."""
        lab = self.lab
        started = lab.load_start(ENDLESS_SECONDS, rate=LOAD_PER_SECOND, depth=16, read_percent=0)
        lab.writes_go_on(lab.alive(), PATIENCE_SECONDS, "writes before")
        time.sleep(BEFORE_SECONDS)
        begin = clock()
        known = fault()
        if members:
            known = max(poll(lambda i=i: members_told(lab, i, members, begin), PATIENCE_SECONDS, "corosync tells")
                        for i in nodes)
        lab.writes_go_on(nodes, PATIENCE_SECONDS, f"{kind}: writes after")
        time.sleep(AFTER_SECONDS)
        self.add(kind, nodes, begin, known)
        return started

    def add(self, kind, nodes, begin, known=None):
        writes = {i: writes_of(self.lab, i, begin - BEFORE_SECONDS) for i in nodes}
        sample = self.stalls.add(kind, writes, begin, known)
        print(f"  {kind}: {sample['stall']:.2f} s, {sample['beyond']:.2f} s beyond", flush=True)

    def finish(self, started):
        lab = self.lab
        lab.load_end(started)
        lab.clean_wait()
        lab.sync_wait()
        lab.legs_equal_check("after the failure")
        lab.content_check()

    def node_killed(self, writer):
        lab = self.lab
        victim = self.victim(writer)
        started = self.measure("node killed, the writer" if writer else "node killed", self.others(victim),
                               lambda: lab.node_kill(victim), members=2)
        self.finish(started)
        lab.node_return(victim)
        lab.sync_wait()

    def node_killed_core(self):
        lab = self.lab
        victim = self.random.choice(lab.alive())
        started = self.measure("node killed, core log", self.others(victim), lambda: lab.node_kill(victim), members=2)
        self.finish(started)
        lab.node_return(victim)
        lab.sync_wait()

    def _daemons_restart(self, victims):
        for i in victims:
            self.lab.daemon_kill(self.lab.cluster[i])
        for i in victims:
            self.lab.daemon_start(self.lab.cluster[i], wait=False)
        for i in victims:
            self.lab.daemon_wait(self.lab.cluster[i])

    def daemon_killed(self):
        victim = self.random.choice(self.lab.alive())
        others = self.others(victim)
        started = self.measure("daemon restarted: others", others, lambda: self._daemons_restart([victim]))
        self.lab.writes_go_on([victim], PATIENCE_SECONDS, "its node writes")
        self.add("daemon restarted: its own node", [victim], self.stalls.samples[-1]["fault"])
        self.finish(started)

    def daemons_killed(self):
        nodes = self.lab.alive()
        self.finish(self.measure("all daemons restarted", nodes, lambda: self._daemons_restart(nodes)))

    def daemon_paused(self):
        daemon = self.lab.cluster[self.victim(False)].processes["daemon"]

        def pause():
            daemon.signal(signal.SIGSTOP)
            time.sleep(2)
            daemon.signal(signal.SIGCONT)
            return clock()

        self.finish(self.measure("daemon paused for 2 s", self.lab.alive(), pause))

    def corosync_killed(self):
        victim = self.victim(False)
        node = self.lab.cluster[victim]
        started = self.measure("corosync killed: others", self.others(victim),
                               lambda: node.process_kill("corosync"), members=2)
        node.corosync_start()
        self.lab.cluster.quorum_wait()
        self.finish(started)

    def cut_off(self):
        victim = self.victim(False)
        others = self.others(victim)
        started = self.measure("node cut off: majority", others, lambda: self.lab.cluster.partition(others, [victim]),
                               members=2)
        self.lab.cluster.heal()
        self.lab.cluster.quorum_wait()
        self.finish(started)

    def quorum_lost(self):
        def lose():
            self.lab.cluster.partition([1], [2], [3])
            poll(lambda: all(node.quorum() == (False, 1) for node in self.lab.cluster), PATIENCE_SECONDS, "no quorum")
            self.lab.cluster.heal()
            self.lab.cluster.quorum_wait()
            return clock()

        self.finish(self.measure("quorum lost, and back", self.lab.alive(), lose))

    def log_device_failed(self):
        writer = self.lab.writer()
        path = self.lab.paths[writer][2]
        started = self.measure("log device fails at writer", self.lab.alive(), lambda: path.fail(True))
        path.fail(False)
        # A path that failed is not tried again before its table is made anew.
        for i in self.lab.alive():
            self.lab.reload(i)
        self.finish(started)

    def reloaded(self):
        victim = self.random.choice(self.lab.alive())
        self.finish(self.measure("table reloaded on one node", self.lab.alive(), lambda: self.lab.reload(victim)))

    def activated(self):
        lab = self.lab
        victim = self.random.choice(lab.alive())
        kernel = lab.kernels[victim]
        lab.deactivate([victim])
        kernel.command("forget", MIRROR)
        others = self.others(victim)
        started = lab.load_start(ENDLESS_SECONDS, nodes=others, rate=LOAD_PER_SECOND, depth=16, read_percent=0)
        lab.writes_go_on(others, PATIENCE_SECONDS, "writes before")
        time.sleep(BEFORE_SECONDS)
        begin = clock()
        lab.activate([victim])
        time.sleep(AFTER_SECONDS)
        self.add("mirror activated: others", others, begin)
        self.finish(started)


def stalls_measure(context, directory, samples):
    """All kinds, `samples` times each; the table is printed, stalls.json and stalls.svg are in the directory."""
    stalls = Stalls()
    # Deaths: nobody fences here, corosync's word is enough. Where nodes live on, they must not be taken for dead.
    groups = [
        (dict(fencing="assume"), [lambda it: it.node_killed(False), lambda it: it.node_killed(True)]),
        (dict(fencing="assume", log="core"), [lambda it: it.node_killed_core()]),
        (dict(fencing="none"), [lambda it: it.daemon_killed(), lambda it: it.daemons_killed(),
                                lambda it: it.daemon_paused(), lambda it: it.corosync_killed(),
                                lambda it: it.cut_off(), lambda it: it.quorum_lost(),
                                lambda it: it.log_device_failed(), lambda it: it.reloaded(),
                                lambda it: it.activated()]),
    ]
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    context.begin("stalls")
    for options, kinds in groups:
        measurement = Measurement(context, stalls, **options)
        for kind in kinds:
            for _sample in range(samples):
                kind(measurement)
                stalls.save(directory / "stalls.json")
        context.lab_close()
    stalls.svg_write(directory / "stalls.svg")
    print(stalls.table())
