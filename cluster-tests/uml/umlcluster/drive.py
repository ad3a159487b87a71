# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults without end: round by round one fault under load, recovery from it, and the check of everything.

The administrator of these clusters is this file: daemons run with --fencing=none, and a node that was killed is
confirmed dead. So a node that was only cut off, or paused, is never taken for dead, as with good fencing.
"""

import re
import signal
import time

from . import checks
from .checks import CheckError
from .cluster import PROGRAM_NEXT, PROGRAMS, on_each
from .daemon import Daemon, daemons_start
from .load import PROGRESS_SECONDS, WriterLoad
from .mirror import BreakableMirror
from .node import CommandError

TOKEN_MS = 1500
LINGER_SECONDS = 1
RESYNC_SECONDS = 240
POLL_SECONDS = 0.05
THINK_MS = 25  # a load that leaves the processors time for all else, such as nodes that boot
FIO_SLICE = 1
LOOKS = 3  # at what is in flight under load, each round
LOG_DELAY_MS = 1000
LOAD_SECONDS = 7 * 86400  # it is ended

# What a kernel may say of a fault of its own node.
DAEMON_GONE = r"log server not found|Request timed out.*retrying|Unable to send log request \[\d+\] to userspace: -3"
LOG_BROKEN = (
    r"Request timed out.*retrying|dm-log-userspace.*server error.*\[FLUSH\]|dm-log-userspace.*: -5|log fail|"
    r"[Ll]og device|I/O error, dev dm-2|Write error.*dirty"
)
LEG_BROKEN = r"I/O error, dev dm-[0-3]|Mirror (write|read) failed|mirror.*(fail|device)|leg|[Uu]nable to (read|write)"
ASKED_AGAIN = r"Request timed out.*retrying"


class Round:
    """One fault: what was done to whom, and from when on each node had to go on."""

    def __init__(self, kind, nodes, begin):
        self.kind = kind
        self.begin = begin
        self.ready = {node: begin for node in nodes}
        self.detection = None  # seconds until corosync had noticed
        self.back = self.joined = None  # when dead nodes were booted again, and when corosync had taken them in
        self.allowed = None  # what the kernels may say
        self.victims = []

    def noticed(self, when, nodes):
        """corosync (or the end of the fault) has it since then; these nodes must go on."""
        if self.detection is None:
            self.detection = when - self.begin
        self.ready_at(when, nodes)

    def ready_at(self, when, nodes):
        for node in nodes:
            self.ready[node] = max(self.ready[node], when)


class Driver:
    """A cluster, its load and its accidents."""

    KINDS = {}

    def __init__(self, lab):
        self.chance = lab.chance
        self.cluster = lab.cluster(token_ms=TOKEN_MS)
        self.options = [f"--linger={LINGER_SECONDS}", *lab.options.daemon_option]
        self.daemons = daemons_start(self.cluster, fencing="none", options=self.options)
        self.mirror = BreakableMirror(self.cluster, slices_per_node=2)
        self.mirror.legs_scramble(lab.options.seed)
        self.mirror.activate(*self.cluster.nodes)
        on_each(lambda node: self.mirror.sync_wait(node, RESYNC_SECONDS), self.nodes)
        self.load = WriterLoad(self.mirror, self.chance, THINK_MS)
        self.fio = {}
        self.loaded_since = 0.0
        self.looks = self.differing = 0  # how often dirt_check() has looked, and how many regions differed in all
        self.round = None

    @property
    def nodes(self):
        return self.cluster.nodes

    # --- a round ------------------------------------------------------------------------------------------------

    def round_run(self, kind):
        """One fault from beginning to end; returns its figures. CheckError when a guarantee does not hold."""
        self.load_start()
        self._pause_random(0.3, 2)
        for _ in range(LOOKS):
            self.dirt_check()
        self.memory_check()
        self.round = Round(kind, self.nodes, time.time())
        self.KINDS[kind](self)
        loaded = list(self.fio)
        self.load.progress_wait(loaded)
        end = time.time()
        self.dirt_check()
        figures = self.figures(loaded)
        self.load_pause()
        self.quiet_wait()
        checks.check_legs_equal(self.mirror)
        self.device_clean_wait()
        for node in self.nodes:
            checks.check_record(self.load.record(node), node, self.mirror)
        allowed = re.compile(self.round.allowed) if self.round.allowed else None
        checks.check_resends_only(self.nodes, end - self.round.begin, allowed)
        checks.check_daemons(self.daemons.values())
        return figures

    def dirt_check(self):
        differing, _ = checks.check_dirt_known(self.mirror)
        self.looks += 1
        self.differing += len(differing)

    def memory_check(self):
        """While a leg of one node hangs its marks stay, for legs are flushed before they go, and all others go: as many
        regions are dirty on the log device as in memory. Which ones, no daemon tells; cluster-tests/netns compares them."""
        writing = self.chance.choice(self.nodes)
        others = self._others([writing])
        self.mirror.layer_hang(writing, "leg1")
        self.load.pause(others)
        for node in others:
            checks.fio_pause(self.fio[node])

        def held(status, log):
            left = ("unsynced_regions", "ghost_regions", "failed_regions", "waiting_requests")
            found = {member["node"]: member["marks"] for member in log["members"] if member["marks"]}
            return status["active"] and list(found) == [writing.number] and not any(log[name] for name in left)

        self.status_wait(f"only what {writing.name} writes is marked", held)
        deadline = time.monotonic() + PROGRESS_SECONDS
        while len(dirty := self.mirror.dirty_regions()) != self._marks(writing):
            if time.monotonic() > deadline:
                raise CheckError(f"{self._marks(writing)} regions are marked, on the log device {checks.few(dirty)}")
            time.sleep(POLL_SECONDS)
        for _ in range(LOOKS):
            if (now := self.mirror.dirty_regions()) != dirty:
                raise CheckError(f"nothing ends, and yet {checks.few(dirty)} became {checks.few(now)} on the log device")
        self.mirror.layer_mend(writing, "leg1")
        self.load.resume(others)
        for node in others:
            checks.fio_resume(self.fio[node])
        self.load.progress_wait(self.nodes)

    def _marks(self, node):
        """In how many regions a node has writes in flight, as each daemon has it."""
        logs = on_each(lambda daemon: daemon.log_status(self.mirror.uuid), self.daemons.values())
        counts = {member["marks"] for log in logs for member in log["members"] if member["node"] == node.number}
        return counts.pop() if len(counts) == 1 else None

    def describe(self):
        """For the logs of a failed round: how everything stands, as commands whose output is kept."""
        for words in (
            ("mirrorlogctl", "--run-dir=/run/mirrorlogd", "status", "--json"),
            ("mirrorlogctl", "--run-dir=/run/mirrorlogd", "dump"),
            ("dmsetup", "status"),
            ("dmsetup", "table"),
            ("dmsetup", "info", "-c"),
            ("sh", "-c", "for i in /proc/[0-9]*; do echo $i $(cat $i/comm $i/wchan; cat $i/stack); done"),
        ):
            program = f"/run/build/{words[0]}" if words[0] == "mirrorlogctl" else words[0]
            for command in [node.start(program, *words[1:]) for node in self.nodes if node.alive()]:
                try:
                    command.wait(20)
                except CommandError:
                    pass  # what stands still may hold this up too

    def figures(self, nodes):
        """How long the writes of these nodes waited: a dict for the fault, and one for the return of dead nodes."""
        fault = self.round
        if fault.back is None:
            return [self._sample(fault.kind, nodes, fault.begin, None, fault.ready)]
        back = dict.fromkeys(nodes, fault.joined)
        return [
            self._sample(fault.kind, nodes, fault.begin, fault.back, fault.ready),
            self._sample("dead node comes back", nodes, fault.back, None, back),
        ]

    def _sample(self, kind, nodes, begin, until, ready):
        """Writes that began before `until` and ended after `begin`. From ready[node] on a node had to go on."""
        stall, beyond, writes = 0.0, 0.0, {}
        for node in nodes:
            entries = self.load.entries(node, self.loaded_since)
            writes[node.number] = [done for *_, done in entries]
            for _, _, start, done in entries:
                if done > begin and (until is None or start < until):
                    stall = max(stall, self._waited(max(start, begin), done))
                    beyond = max(beyond, self._waited(max(start, ready[node]), done))
        known = max((ready[node] for node in nodes), default=begin)
        return {"kind": kind, "fault": begin, "stall": stall, "beyond": beyond, "known": known, "writes": writes}

    def _waited(self, begin, end):
        return max(0.0, end - begin - self.cluster.frozen_seconds(begin, end))

    def load_start(self):
        """Loads live as long as their nodes; between the rounds they are paused."""
        self.loaded_since = time.time()
        self.load.resume([node for node in self.nodes if node in self.fio])
        for fio in self.fio.values():
            checks.fio_resume(fio)
        new = [node for node in self.nodes if node not in self.fio]
        seeds = {node: self.chance.randrange(1 << 30) for node in new}
        fio_devices = dict(zip(new, on_each(self._slices_create, new)))
        for node in new:
            self.load.start(node, LOAD_SECONDS)
            self.fio[node] = checks.fio_start(node, fio_devices[node], LOAD_SECONDS, seeds[node], THINK_MS)
        self.load.progress_wait(self.nodes)

    def _slices_create(self, node):
        self.load.slice_create(node)
        return self.mirror.slice_create(node, FIO_SLICE)

    def load_pause(self):
        """Of nodes that were not killed; the others have none."""
        nodes = list(self.fio)
        self.load.pause(nodes)
        for node in nodes:
            checks.fio_pause(self.fio[node])

    def end(self):
        """The end of all rounds: fio has read again what it wrote."""
        for fio in self.fio.values():
            checks.fio_resume(fio)
        verified = [checks.fio_stop(fio, PROGRESS_SECONDS) for fio in self.fio.values()]
        if self.fio and not any(verified):
            raise CheckError("fio has verified nothing")

    def status_wait(self, what, holds, nodes=None, seconds=PROGRESS_SECONDS):
        """Waits until holds(status, log) is true of all daemons (of running nodes); what: for the error."""
        deadline = time.monotonic() + seconds

        def node_wait(node):
            while True:
                status = self.daemons[node].status()
                log = next((log for log in (status or {}).get("logs", []) if log["uuid"] == self.mirror.uuid), None)
                if status and log and holds(status, log):
                    break
                if time.monotonic() > deadline:
                    raise CheckError(f"{node.name}: {what}, not within {seconds} s: {status}")
                time.sleep(POLL_SECONDS)

        on_each(node_wait, nodes or self.nodes)

    def quiet_wait(self):
        """Waits until nothing is left to do anywhere, and all daemons hold the same state."""

        def quiet(status, log):
            left = ("unsynced_regions", "ghost_regions", "failed_regions", "held_regions", "lingering_regions")
            marks = sum(member["marks"] for member in log["members"])
            return (
                status["active"] and log["health"] == "A" and len(log["members"]) == len(self.nodes)
                and not marks and not log["waiting_requests"] and not any(log[name] for name in left)
            )  # fmt: skip

        self.status_wait("all regions are clean", quiet)
        deadline = time.monotonic() + PROGRESS_SECONDS
        while True:  # a record may be on its way to the last of them
            try:
                checks.check_digests_equal(self.daemons.values())
                return
            except CheckError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_SECONDS)

    def device_clean_wait(self):
        """Memory says that all is clean; clean bits may come late to the device, but come."""
        deadline = time.monotonic() + PROGRESS_SECONDS
        while dirty := self.mirror.dirty_regions():
            if time.monotonic() > deadline:
                raise CheckError(f"clean in memory, dirty on the log device: {checks.few(dirty)}")
            time.sleep(POLL_SECONDS)

    def _pause_random(self, least, most):
        time.sleep(self.chance.uniform(least, most))

    def _victims(self, count):
        self.round.victims = self.chance.sample(self.nodes, count)
        return self.round.victims

    def _others(self, nodes):
        return [node for node in self.nodes if node not in nodes]

    # --- nodes --------------------------------------------------------------------------------------------------

    def _nodes_kill(self, nodes):
        for node in nodes:
            node.kill()
            self.load.dead(node)
            self.fio.pop(node)

    def _dead_confirm(self, node, by):
        """What an administrator does; waits until the daemons have taken note."""
        deadline = time.monotonic() + PROGRESS_SECONDS
        while True:
            status = self.daemons[by].status()
            entry = next((entry for entry in (status or {}).get("nodes", []) if entry["node"] == node.number), None)
            state = entry["state"] if entry else None
            if status and status["active"] and state not in ("undecided", "gone", "ready", "joining", "awaited"):
                return
            if state in ("undecided", "awaited"):
                by.run("/run/build/mirrorlogctl", "--run-dir=/run/mirrorlogd", "confirm-dead", str(node.number))
            if time.monotonic() > deadline:
                raise CheckError(f"{by.name}: {node.name} is not known dead: {status}")
            time.sleep(POLL_SECONDS)

    def _nodes_back(self, nodes, gone_on=True):
        """Boots nodes and brings them to where they were; all boot at the same time.

        gone_on: the others had written meanwhile, so what waits from now on waits for their return."""
        back = time.time()
        for node in nodes:
            node.boot()
        for node in nodes:
            node.boot_wait()
        self.cluster.corosync_start(*nodes)
        self.cluster.quorum_wait()
        if gone_on:
            self.round.back = back
            self.round.joined = self.cluster.membership_wait(nodes, back)
        on_each(self.mirror.layers_create, nodes)
        for node in nodes:
            self.daemons[node] = Daemon(node, fencing="none", options=self.options)
            self.daemons[node].start()
        for node in nodes:
            self.daemons[node].ready_wait()
        for command in [node.start("dmsetup", "create", "m", "--table", self.mirror.table()) for node in nodes]:
            command.check(PROGRESS_SECONDS)
        for node in nodes:
            node.console_mark()

    def _dead_settle(self, dead, survivors):
        """corosync notices, the administrator confirms, survivors go on."""
        noticed = self.cluster.membership_wait(survivors, self.round.begin)
        self.round.detection = noticed - self.round.begin
        for node in dead:
            self._dead_confirm(node, survivors[0])
        self.round.ready_at(time.time(), survivors)
        self.load.progress_wait(survivors)

    def node_killed(self):
        victims = self._victims(1)
        self._nodes_kill(victims)
        self.dirt_check()
        self._dead_settle(victims, self._others(victims))
        self._nodes_back(victims)

    def nodes_killed(self):
        """Two of three: no quorum until one is back."""
        victims = self._victims(2)
        survivors = self._others(victims)
        self._nodes_kill(victims)
        self.dirt_check()
        self.round.noticed(self.cluster.membership_wait(survivors, self.round.begin), survivors)
        self._pause_random(0, 2)
        self._nodes_back(victims, gone_on=False)
        self.round.ready_at(time.time(), survivors)
        self.round.allowed = ASKED_AGAIN

    def nodes_killed_in_turn(self):
        """The second one dies while the first one's regions are being repaired."""
        first, second = self._victims(2)
        survivors = self._others([first, second])
        self._nodes_kill([first])
        self._dead_settle([first], [second, *survivors])
        self._pause_random(0, 0.5)
        self._nodes_kill([second])
        self.dirt_check()
        self._nodes_back([first, second], gone_on=False)
        self.round.ready_at(time.time(), survivors)
        self.round.allowed = ASKED_AGAIN

    def power_cut(self):
        victims = self._victims(3)
        self._nodes_kill(victims)
        self.dirt_check()
        self._nodes_back(victims, gone_on=False)

    def node_paused(self):
        """Shorter than corosync's token: nobody is thrown out."""
        victim = self._victims(1)[0]
        victim.pause()
        self._pause_random(0.3, 0.8)
        victim.resume()
        self.round.ready_at(time.time(), self.nodes)

    def node_paused_long(self):
        """Thrown out, and back again, with writes under way that were stopped in the middle."""
        victims = self._victims(1)
        holds_log = self._writer() in victims
        victims[0].pause()
        others = self._others(victims)
        self.round.noticed(self.cluster.membership_wait(others, self.round.begin), others)
        if not holds_log:
            self.load.progress_wait(others)
        resumed = time.time()
        victims[0].resume()
        self._merge_wait(resumed, self.nodes if holds_log else victims)

    def node_paused_and_fenced(self):
        victims = self._victims(1)
        victims[0].pause()
        others = self._others(victims)
        self.cluster.membership_wait(others, self.round.begin)
        self._nodes_kill(victims)
        self._dead_settle(victims, others)
        self._nodes_back(victims)

    # --- network ------------------------------------------------------------------------------------------------

    def _writer(self):
        """The node that writes the log device."""
        number = self.daemons[self.nodes[0]].log_status(self.mirror.uuid)["writer"]
        return next((node for node in self.nodes if node.number == number), None)

    def _merge_wait(self, since, nodes):
        """All see each other again; the given nodes go on from when corosync knew."""
        self.cluster.quorum_wait()
        times = [self.cluster.membership_time(node, since) for node in self.nodes]
        self.round.ready_at(max([since, *filter(None, times)]), nodes)

    def partition_minority(self):
        """One node is cut off and comes back, never fenced. Who wrote the log device is waited for."""
        victims = self._victims(1)
        others, holds_log = self._others(victims), self._writer() in victims
        self.cluster.partition(*victims)
        self.round.noticed(self.cluster.membership_wait(others, self.round.begin), others)
        if not holds_log:
            self.load.progress_wait(others)
        self._pause_random(0, 3)
        self.dirt_check()
        healed = time.time()
        self.cluster.heal()
        self._merge_wait(healed, self.nodes if holds_log else victims)
        self.round.allowed = ASKED_AGAIN

    def partition_fenced(self):
        """One node is cut off, and loses its power when corosync has noticed."""
        victims = self._victims(1)
        others = self._others(victims)
        self.cluster.partition(*victims)
        self.cluster.membership_wait(others, self.round.begin)
        self._nodes_kill(victims)
        self.cluster.heal()
        self._dead_settle(victims, others)
        self._nodes_back(victims)

    def partition_all(self):
        """Nobody has quorum."""
        self.cluster.partition(*self.nodes)
        self.round.noticed(self.cluster.membership_wait(self.nodes, self.round.begin), self.nodes)
        self._pause_random(0.5, 4)
        self.dirt_check()
        healed = time.time()
        self.cluster.heal()
        self._merge_wait(healed, self.nodes)
        self.round.allowed = ASKED_AGAIN

    def partition_flapping(self):
        """Cut and healed again and again, faster and slower than corosync notices."""
        for _ in range(self.chance.randrange(2, 5)):
            victims = self.chance.sample(self.nodes, self.chance.choice((1, 3)))
            self.cluster.partition(*victims)
            self._pause_random(0.3, 3)
            self.cluster.heal()
            self._pause_random(0.1, 1)
        self.dirt_check()
        self._merge_wait(time.time(), self.nodes)
        self.round.allowed = ASKED_AGAIN

    def corosync_killed(self):
        victims = self._victims(1)
        others, holds_log = self._others(victims), self._writer() in victims
        self._corosync_kill(victims)
        self.round.noticed(self.cluster.membership_wait(others, self.round.begin), others)
        started = time.time()
        self.cluster.corosync_start(*victims)
        self._merge_wait(started, self.nodes if holds_log else victims)
        self.round.allowed = ASKED_AGAIN

    def corosync_killed_everywhere(self):
        self.round.victims = list(self.nodes)
        self._corosync_kill(self.nodes)
        self.dirt_check()
        started = time.time()
        self.cluster.corosync_start()
        self._merge_wait(started, self.nodes)
        self.round.allowed = ASKED_AGAIN

    def _corosync_kill(self, nodes):
        for node in nodes:
            self.cluster.corosync[node].signal(signal.SIGKILL)
        for node in nodes:
            self.cluster.corosync[node].wait(PROGRESS_SECONDS)

    # --- daemons ------------------------------------------------------------------------------------------------

    def _daemons_kill(self, count):
        victims = self._victims(count)
        for node in victims:
            self.daemons[node].kill()
        self.dirt_check()
        self._pause_random(0, 1.5)
        for node in victims:
            self.daemons[node].start()
        for node in victims:
            self.daemons[node].ready_wait()
        # What the dead daemon had in hand is asked again at once; what nobody listened to, with the kernel's reconnect.
        self.round.ready_at(time.time(), victims if count == 1 else self.nodes)
        self.round.allowed = DAEMON_GONE

    def daemon_killed(self):
        self._daemons_kill(1)

    def daemons_killed(self):
        self._daemons_kill(2)

    def daemons_killed_everywhere(self):
        self._daemons_kill(3)

    def daemon_crash_loop(self):
        """Killed again and again while it starts. A death between the CTR and the RESUME of a reconnect leaves a table
        that may write unmarked until it is loaded anew (hazard A2)."""
        victims = self._victims(1)
        daemon = self.daemons[victims[0]]
        for _ in range(self.chance.randrange(2, 6)):
            daemon.kill()
            daemon.start()
            self._pause_random(0, 1)
        daemon.ready_wait()
        self._reload(victims)
        self.round.ready_at(time.time(), self.nodes)
        self.round.allowed = f"{DAEMON_GONE}|{LOG_BROKEN}"

    def daemon_told_to_stop(self):
        """SIGTERM with an active mirror: it stays and says why. Told again, it goes; the next one goes on."""
        victims = self._victims(1)
        daemon = self.daemons[victims[0]]
        said = len(daemon.log())
        daemon.signal(signal.SIGTERM)
        deadline = time.monotonic() + PROGRESS_SECONDS
        while "not stopping: " not in (text := daemon.log()[said:]):
            if not daemon.running() or time.monotonic() > deadline:
                raise CheckError(f"{daemon.node.name}: told to stop with an active mirror, its daemon said: {text}")
            time.sleep(POLL_SECONDS)
        self.load.progress_wait(self.nodes)
        if (status := daemon.stop()) != 0:
            raise CheckError(f"{daemon.node.name}: told to stop twice, its daemon ended with {status}")
        self.dirt_check()
        daemon.start()
        daemon.ready_wait()
        self.round.ready_at(time.time(), victims)
        self.round.allowed = DAEMON_GONE

    def _daemons_upgrade(self, wait):
        """Each daemon is replaced by one that speaks another range of versions of the protocol, there and back."""
        self.round.victims = list(self.nodes)
        nodes = self.chance.sample(self.nodes, len(self.nodes))
        program = PROGRAMS[0] if self.daemons[nodes[0]].program == PROGRAM_NEXT else PROGRAM_NEXT
        if not wait:
            for node in nodes:
                self.daemons[node].kill()
        for node in nodes:
            if wait:
                self.daemons[node].kill()
            self.daemons[node].program = program
            self.daemons[node].start()
            if wait:
                self.daemons[node].ready_wait()
                self.load.progress_wait(self.nodes)
        for node in nodes:
            self.daemons[node].ready_wait()
        self.round.ready_at(time.time(), self.nodes)
        self.round.allowed = DAEMON_GONE

    def daemons_upgraded_in_turn(self):
        self._daemons_upgrade(wait=True)

    def daemons_upgraded_at_once(self):
        self._daemons_upgrade(wait=False)

    def daemon_stopped(self):
        """Alive for corosync, but does not run for a while."""
        victims = self._victims(1)
        self.daemons[victims[0]].signal(signal.SIGSTOP)
        self._pause_random(0.5, 4)
        self.daemons[victims[0]].signal(signal.SIGCONT)
        self.round.ready_at(time.time(), self.nodes)

    def daemon_and_node_killed(self):
        """One node loses its daemon, another one its power, at the same time."""
        one, other = self._victims(2)
        self.daemons[one].kill()
        self._nodes_kill([other])
        self.dirt_check()
        self.daemons[one].start()
        self.daemons[one].ready_wait()
        self._dead_settle([other], self._others([other]))
        self._nodes_back([other])
        self.round.allowed = DAEMON_GONE

    # --- disks --------------------------------------------------------------------------------------------------

    def log_broken_at_writer(self):
        """The writer loses the log device: another member writes it, nobody stands still."""
        writer = self._writer()
        self.round.victims = [writer]
        self.mirror.layer_break(writer, "log")
        self._pause_random(0.5, 3)
        self.load.progress_wait(self.nodes, writes=60)
        self.dirt_check()
        self.mirror.layer_mend(writer, "log")
        self._reload(self.nodes)
        self.round.allowed = LOG_BROKEN

    def log_broken_everywhere(self):
        """Nobody reaches the log device: status says so, writes are held; good again after a reload."""
        self.round.victims = list(self.nodes)
        for node in self.nodes:
            self.mirror.layer_break(node, "log")
        self.status_wait("the log device is known to be broken", lambda _, log: log["health"] != "A")
        for node in self.nodes:
            self.mirror.layer_mend(node, "log")
        self._reload(self.nodes)
        self.round.ready_at(time.time(), self.nodes)
        self.round.allowed = LOG_BROKEN

    def log_slow(self):
        """The log device takes a second at each node: nothing fails, nobody asks again."""
        self.round.victims = list(self.nodes)
        for node in self.nodes:
            self.mirror.layer_slow(node, "log", LOG_DELAY_MS)
        self.load.progress_wait(self.nodes)
        self.dirt_check()
        for node in self.nodes:
            self.mirror.layer_mend(node, "log")
        self.round.ready_at(time.time(), self.nodes)

    def log_hangs_at_writer(self):
        """What the writer writes to the log device does not end for a while: all wait, and go on with it."""
        writer = self._writer()
        self.round.victims = [writer]
        self.mirror.layer_hang(writer, "log")
        self._pause_random(1, 6)
        self.dirt_check()
        self.mirror.layer_mend(writer, "log")
        self.round.ready_at(time.time(), self.nodes)
        self.round.allowed = ASKED_AGAIN

    def log_hangs_and_daemon_killed(self):
        """The daemon of a write that hangs is killed, and cannot end; the next one is there before it has."""
        writer = self._writer()
        self.round.victims = [writer]
        self.mirror.layer_hang(writer, "log")
        self._pause_random(1, 3)
        daemon = self.daemons[writer]
        daemon.signal(signal.SIGKILL)
        self._pause_random(0, 1)
        daemon.start()
        self._pause_random(0.5, 3)
        self.dirt_check()
        self.mirror.layer_mend(writer, "log")
        daemon.ready_wait()
        self.round.ready_at(time.time(), self.nodes)
        self.round.allowed = DAEMON_GONE

    def leg_broken(self):
        """One node loses a leg: its writes are held until its table is loaded again, the others go on."""
        victim = self._victims(1)[0]
        leg = self.chance.randrange(2)
        self.mirror.layer_break(victim, f"leg{leg}")
        self._leg_failed_wait([victim], leg)
        self.load.progress_wait(self._others([victim]))
        self.dirt_check()
        self.mirror.layer_mend(victim, f"leg{leg}")
        if self.chance.random() < 0.5:
            self._reload(self.chance.sample(self.nodes, 3))  # the table that failed may be the last
        else:
            self._reload_together()
        self.round.ready_at(time.time(), [victim])
        self.round.allowed = LEG_BROKEN

    def leg_broken_everywhere(self):
        """All lose the same leg."""
        self.round.victims = list(self.nodes)
        leg = self.chance.randrange(2)
        for node in self.nodes:
            self.mirror.layer_break(node, f"leg{leg}")
        self._leg_failed_wait(self.nodes, leg)
        self.dirt_check()
        for node in self.nodes:
            self.mirror.layer_mend(node, f"leg{leg}")
        self._reload_together()
        self.round.ready_at(time.time(), self.nodes)
        self.round.allowed = LEG_BROKEN

    def _leg_failed_wait(self, nodes, leg):
        deadline = time.monotonic() + PROGRESS_SECONDS
        for node in nodes:
            while (states := self.mirror.status(node).leg_states)[leg] == "A":
                if time.monotonic() > deadline:
                    raise CheckError(f"{node.name}: writes to a broken leg {leg}, and yet its legs are {states}")
                time.sleep(POLL_SECONDS)

    def _reload(self, nodes):
        for node in nodes:
            self.mirror.reload(node)

    def table_reloaded(self):
        self._reload(self.chance.sample(self.nodes, 3))

    def tables_reloaded_together(self):
        self._reload_together()
        self.round.ready_at(time.time(), self.nodes)

    def _reload_together(self):
        """All load, then all suspend, then all resume, as LVM does in a cluster."""
        for words in (
            ("load", "m", "--table", self.mirror.table()),
            ("suspend", "--noflush", "m"),
            ("resume", "m"),
        ):
            for command in [node.start("dmsetup", *words) for node in self.nodes]:
                command.check(PROGRESS_SECONDS)


