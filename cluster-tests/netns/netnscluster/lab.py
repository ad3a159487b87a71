# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster with daemons, stand-in kernels and a mirror, or several, on shared disks, and the checks on it."""

import contextlib
import copy
import json
import pathlib
import re
import signal
import time

from netnscluster import log_image
from netnscluster.cluster import CONSENSUS_MS, TOKEN_MS, Cluster, poll
from netnscluster.loop_device import LoopDevice
from netnscluster.node_disk import NodeDisk
from netnscluster.stand_in import (BLOCK_BYTES, FATAL_COMPLAINTS, PORT, SECTOR_BYTES, Records, StandIn,
                                   content_faults, tag_text)

MIRROR = "mirror"
UUID = "LVM-netns-test"


class CheckFailed(Exception):
    """A guarantee does not hold."""


class Skipped(Exception):
    """The test cannot be tried on this machine."""


def check(condition, why):
    if not condition:
        raise CheckFailed(why)


class Lab:
    """One test's cluster with a mirror. All of it is made in the test and gone with close()."""

    def __init__(self, context, nodes, log="disk", regions=256, region_sectors=128, version=3, integrated_flush=False,
                 cluster="corosync", linger="1", features="1 handle_errors", sync="", transport="udpu",
                 leg_delay_us=3000, fencing="none", speed=1, token_ms=TOKEN_MS, consensus_ms=CONSENSUS_MS,
                 own_paths=False):
        self.context = context
        self.work_dir = pathlib.Path(context.test_dir)
        self.regions = regions
        self.region_sectors = region_sectors
        self.region_bytes = region_sectors * SECTOR_BYTES
        self.blocks = regions * self.region_bytes // BLOCK_BYTES
        self.version = version
        self.cluster_kind = cluster
        self.linger = linger
        self.log_kind = log
        self.kernels = {}
        self.mirror = MIRROR
        self.uuid = UUID
        self.others = []
        self.deaths = {}
        self.everybody = set()
        self.boots = 0
        self.legs = []
        self.log = None
        self.cluster = Cluster(self.work_dir, token_ms, consensus_ms)
        self.fencing = fencing
        self.speed = speed
        self.daemon_binaries = {}
        # Of each node to the legs and the log device, where paths shall fail.
        self.own_paths = own_paths
        self.paths = {}
        self.recovered = {}
        self.node_count = nodes
        self.transport = transport
        self.sync = sync
        self.integrated_flush = integrated_flush
        self.features = features
        self.leg_delay_us = leg_delay_us

    def start_cluster(self):
        """Disks, nodes and quorum. What was made of it, close() undoes, also when this fails."""
        self._disks_make()
        self.cluster.start(self.node_count, self.transport)
        if self.cluster_kind == "corosync":
            self.cluster.corosync_start()
            self.cluster.quorum_wait()

    def _disks_make(self):
        size = self.regions * self.region_bytes
        for i in range(2):
            self.legs.append(LoopDevice(self.work_dir / f"{self.mirror}-leg{i}", size))
        self.log = LoopDevice(self.work_dir / f"{self.mirror}-log", 1 << 20)
        # The second leg starts as noise: a region that is not copied is found.
        noise = bytes((i * 7 + 1) & 0xFF for i in range(4096))
        self.legs[1].write(0, noise * (size // len(noise)))
        if self.own_paths:
            for i in range(1, self.node_count + 1):
                self.paths[i] = [NodeDisk(disk.file_path) for disk in (*self.legs, self.log)]

    def another(self, name):
        """Another mirror of the same nodes and daemons, on disks of its own: a lab of which only the mirror differs.
        Whoever made this one closes both."""
        other = copy.copy(self)
        other.mirror = name
        other.uuid = f"{UUID}-{name}"
        other.others, other.legs, other.log, other.paths, other.recovered = [], [], None, {}, {}
        self.others.append(other)
        other._disks_make()
        return other

    def table(self, node_id):
        *legs, log = self.paths.get(node_id, [*self.legs, self.log])
        words = [self.uuid]
        if self.integrated_flush:
            words.append("integrated_flush")
        words.append(f"clustered-{self.log_kind}")
        if self.log_kind == "disk":
            words.append(log.number)
        words.append(str(self.region_sectors))
        words += self.sync.split()
        leg_words = " ".join(f"{leg.number} 0" for leg in legs)
        return (f"0 {self.regions * self.region_sectors} mirror userspace {len(words)} {' '.join(words)} "
                f"{len(legs)} {leg_words} {self.features}").strip()

    # --- daemons and kernels

    def tables_dir(self, node):
        path = self.work_dir / f"{node.name}-tables"
        path.mkdir(exist_ok=True)
        return path

    def daemon_start(self, node, wait=True):
        binary = self.daemon_binaries.get(node.node_id, self.context.daemon)
        node.start("daemon", [binary, "-D", "--run-dir=/run/mirrorlogd", "--pidfile=/run/mirrorlogd.pid",
                              f"--cluster={self.cluster_kind}", f"--fencing={self.fencing}", f"--linger={self.linger}",
                              f"--netlink-peer={PORT}", f"--dm-tables={self.tables_dir(node)}"],
                   env=self.context.daemon_env)
        if wait:
            self.daemon_wait(node)

    def daemon_wait(self, node):
        """Until the daemon listens to the kernel's group."""
        def listens():
            self.daemon_check(node)
            return any(fields[1] == "11" and int(fields[3], 16) & 0x40 for fields in
                       (line.split() for line in node.run("cat", "/proc/self/net/netlink").stdout.splitlines()[1:]))
        poll(listens, 60, f"{node.name}: daemon listens")

    def daemon_check(self, node):
        daemon = node.processes.get("daemon")
        if daemon and not daemon.alive():
            raise CheckFailed(f"{node.name}: the daemon ended with {daemon.popen.returncode}:\n"
                              f"{daemon.log_text()[-3000:]}")

    def kernel_start(self, node):
        self.boots += 1
        tables = self.tables_dir(node)
        for path in tables.iterdir():
            path.unlink()
        self.kernels[node.node_id] = StandIn(node, self.context.stand_in, tables, self.work_dir, self.region_sectors,
                                             self.context.seed * 1000 + self.boots, self.version,
                                             self.leg_delay_us, self.speed)
        self.everybody.add(node.node_id)

    def start(self, nodes=None, daemons=True):
        nodes = self.nodes(nodes)
        for node in nodes:
            if daemons:
                self.daemon_start(node, wait=False)
            self.kernel_start(node)
        if daemons:
            for node in nodes:
                self.daemon_wait(node)

    def nodes(self, node_ids=None):
        return [self.cluster[i] for i in (node_ids or sorted(self.cluster.nodes))]

    def alive(self):
        return sorted(self.kernels)

    def ctl(self, node, *arguments):
        done = node.run(self.context.ctl, "--run-dir=/run/mirrorlogd", *arguments)
        return done.stdout + done.stderr

    def status(self, node_id):
        """`mirrorlogctl status --json`, None while the daemon does not answer."""
        done = self.cluster[node_id].run(self.context.ctl, "--run-dir=/run/mirrorlogd", "status", "--json")
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def log_status(self, node_id):
        """Of the mirror's log; {} where the daemon has none or does not answer."""
        logs = (self.status(node_id) or {}).get("logs", [])
        return next((log for log in logs if log["uuid"] == self.uuid), {})

    # --- the mirror

    def each(self, verb, *arguments, nodes=None, seconds=120):
        """The same command on several kernels at once."""
        sent = [(self.kernels[i], self.kernels[i].send(verb, self.mirror, *arguments)) for i in (nodes or self.alive())]
        return [kernel.wait(number, seconds, verb) for kernel, number in sent]

    def activate(self, nodes=None):
        self.each("create", nodes=nodes)
        self.load(nodes)
        self.each("resume", nodes=nodes)

    def load(self, nodes=None):
        sent = [(i, self.kernels[i].send("load", self.mirror, self.table(i))) for i in (nodes or self.alive())]
        for i, number in sent:
            self.kernels[i].wait(number, 120, "load")

    def reload(self, node_id):
        """As LVM does it, with I/O running."""
        self.load([node_id])
        self.kernels[node_id].command("suspend", self.mirror, "noflush")
        self.kernels[node_id].command("resume", self.mirror)

    def deactivate(self, nodes=None):
        self.each("remove", nodes=nodes)

    def synced(self, node_id):
        """(regions in sync, all) as dmsetup status tells it."""
        text = self.kernels[node_id].command("status", self.mirror)["text"]
        found = re.search(r" (\d+)/(\d+) ", text)
        check(found, f"n{node_id}: status {text!r}")
        return int(found.group(1)), int(found.group(2))

    def sync_wait(self, nodes=None, seconds=120):
        for i in nodes or self.alive():
            poll(lambda i=i: self.synced(i) == (self.regions, self.regions), seconds, f"n{i}: all in sync", 0.2)

    def recoveries_begin(self):
        """From now on recoveries_check() counts."""
        self.recovered = {kernel: kernel.info(self.mirror)["recoveries"] for kernel in self.kernels.values()}

    def recoveries_check(self, what):
        """No kernel was given a region to copy since recoveries_begin(). What only a daemon's death leaves behind is
        repaired by daemons: to `dmsetup status` such regions are not in sync until that is done (hazard B10)."""
        for i, kernel in self.kernels.items():
            # One that was booted since then counts from its beginning.
            count = kernel.info(self.mirror)["recoveries"] - self.recovered.get(kernel, 0)
            check(count == 0, f"{what}: n{i}: the kernel was given {count} regions to copy")
            unsynced = self.log_status(i).get("unsynced_regions", 0)
            check(unsynced == 0, f"{what}: n{i}: {unsynced} regions are out of sync")

    def load_start(self, seconds, nodes=None, rate=200, depth=8, read_percent=10, shift=0):
        """Random reads and writes in the background, to all regions. Returns what load_wait() wants.

        No two nodes write the same block at the same time: nobody would order the two writes on the two legs. `shift`
        changes which blocks are whose; only when no other load is running.
        """
        started = []
        for i in nodes or self.alive():
            first = (i + shift) % self.node_count
            count = (self.blocks - first + self.node_count - 1) // self.node_count
            started.append((i, self.kernels[i].send(
                "start", self.mirror, self.context.random.getrandbits(32), rate, int(seconds * 1000), first, count,
                self.node_count, depth, read_percent)))
        return started

    def load_end(self, started, seconds=90):
        """No more of it; what is under way must end, without an error."""
        for i, _number in started:
            if i in self.kernels:
                self.kernels[i].command("stop", self.mirror)
        return self.load_wait(started, seconds)

    def load_wait(self, started, seconds=90):
        answers = {}
        for i, number in started:
            if i not in self.kernels:
                continue
            answers[i] = answer = self.kernels[i].wait(number, seconds, "random load ends")
            check(answer["write_errors"] == 0, f"n{i}: {answer['write_errors']} writes failed")
            check(answer["read_errors"] == 0, f"n{i}: {answer['read_errors']} reads failed")
            check(answer["writes"] > 0, f"n{i}: no write at all")
        return answers

    def load_stop_wait(self, what, seconds=90):
        """No more new I/O; all that is under way must end."""
        self.each("stop")
        for i in self.alive():
            poll(lambda i=i: self.kernels[i].info(self.mirror)["in_flight"] == 0, seconds, f"{what}: n{i}: I/O ends", 0.1)

    def waits_reset(self, nodes=None):
        for i in nodes or self.alive():
            self.kernels[i].info(self.mirror, reset=True)

    def wait_longest_ms(self, nodes=None):
        longest = 0
        for i in nodes or self.alive():
            info = self.kernels[i].info(self.mirror)
            longest = max(longest, info["write_wait_max_ms"], info["oldest_wait_ms"])
        return longest

    def writes_go_on(self, nodes, seconds, what):
        """Until each of these nodes has had another write acknowledged."""
        before = {i: self.kernels[i].info(self.mirror)["writes"] for i in nodes}
        poll(lambda: all(self.kernels[i].info(self.mirror)["writes"] > before[i] for i in nodes), seconds, what)

    def writer(self):
        """The node that writes the log device."""
        return poll(lambda: self.log_status(self.alive()[0]).get("writer"), 60, "somebody writes the log device")

    # --- accidents

    def daemon_kill(self, node):
        node.process_kill("daemon")

    def node_kill(self, node_id):
        self.cluster[node_id].kill()
        self.deaths[node_id] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        del self.kernels[node_id]

    def node_return(self, node_id, activate=True):
        """The dead node boots: nothing of /run is left."""
        node = self.cluster[node_id]
        node.reboot()
        node.corosync_start()
        self.cluster.quorum_wait([n for n in self.cluster if n.processes])
        self.deaths.pop(node_id, None)
        self.daemon_start(node)
        self.kernel_start(node)
        if activate:
            self.activate([node_id])

    def detection_wait(self, survivors, count, begin=None, seconds=60):
        """Until corosync of all survivors knows; returns how long that took, but at least what the tokens say."""
        begin = begin or time.monotonic()
        poll(lambda: all(self.cluster[i].quorum()[1] == count for i in survivors), seconds, "corosync sees the death")
        return max(time.monotonic() - begin, (self.cluster.token_ms + self.cluster.consensus_ms) / 1000)

    def fence(self, victims, survivors, seconds=60):
        """What an administrator does, or a fence agent: tells the daemons that these nodes are dead, once these daemons
        ask. Whatever a test does to the victims, nothing of them may reach the legs any more."""
        if self.fencing != "none":
            return

        def buried():
            status = self.status(survivors[0])
            if not status or not status["active"]:
                return False
            states = {node["node"]: node["state"] for node in status["nodes"]}
            waiting = [victim for victim in victims if states.get(victim) in ("undecided", "gone")]
            for victim in waiting:
                self.ctl(self.cluster[survivors[0]], "confirm-dead", str(victim))
            return not waiting and not any(states.get(victim) in ("ready", "joining") for victim in victims)

        poll(buried, seconds, f"nodes {victims} are known dead")

    # --- checks

    def kernels_check(self, allowed=()):
        """No kernel complains of what must not be, nor read what nobody wrote."""
        for kernel in self.kernels.values():
            bad = kernel.complaints(FATAL_COMPLAINTS - set(allowed))
            check(not bad, "; ".join(bad[:5]))
            check(kernel.bad_reads() == 0, f"{kernel.node.name}: read content that nobody wrote as a whole")

    def quiet_check(self):
        """Nothing happened to anybody: not one complaint of any kind."""
        for kernel in self.kernels.values():
            check(not kernel.complaints(), "; ".join(kernel.complaints()[:5]))

    def daemons_check(self):
        for node in self.cluster:
            self.daemon_check(node)

    def records(self):
        return {i: Records(self.work_dir / f"{self.mirror}.n{i}") for i in self.everybody}

    def content_check(self):
        """Leg 0 holds what was written, as far as anybody was told so."""
        faults = content_faults(self.legs[0].read(), self.records(), self.deaths)
        check(not faults, f"{len(faults)} blocks: " + "; ".join(faults[:3]))

    def different_regions(self):
        first, second = (leg.read() for leg in self.legs)
        size = self.region_bytes
        return {r for r in range(self.regions) if first[r * size:(r + 1) * size] != second[r * size:(r + 1) * size]}

    def torn_blocks(self, node_ids):
        """How many blocks differ between the legs because one of these nodes died between its two writes."""
        legs = [leg.read() for leg in self.legs]
        records = [self.records()[i] for i in node_ids]
        return sum(1 for block in range(self.blocks)
                   if legs[0][block * BLOCK_BYTES:(block + 1) * BLOCK_BYTES] !=
                   legs[1][block * BLOCK_BYTES:(block + 1) * BLOCK_BYTES]
                   and any(entry[0] != entry[1] for entry in (record.entry(block) for record in records)))

    def difference_text(self):
        """Which blocks of the legs differ, and who wrote them there when."""
        legs = [leg.read() for leg in self.legs]
        records = self.records()
        lines = []
        for block in range(self.blocks):
            pair = [leg[block * BLOCK_BYTES:(block + 1) * BLOCK_BYTES] for leg in legs]
            if pair[0] == pair[1] or len(lines) == 5:
                continue
            written = {node: record.entry(block) for node, record in records.items() if record.entry(block)[0]}
            lines.append(f"region {block * BLOCK_BYTES // self.region_bytes} block {block}: "
                         f"{' / '.join(tag_text(block, data) for data in pair)}; "
                         f"begun, acknowledged, from, to: {written}")
        return "\n".join(lines)

    def legs_equal_check(self, when):
        different = sorted(self.different_regions())
        check(not different, f"{when}: legs differ in regions {different[:10]}\n{self.difference_text()}")

    def dirty_regions(self):
        try:
            return log_image.dirty_regions(self.log.read(), self.regions)
        except ValueError as error:
            raise CheckFailed(f"log device: {error}") from error

    def no_lost_dirt_check(self):
        """Each region that differs between the legs is dirty on the log device. The device is read after the legs are,
        so nothing may be writing."""
        lost = self.different_regions() - self.dirty_regions()
        check(not lost, f"legs differ in regions that are clean on the log device: {sorted(lost)[:10]}")

    @contextlib.contextmanager
    def _kernels_stopped(self):
        """Inside, no kernel writes to a leg, and what they were writing has ended. Their daemons go on."""
        processes = [kernel.process for kernel in self.kernels.values()]
        for process in processes:
            process.signal(signal.SIGSTOP)
        try:
            for process in processes:
                poll(process.stopped, 60, f"{process.name}: stops", interval=0.001)
            yield
        finally:
            for process in processes:
                process.signal(signal.SIGCONT)

    def no_lost_dirt_live_check(self):
        """The same under load: writes in flight are marked before they land, and marks stay until they have landed on both
        legs. Kernels stand still while the disks are read, so that slow reading is no excuse. What a daemon repairs
        meanwhile was dirty before or is so after."""
        with self._kernels_stopped():
            before = self.dirty_regions()
            different = self.different_regions()
            lost = different - before - self.dirty_regions()
        check(not lost, f"legs differ in regions that are clean on the log device: {sorted(lost)[:10]}")

    @contextlib.contextmanager
    def legs_held(self):
        """Inside, no I/O of a kernel gets to a leg: writes in flight stay so, and what they have marked stays marked."""
        self.each("hold", 1)
        try:
            yield
        finally:
            self.each("hold", 0)

    def memory_dirty(self, node_id):
        """The regions that the node's daemon does not call clean."""
        return set(self.kernels[node_id].command("dirty", self.mirror)["dirty"])

    def memory_in_device_check(self, writer):
        """Each region that the writer knows as dirty is dirty on the log device, which it cleans only later. The device is
        read first: nobody may mark a region meanwhile."""
        device = self.dirty_regions()
        lost = self.memory_dirty(writer) - device
        check(not lost, f"dirty in the memory of n{writer}, clean on the log device: {sorted(lost)[:10]}")

    def memory_as_device_wait(self, seconds):
        """Until all daemons and the log device call the same regions dirty: clean bits are written late. Returns these."""
        seen = {}

        def same():
            seen["device"] = self.dirty_regions()
            for i in self.alive():
                seen[f"n{i}"] = self.memory_dirty(i)
            return all(regions == seen["device"] for regions in seen.values())

        try:
            poll(same, seconds, "daemons and the log device call the same regions dirty", 0.1)
        except TimeoutError as error:
            found = {who: sorted(regions) for who, regions in seen.items()}
            raise CheckFailed(f"{error}: {found}") from error
        return seen["device"]

    def requests_wait(self, seconds):
        """Until daemons know the state of the cluster, and no kernel waits for an answer."""
        for i in self.alive():
            poll(lambda i=i: all((self.status(i) or {}).get(key) for key in ("active", "ready")), seconds,
                 f"n{i}: ready")
        for i in self.alive():
            poll(lambda i=i: self.kernels[i].info(self.mirror)["requests_waiting"] == 0, seconds,
                 f"n{i}: all requests are answered", 0.02)

    def clean_wait(self, seconds=120):
        """Until the log device says that all is clean."""
        if self.log_kind == "disk":
            poll(lambda: not self.dirty_regions(), seconds, "log device all clean", interval=0.2)

    def end_check(self, nodes=None):
        """The end of each test: deactivated everywhere in order, legs equal, log device clean, contents as written."""
        self.daemons_check()
        self.deactivate(nodes)
        self.legs_equal_check("deactivated")
        if self.log_kind == "disk":
            check(not self.dirty_regions(), f"log device dirty: {sorted(self.dirty_regions())[:10]}")
        self.content_check()
        self.kernels_check()
        self.daemons_check()

    def daemons_stop(self):
        """SIGTERM without active logs ends a daemon by itself."""
        for node in self.cluster:
            daemon = node.processes.get("daemon")
            if not daemon:
                continue
            daemon.signal(signal.SIGTERM)
            poll(lambda daemon=daemon: not daemon.alive(), 60, f"{node.name}: daemon stops on SIGTERM")
            check(daemon.popen.returncode == 0, f"{node.name}: daemon ended with {daemon.popen.returncode}:\n"
                                                f"{daemon.log_text()[-3000:]}")

    def state_text(self, lines=25):
        """For who looks for the cause of a failure: what all are doing, and the ends of their logs."""
        text = []
        for i, kernel in self.kernels.items():
            text.append(f"--- n{i}: the kernel")
            try:
                text.append(str(kernel.info(self.mirror)))
            except Exception as error:
                text.append(str(error))
            if "daemon" in self.cluster[i].processes:
                text += [f"--- n{i}: mirrorlogctl status", self.ctl(self.cluster[i], "status")]
        for path in sorted(self.work_dir.glob("n*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            if tail and "corosync" not in path.name:
                text += [f"--- {path.name}"] + tail
        return "\n".join(text)

    def close(self):
        self.cluster.stop()
        for lab in [self, *self.others]:
            for path in sum(lab.paths.values(), []):
                path.close()
            for device in lab.legs + ([lab.log] if lab.log else []):
                device.close()
