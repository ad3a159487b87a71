# SPDX-License-Identifier: GPL-2.0-or-later
"""Random faults under load, round after round, and after each round all that can be checked.

A cluster (a lab) lives for some rounds, the next one is made with other options. Everything comes from the seed and
the number of the lab: `run --seed=S --lab=L --rounds=N` begins with that lab.
"""

import random
import shutil
import signal
import sys
import time
import traceback

from netnscluster.cluster import poll
from netnscluster.lab import FATAL_COMPLAINTS, MIRROR, check

ROUNDS_PER_LAB = 25
ENDLESS_SECONDS = 3600
# At what is in flight under load, each round. One look alone may meet no write.
LOOKS = 5
# Reads and writes in flight on each node, at most.
DEPTH = 8
# Where nodes die, the two writes to the legs are far apart: a death falls between some of them.
SLOW_LEGS_US = 30000
# The kernel's 15 s are 3 s here, its 2 s are 400 ms.
KERNEL_SPEED = 5
TOKEN_MS = 500
CONSENSUS_MS = 600
# For what must happen. A machine may be busy, a node has to boot.
PATIENCE_SECONDS = 90


class Round:
    """What a fault may use, and what it has to say about the checks after it."""

    def __init__(self, lab, choices):
        self.lab = lab
        self.random = choices
        self.allowed = set()
        self.resync = False  # kernels may be given regions to copy
        self.killed = set()  # their daemons

    def some(self, most=None):
        nodes = self.lab.alive()
        return sorted(self.random.sample(nodes, self.random.randint(1, most or len(nodes))))

    def one(self):
        return self.random.choice(self.lab.alive())

    def others(self, victims):
        return [i for i in self.lab.alive() if i not in victims]

    def sleep(self, least, most):
        time.sleep(self.random.uniform(least, most))

    def quiet(self, nodes):
        """Who is said to be dead, with --fencing=assume, must behave as if it were: nothing in flight, no mark."""
        for i in nodes:
            self.lab.kernels[i].command("stop", MIRROR)
        for i in nodes:
            poll(lambda i=i: self.lab.kernels[i].info(MIRROR)["in_flight"] == 0, PATIENCE_SECONDS, f"n{i}: no I/O")
            poll(lambda i=i: marks_of(self.lab.log_status(self.lab.alive()[0]), i) == 0, PATIENCE_SECONDS,
                 f"n{i}: no marks")

    def assumed(self):
        return self.lab.fencing == "assume"


def marks_of(log, node):
    """None when the daemon does not answer."""
    return next((member["marks"] for member in log.get("members", []) if member["node"] == node), None)


# --- faults; each leaves all nodes up again, and returns what it did