Driver.KINDS = {
    function.__name__.replace("_", " "): function
    for function in (
        Driver.node_killed, Driver.nodes_killed, Driver.nodes_killed_in_turn, Driver.power_cut, Driver.node_paused,
        Driver.node_paused_long, Driver.node_paused_and_fenced, Driver.partition_minority, Driver.partition_fenced,
        Driver.partition_all, Driver.partition_flapping, Driver.corosync_killed, Driver.corosync_killed_everywhere,
        Driver.daemon_killed, Driver.daemons_killed, Driver.daemons_killed_everywhere, Driver.daemon_stopped,
        Driver.daemon_and_node_killed, Driver.daemon_crash_loop, Driver.daemon_told_to_stop,
        Driver.daemons_upgraded_in_turn, Driver.daemons_upgraded_at_once, Driver.log_broken_at_writer,
        Driver.log_broken_everywhere, Driver.log_slow, Driver.log_hangs_at_writer, Driver.log_hangs_and_daemon_killed,
        Driver.leg_broken,
        Driver.leg_broken_everywhere, Driver.table_reloaded, Driver.tables_reloaded_together,
    )
}  # fmt: skip


def kinds_in_order(chance):
    """Every kind comes once in some order, then again in another, without end."""
    while True:
        kinds = list(Driver.KINDS)
        chance.shuffle(kinds)
        yield from kinds