def fault_nodes(this):
    lab = this.lab
    victims = this.some((len(lab.alive()) - 1) // 2)
    survivors = this.others(victims)
    for i in victims:
        lab.node_kill(i)
    if lab.log_kind == "disk":
        lab.no_lost_dirt_live_check()
    lab.detection_wait(survivors, len(survivors))
    if this.random.random() < 0.7:
        lab.fence(victims, survivors)
        lab.writes_go_on(survivors, PATIENCE_SECONDS, f"survivors of {victims} write")
        this.sleep(0, 0.5)
    nodes_return(this, victims)
    return f"nodes {victims} killed"


def nodes_return(this, victims):
    """Booted again, all at once; their mirrors are activated."""
    lab = this.lab
    for i in victims:
        lab.cluster[i].reboot()
        lab.cluster[i].corosync_start()
    lab.cluster.quorum_wait()
    for i in victims:
        lab.deaths.pop(i, None)
    lab.start(victims)
    lab.activate(victims)


def fault_power_cut(this):
    lab = this.lab
    victims = lab.alive()
    for i in victims:
        lab.node_kill(i)
    if lab.log_kind == "disk":
        lab.no_lost_dirt_check()
    lab.content_check()
    nodes_return(this, victims)
    this.resync = True
    return "all nodes killed"


def fault_daemons(this):
    lab = this.lab
    victims = this.some()
    for i in victims:
        lab.daemon_kill(lab.cluster[i])
    if lab.log_kind == "disk":
        lab.no_lost_dirt_live_check()
    this.sleep(0, 1)
    for i in victims:
        lab.daemon_start(lab.cluster[i], wait=False)
    for i in victims:
        lab.daemon_wait(lab.cluster[i])
    this.killed.update(victims)
    return f"daemons {victims} killed"


def fault_daemon_loop(this):
    """Killed again while it starts."""
    lab = this.lab
    victim = this.one()
    for _attempt in range(this.random.randint(2, 5)):
        lab.daemon_kill(lab.cluster[victim])
        lab.daemon_start(lab.cluster[victim], wait=False)
        this.sleep(0, 0.4)
    lab.daemon_wait(lab.cluster[victim])
    # A crash between CTR and RESUME of a reconnect: that table may write unmarked until it is reloaded (hazard A2).
    lab.load_stop_wait("daemon killed again and again")
    this.allowed |= {"resume-failed", "answer-lost", "log-failure", "write-one-leg", "write-unmarked"}
    this.resync = True
    lab.reload(victim)
    return f"daemon {victim} killed again and again"


def fault_upgrade(this):
    """Another binary of the same protocol, one node after the other or all at once."""
    lab = this.lab
    at_once = this.random.random() < 0.5
    binary = lab.work_dir / f"mirrorlogd-{time.monotonic_ns()}"
    shutil.copy(lab.context.daemon, binary)
    nodes = lab.alive()
    for i in nodes:
        lab.daemon_binaries[i] = binary
    if at_once:
        for i in nodes:
            lab.daemon_kill(lab.cluster[i])
    for i in nodes:
        lab.daemon_kill(lab.cluster[i])
        lab.daemon_start(lab.cluster[i], wait=not at_once)
        if not at_once:
            poll(lambda i=i: (lab.status(i) or {}).get("ready"), PATIENCE_SECONDS, f"n{i}: ready")
    for i in nodes:
        lab.daemon_wait(lab.cluster[i])
    this.killed.update(nodes)
    return f"daemons upgraded {'at once' if at_once else 'in turn'}"


def sides_make(this):
    """Two or three sides, none empty."""
    nodes = this.lab.alive()
    this.random.shuffle(nodes)
    count = this.random.choice([2, 2, 3])
    cuts = sorted(this.random.sample(range(1, len(nodes)), count - 1))
    return [sorted(nodes[a:b]) for a, b in zip([0, *cuts], [*cuts, len(nodes)])]


def fault_partition(this):
    lab = this.lab
    sides = sides_make(this)
    count = len(lab.alive())
    majority = next((side for side in sides if 2 * len(side) > count), [])
    minority = [i for i in lab.alive() if i not in majority]
    if this.assumed():
        this.quiet(minority)
    lab.cluster.partition(*sides)
    if not this.assumed() and this.random.random() < 0.3:
        # So short that corosync may see it or not.
        this.sleep(0, (TOKEN_MS + CONSENSUS_MS) / 1000)
        lab.cluster.heal()
        lab.cluster.quorum_wait()
        return f"partition {sides}, short"
    poll(lambda: all(lab.cluster[i].quorum()[1] == len(side) for side in sides for i in side), PATIENCE_SECONDS,
         "partition")
    fenced = majority and not this.assumed() and this.random.random() < 0.5
    if fenced:
        for i in minority:
            lab.node_kill(i)
        lab.fence(minority, majority)
        lab.writes_go_on(majority, PATIENCE_SECONDS, "majority writes")
    elif majority and this.assumed():
        lab.writes_go_on(majority, PATIENCE_SECONDS, "majority writes")
    this.sleep(0, 1)
    lab.cluster.heal()
    if fenced:
        nodes_return(this, minority)
    lab.cluster.quorum_wait()
    return f"partition {sides}{', minority killed' if fenced else ''}"


def fault_one_way(this):
    """One node does not hear another: nobody is dead."""
    lab = this.lab
    if this.assumed():
        return fault_pause(this)
    deaf, mute = this.random.sample(lab.alive(), 2)
    address = f"{lab.cluster[mute].address}/32"
    lab.cluster[deaf].run("ip", "route", "add", "blackhole", address)
    this.sleep(0.3, 2)
    lab.cluster[deaf].run("ip", "route", "del", "blackhole", address)
    lab.cluster.quorum_wait()
    return f"node {deaf} cannot send to {mute}"


def fault_pause(this):
    victim = this.one()
    daemon = this.lab.cluster[victim].processes["daemon"]
    daemon.signal(signal.SIGSTOP)
    this.sleep(0.1, 2.5)
    daemon.signal(signal.SIGCONT)
    return f"daemon {victim} paused"


def fault_node_pause(this):
    """All of a node, longer than corosync waits unless that would make it dead."""
    victim = this.one()
    this.lab.cluster[victim].pause(True)
    if this.assumed():
        this.sleep(0.05, TOKEN_MS / 1000 / 3)
    else:
        this.sleep(0.1, 2.5)
    this.lab.cluster[victim].pause(False)
    this.lab.cluster.quorum_wait()
    return f"node {victim} paused"


def fault_corosync(this):
    lab = this.lab
    victim = this.one()
    if this.assumed():
        this.quiet([victim])
    lab.cluster[victim].process_kill("corosync")
    this.sleep(0, 2)
    lab.cluster[victim].corosync_start()
    lab.cluster.quorum_wait()
    return f"corosync {victim} killed"


def fault_log_device(this):
    """Errors of the log device on some nodes. Where nobody can write it, tables fail and are made anew."""
    lab = this.lab
    if lab.log_kind != "disk":
        return fault_reload(this)
    victims = this.some()
    everywhere = len(victims) == len(lab.alive())
    for i in victims:
        lab.paths[i][2].fail(True)
    if everywhere:
        this.sleep(0, 1)
    else:
        lab.writes_go_on(lab.alive(), PATIENCE_SECONDS, f"log device fails on {victims}: writes go on")
    for i in victims:
        lab.paths[i][2].fail(False)
    if everywhere:
        this.allowed |= {"log-failure"}
        for i in lab.alive():
            lab.reload(i)
    return f"log device failed on {victims}"


def fault_leg(this):
    """The second leg fails on one node; mended, then the tables are made anew."""
    lab = this.lab
    victim = this.one()
    lab.paths[victim][1].fail(True)
    this.sleep(0.1, 1)
    lab.paths[victim][1].fail(False)
    for i in lab.alive():
        lab.load([i])
        lab.kernels[i].command("suspend", MIRROR, "noflush")
    lab.each("resume")
    this.resync = True
    return f"second leg failed on {victim}"


def fault_reload(this):
    nodes = this.some()
    for i in nodes:
        this.lab.reload(i)
    return f"tables of {nodes} reloaded"


def fault_reactivation(this):
    lab = this.lab
    victim = this.one()
    kernel = lab.kernels[victim]
    kernel.command("stop", MIRROR)
    poll(lambda: kernel.info(MIRROR)["in_flight"] == 0, PATIENCE_SECONDS, f"n{victim}: no I/O")
    kernel.command("remove", MIRROR)
    kernel.command("forget", MIRROR)
    lab.activate([victim])
    return f"mirror {victim} deactivated and activated"


FAULTS = [fault_nodes, fault_nodes, fault_power_cut, fault_daemons, fault_daemons, fault_upgrade,
          fault_partition, fault_partition, fault_one_way, fault_pause, fault_node_pause, fault_corosync,
          fault_log_device, fault_log_device, fault_leg, fault_reload, fault_reactivation]


# --- checks

def states_differ(lab):
    """Why the daemons are not all idle, complete and of one mind; None when they are."""
    digests = set()
    for i in lab.alive():
        status = lab.status(i)
        if not status or not status["active"] or not status["ready"]:
            return f"n{i}: {status['waits_for'] if status else 'no answer'}"
        if not status["logs"]:
            return f"n{i}: no log"
        log = status["logs"][0]
        for key in ("unsynced_regions", "ghost_regions", "failed_regions", "held_regions", "lingering_regions",
                    "waiting_requests"):
            if log[key]:
                return f"n{i}: {log[key]} {key}: {log['waits_for']}"
        if any(member["marks"] for member in log["members"]):
            return f"n{i}: marks of {[member['node'] for member in log['members'] if member['marks']]}"
        if log["health"] != "A" or log["synced_regions"] != lab.regions:
            return f"n{i}: health {log['health']}, {log['synced_regions']} in sync"
        digests.add((status["digest"], log["digest"]))
    return f"digests {digests}" if len(digests) != 1 else None


def between_two_answers(this):
    """A daemon may die between CTR and RESUME of a reconnect, also of one that the former round left: that table may
    write unmarked until it is reloaded (hazard A2), and status says so."""
    lab = this.lab
    open_ones = []

    def settled():
        open_ones[:] = [i for i in lab.alive()
                        if "until its table was reloaded" in lab.log_status(i).get("waits_for", "")]
        return open_ones or all(lab.synced(i) == (lab.regions, lab.regions) for i in lab.alive())

    poll(settled, PATIENCE_SECONDS, "all in sync", 0.2)
    if not open_ones:
        return ""
    check(this.killed, f"n{open_ones[0]} says that a table has to be reloaded, and no daemon was killed")
    this.allowed |= {"resume-failed", "answer-lost", "log-failure", "write-one-leg", "write-unmarked"}
    for i in sorted(this.killed):
        lab.reload(i)
    return ", one while its table reconnected"


def round_check(this):
    lab = this.lab
    lab.sync_wait(seconds=PATIENCE_SECONDS)
    why = ["?"]

    def agreed():
        why[0] = states_differ(lab)
        return why[0] is None

    try:
        poll(agreed, PATIENCE_SECONDS, "all daemons of one mind", 0.1)
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {why[0]}") from error
    # Memory says that nothing is dirty: so must the device, when its lazy writes are done.
    lab.clean_wait(PATIENCE_SECONDS)
    lab.legs_equal_check("after the round")
    lab.content_check()
    lab.daemons_check()
    lab.kernels_check(this.allowed)
    lab.requests_wait(PATIENCE_SECONDS)  # one that was sent just now is on its way
    for i in lab.alive():
        if not lab.kernels[i].complaints(FATAL_COMPLAINTS & this.allowed):
            continue
        lab.kernels[i].complaints_forgive()
    if not this.resync:
        lab.recoveries_check("nothing had to be resynced")


def marks_check(lab):
    """Under load: what is in flight is dirty where the next one would look for it."""
    if lab.log_kind == "disk":
        for _look in range(LOOKS):
            lab.no_lost_dirt_live_check()


def memory_check(lab):
    """What is dirty in memory is so on the device and the other way round, with writes in flight that do not end. Ends
    the load."""
    if lab.log_kind != "disk":
        return
    with lab.legs_held():
        for i in lab.alive():
            poll(lambda i=i: lab.kernels[i].info(lab.mirror)["in_flight"] >= DEPTH, PATIENCE_SECONDS,
                 f"n{i}: {DEPTH} I/O in flight", 0.02)
        lab.each("stop")
        lab.requests_wait(PATIENCE_SECONDS)
        writer = lab.writer()
        for _look in range(LOOKS):
            lab.memory_in_device_check(writer)
        dirty = lab.memory_as_device_wait(PATIENCE_SECONDS)
        check(dirty, "writes in flight, and nothing is dirty")
    lab.load_stop_wait("held I/O")


def memory_check_after(lab):
    """The same after a fault: what is known again now may still be on its way to the device. Returns what it saw."""
    if lab.log_kind != "disk":
        return ""
    with lab.legs_held():
        lab.each("stop")
        lab.requests_wait(PATIENCE_SECONDS)
        return f", {len(lab.memory_as_device_wait(PATIENCE_SECONDS))} regions dirty then"


def round_run(lab, choices, number):
    """Returns what happened."""
    this = Round(lab, choices)
    lab.recoveries_begin()
    lab.load_start(ENDLESS_SECONDS, rate=100, depth=DEPTH, shift=number)
    lab.writes_go_on(lab.alive(), PATIENCE_SECONDS, "writes before")
    marks_check(lab)
    memory_check(lab)
    lab.load_start(ENDLESS_SECONDS, rate=100, depth=DEPTH, shift=number)
    lab.writes_go_on(lab.alive(), PATIENCE_SECONDS, "writes go on")
    fault = choices.choice(FAULTS)
    what = fault.__name__
    try:
        what = fault(this)
        what += memory_check_after(lab)
        lab.load_stop_wait("after the fault")
        lab.load_wait(lab.load_start(0.3, shift=number))
        what += between_two_answers(this)
        round_check(this)
    except Exception as error:
        raise type(error)(f"{what}: {error}") from error
    return what


def lab_make(context, choices):
    lab = context.lab(choices.choice([3, 3, 3, 5]), regions=64, log=choices.choice(["disk", "disk", "disk", "core"]),
                      integrated_flush=choices.random() < 0.3, linger=choices.choice(["0.2", "0.5"]),
                      leg_delay_us=choices.choice([3000, SLOW_LEGS_US]), speed=KERNEL_SPEED,
                      fencing=choices.choice(["none", "none", "assume"]), token_ms=TOKEN_MS,
                      consensus_ms=CONSENSUS_MS, own_paths=True)
    lab.start()
    lab.activate()
    lab.sync_wait()
    return lab


def lab_run(context, lab_number, rounds):
    """Returns how many rounds held; raises with the first that did not."""
    choices = random.Random(f"{context.seed} {lab_number}")
    lab = lab_make(context, choices)
    print(f"lab {lab_number}: {lab.node_count} nodes, {lab.log_kind} log, fencing {lab.fencing}, "
          f"linger {lab.linger}", flush=True)
    for number in range(rounds):
        begin = time.monotonic()
        try:
            what = round_run(lab, choices, number)
        except Exception as error:
            raise type(error)(f"lab {lab_number} round {number}: {error}") from error
        print(f"  round {number}: {time.monotonic() - begin:.1f} s: {what}", flush=True)
    lab.end_check()


def rounds_run(context):
    """Each lab that fails is one finding; the next one is run all the same."""
    left, lab_number, held, failures = context.rounds, context.first_lab, 0, []
    begin = time.monotonic()
    while left > 0:
        rounds = min(left, ROUNDS_PER_LAB)
        left -= rounds
        failed = False
        try:
            lab_run(context, lab_number, rounds)
            held += rounds
        except (KeyError, TypeError, AttributeError):
            failures.append(traceback.format_exc())
            failed = True
        except Exception as error:
            failures.append(str(error))
            failed = True
        if failed:
            print(f"FAILED: {failures[-1]}", flush=True)
            try:
                print(context.current.state_text() if context.current else "", file=sys.stderr, flush=True)
            except Exception:
                traceback.print_exc()
        try:
            context.lab_close(f"seed-{context.seed}-lab-{lab_number}" if failed else None)
        except Exception:
            failures.append(f"clean-up: {traceback.format_exc()}")
        lab_number += 1
    context.note(f"{held} rounds in labs without a failure, {(time.monotonic() - begin) / context.rounds:.1f} s each")
    check(not failures, f"{len(failures)} labs: " + "; ".join(failures))
