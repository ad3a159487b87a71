# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests. Each is a function of a context that makes its own Lab; its name with dashes is the test's name.

What each ends with, Lab.end_check(): tables removed in order, no error of any write, legs equal, log device all clean,
each block as it was written, no complaint of the kernel that means lost data.
"""

import pathlib
import signal
import time

from netnscluster.checker_tests import checkers_failures
from netnscluster.cluster import poll
from netnscluster.lab import MIRROR, check
from netnscluster.stand_in import CommandFailed

TESTS = []

# Where nodes die: the two writes to the legs are so far apart that a death nearly always falls between some of them.
SLOW_LEGS_US = 40000


def test(function):
    TESTS.append(function)
    return function


def name_of(function):
    return function.__name__.replace("_", "-")


@test
def checkers_find_faults(context):
    """Forged legs and log devices: the checks of this suite see what is wrong with them, and nothing else."""
    failures = checkers_failures(pathlib.Path(context.work_dir))
    check(not failures, "; ".join(failures))


@test
def quorum_and_partition(context):
    """The ground all else stands on: corosync alone, sixteen nodes, two halves, one again."""
    lab = context.lab(16)
    lab.cluster.partition(range(1, 10), range(10, 17))
    poll(lambda: lab.cluster[1].quorum() == (True, 9) and lab.cluster[16].quorum() == (False, 7), 20, "two halves")
    lab.cluster.heal()
    lab.cluster.quorum_wait()


# --- the main job

def _main_job(context, seconds=6, **options):
    lab = context.lab(3, **options)
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.legs_equal_check("all in sync")
    started = lab.load_start(seconds)
    time_end = time.monotonic() + seconds
    while lab.log_kind == "disk" and time.monotonic() < time_end:
        lab.no_lost_dirt_live_check()
        time.sleep(0.2)
    lab.load_wait(started)
    lab.quiet_check()
    lab.clean_wait()
    lab.end_check()
    lab.daemons_stop()


@test
def main_job_disk_log(context):
    """Three nodes: activation, full resync, writes of all to the same regions, deactivation."""
    _main_job(context)


@test
def main_job_core_log(context):
    _main_job(context, log="core")


@test
def main_job_version_2(context):
    """The messages of kernels before 3.14."""
    _main_job(context, seconds=3, version=2)


@test
def main_job_integrated_flush(context):
    _main_job(context, seconds=5, integrated_flush=True)


@test
def main_job_knet(context):
    _main_job(context, seconds=3, transport="knet")


@test
def writes_during_resync(context):
    """Regions that are not in sync are written to while they are copied."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    started = lab.load_start(5, rate=50)
    lab.sync_wait(seconds=90)
    lab.load_wait(started, seconds=90)
    lab.clean_wait()
    lab.end_check()


@test
def alone_without_cluster(context):
    """--cluster=none: one host, no corosync."""
    lab = context.lab(1, cluster="none")
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.load_wait(lab.load_start(3))
    lab.quiet_check()
    lab.clean_wait()
    lab.end_check()
    lab.daemons_stop()


@test
def reload_under_io(context):
    """A table is replaced by the same one on each node while all write."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    started = lab.load_start(6)
    for i in lab.alive():
        kernel = lab.kernels[i]
        lab.writes_go_on([i], 10, f"n{i}: writes before the reload")
        kernel.command("load", MIRROR, lab.table)
        kernel.command("suspend", MIRROR, "noflush")
        kernel.command("resume", MIRROR)
        lab.writes_go_on([i], 10, f"n{i}: writes after the reload")
    lab.load_wait(started)
    lab.quiet_check()
    lab.clean_wait()
    lab.end_check()


# --- joins

@test
def join_under_load(context):
    """A third node activates while two write; it sees the regions in sync and its writes count."""
    lab = context.lab(3)
    lab.start()
    lab.activate([1, 2])
    lab.sync_wait([1, 2])
    started = lab.load_start(6, nodes=[1, 2])
    lab.writes_go_on([1, 2], 10, "writes before the join")
    lab.activate([3])
    check(lab.synced(3) == (lab.regions, lab.regions), f"the joiner sees {lab.synced(3)} regions in sync")
    started += lab.load_start(3, nodes=[3])
    lab.load_wait(started)
    lab.quiet_check()
    lab.clean_wait()
    lab.end_check()


@test
def joins_at_once(context):
    """Daemons of five nodes start at the same moment, and so do their mirrors, under a load of the first."""
    lab = context.lab(6)
    lab.start([1])
    lab.activate([1])
    lab.sync_wait([1])
    started = lab.load_start(8, nodes=[1])
    others = [2, 3, 4, 5, 6]
    lab.start(others)
    lab.activate(others)
    started += lab.load_start(3, nodes=others, rate=60)
    lab.load_wait(started)
    lab.quiet_check()
    for i in others:
        check(lab.synced(i) == (lab.regions, lab.regions), f"n{i} sees {lab.synced(i)} regions in sync")
    lab.clean_wait()
    lab.end_check()


# --- daemons that die, are late, or stop

@test
def daemon_restart_under_io(context):
    """A daemon is killed and started again under load, then all at once. What a kernel had asked the dead one it asks
    again after its 15 s: that is how long this takes."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    for victims in ([context.random.choice(lab.alive())], [1, 2, 3]):
        started = lab.load_start(3)
        lab.writes_go_on(lab.alive(), 15, "writes before the kill")
        for i in victims:
            lab.daemon_kill(lab.cluster[i])
        lab.no_lost_dirt_live_check()
        for i in victims:
            lab.daemon_start(lab.cluster[i])
        lab.load_wait(started, seconds=60)
        lab.kernels_check()
    for i in lab.alive():
        check(lab.synced(i) == (lab.regions, lab.regions), f"n{i}: {lab.synced(i)}: something is resynced")
    lab.clean_wait()
    lab.end_check()


@test
def daemon_restart_core_log(context):
    """The same for a core log, one daemon."""
    lab = context.lab(3, log="core")
    lab.start()
    lab.activate()
    lab.sync_wait()
    for i in context.random.sample(lab.alive(), 1):
        started = lab.load_start(3)
        lab.writes_go_on(lab.alive(), 15, "writes before the kill")
        lab.daemon_kill(lab.cluster[i])
        lab.daemon_start(lab.cluster[i])
        lab.load_wait(started, seconds=60)
        lab.kernels_check()
    lab.end_check()


@test
def daemon_late(context):
    """Without a daemon a table cannot be made; a daemon that is lost is found again by the kernel's reconnect loop."""
    lab = context.lab(3)
    lab.start([2, 3])
    lab.start([1], daemons=False)
    kernel = lab.kernels[1]
    kernel.command("create", MIRROR)
    try:
        kernel.command("load", MIRROR, lab.table)
        check(False, "a table was made without a daemon")
    except CommandFailed:
        pass
    lab.daemon_start(lab.cluster[1])
    kernel.command("load", MIRROR, lab.table)
    kernel.command("resume", MIRROR)
    lab.activate([2, 3])
    lab.sync_wait()
    lab.daemon_kill(lab.cluster[1])
    number = kernel.send("write", MIRROR, 5)
    poll(lambda: kernel.complaints({"server-lost"}), 10, "the kernel notices that nobody listens")
    lab.daemon_start(lab.cluster[1])
    kernel.wait(number, 20, "the write that waited for a daemon")
    check(kernel.complaints({"reconnected"}), "no reconnect")
    lab.clean_wait()
    lab.end_check()


@test
def daemon_stopped_16_s(context):
    """The kernel asks again after 15 s; the newest copy of each request is answered, and all others are not waited for."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    started = lab.load_start(22, nodes=[1], rate=50)
    lab.writes_go_on([1], 10, "writes before the stop")
    daemon = lab.cluster[1].processes["daemon"]
    daemon.signal(signal.SIGSTOP)
    poll(lambda: lab.kernels[1].complaints({"timeout"}), 20, "the kernel asks again", 0.2)
    time.sleep(0.5)
    daemon.signal(signal.SIGCONT)
    lab.writes_go_on([1], 3, "writes go on without the next 15 s")
    lab.load_wait(started)
    lab.clean_wait()
    lab.end_check()


@test
def malformed_messages(context):
    """Messages that no kernel sends: the daemon survives, says no, and changes nothing."""
    lab = context.lab(2)
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.clean_wait()
    kernel = lab.kernels[1]
    started = lab.load_start(3, rate=50)
    for _round in range(10):
        kernel.command("malformed", MIRROR, context.random.getrandbits(31), 300)
        lab.daemons_check()
    lab.load_wait(started)
    info = kernel.info(MIRROR)
    check(info["malformed_replies"] > 0, "not one malformed message was answered")
    check(info["malformed_accepted"] == 0, f"{info['malformed_accepted']} malformed messages were answered with success")
    lab.quiet_check()
    for i in lab.alive():
        check(lab.synced(i) == (lab.regions, lab.regions), f"n{i}: {lab.synced(i)} after malformed messages")
    lab.clean_wait()
    lab.end_check()


# --- nodes and networks

def _node_kill(context, victims, nodes=3, **options):
    lab = context.lab(nodes, leg_delay_us=SLOW_LEGS_US, **options)
    lab.start()
    lab.activate()
    lab.sync_wait()
    survivors = [i for i in lab.alive() if i not in victims]
    started = lab.load_start(8, rate=250, depth=16)
    lab.writes_go_on(lab.alive(), 15, "writes before the kill")
    time.sleep(context.random.uniform(0.1, 0.6))
    lab.waits_reset(survivors)
    for i in victims:
        lab.node_kill(i)
    context.note(f"{lab.torn_blocks(victims)} blocks of the dead on one leg only")
    if lab.log_kind == "disk":
        lab.no_lost_dirt_live_check()
    detection = lab.detection_wait(survivors, nodes - len(victims))
    lab.writes_go_on(survivors, 5, "survivors write")
    lab.load_wait(started)
    longest = lab.wait_longest_ms(survivors) / 1000
    check(longest <= detection + 1, f"a survivor's write waited {longest:.2f} s, detection took {detection:.2f} s")
    context.note(f"detection {detection:.2f} s, longest write {longest:.2f} s")
    # What the dead had marked is copied without any help, then all is clean.
    lab.clean_wait()
    lab.sync_wait(seconds=30)
    lab.legs_equal_check("repaired")
    lab.kernels_check()
    lab.content_check()
    return lab


@test
def node_kill(context):
    """A node dies under load at a random moment; the others go on; it comes back and writes again."""
    for _round in range(context.rounds):
        victim = context.random.choice([1, 2, 3])
        lab = _node_kill(context, [victim])
        lab.node_return(victim)
        check(lab.synced(victim) == (lab.regions, lab.regions), f"back, it sees {lab.synced(victim)} regions in sync")
        lab.load_wait(lab.load_start(2))
        lab.clean_wait()
        lab.end_check()
        context.lab_close()


@test
def node_kill_core_log(context):
    lab = _node_kill(context, [context.random.choice([1, 2, 3])], log="core")
    lab.end_check()


@test
def two_nodes_killed_of_five(context):
    lab = _node_kill(context, context.random.sample([1, 2, 3, 4, 5], 2), nodes=5)
    lab.end_check()


@test
def power_cut_of_all(context):
    """All nodes die under load; after the restart what differs is copied, and nothing acknowledged is lost."""
    lab = context.lab(3, leg_delay_us=SLOW_LEGS_US)
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.load_start(60, rate=250, depth=16)
    lab.writes_go_on(lab.alive(), 15, "writes before the cut")
    time.sleep(context.random.uniform(0.1, 0.6))
    for i in lab.alive():
        lab.node_kill(i)
    context.note(f"{lab.torn_blocks(lab.everybody)} blocks on one leg only")
    lab.no_lost_dirt_check()
    lab.content_check()
    dirty = len(lab.dirty_regions())
    for node in lab.cluster:
        node.reboot()
        node.corosync_start()
    lab.cluster.quorum_wait()
    lab.start()
    lab.activate()
    check(lab.synced(1)[0] >= lab.regions - dirty, f"{lab.synced(1)} in sync, only {dirty} regions were dirty")
    lab.sync_wait()
    lab.legs_equal_check("copied")
    lab.content_check()
    lab.load_wait(lab.load_start(2, shift=1))
    lab.clean_wait()
    lab.end_check()


@test
def partition_minority_holds(context):
    """One node of three is cut off: it answers no new mark until it is back, and its kernel sees no error."""
    lab = context.lab(3, linger="0.2")
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.load_wait(lab.load_start(1))
    lab.clean_wait()
    lab.cluster.partition([1, 2], [3])
    poll(lambda: lab.cluster[3].quorum() == (False, 1) and lab.cluster[1].quorum() == (True, 2), 15, "partition")
    held = lab.kernels[3].send("write", MIRROR, 9)
    lab.load_wait(lab.load_start(2, nodes=[1, 2]))
    check(not lab.kernels[3].answered(held), "a node without quorum let a write through")
    lab.cluster.heal()
    lab.cluster.quorum_wait()
    lab.kernels[3].wait(held, 40, "the held write, once quorum is back")
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.kernels_check()
    lab.end_check()


@test
def quorum_lost_everywhere(context):
    """Three single nodes: nobody goes on, nobody fails, and all go on afterwards."""
    lab = context.lab(3, linger="0.2")
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.clean_wait()
    lab.cluster.partition([1], [2], [3])
    poll(lambda: all(node.quorum() == (False, 1) for node in lab.cluster), 15, "three partitions")
    held = {i: lab.kernels[i].send("write", MIRROR, 20 + i) for i in lab.alive()}
    time.sleep(1)
    for i, number in held.items():
        check(not lab.kernels[i].answered(number), f"n{i}, without quorum, let a write through")
    lab.cluster.heal()
    lab.cluster.quorum_wait()
    for i, number in held.items():
        lab.kernels[i].wait(number, 40, "the held write, once quorum is back")
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.end_check()


@test
def corosync_restart(context):
    """corosync of one node is killed under the daemon and started again."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    started = lab.load_start(8)
    lab.writes_go_on(lab.alive(), 15, "writes before the kill")
    node = lab.cluster[2]
    node.process_kill("corosync")
    poll(lambda: lab.cluster[1].quorum() == (True, 2), 15, "corosync of the others notices")
    lab.writes_go_on([1, 3], 10, "the others write")
    lab.daemons_check()
    node.corosync_start()
    lab.cluster.quorum_wait()
    lab.load_wait(started, seconds=60)
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.end_check()


@test
def sixteen_nodes(context):
    """The largest cluster: corosync alone in all, daemons and mirrors in all."""
    lab = context.lab(16)
    lab.start()
    lab.activate()
    lab.sync_wait([1, 16], seconds=90)
    lab.load_wait(lab.load_start(3, rate=20, depth=2), seconds=60)
    lab.clean_wait()
    lab.end_check()


@test
def leg_fails_on_one_node(context):
    """A path to the second leg fails on one node; the others write on; after a reload everywhere all is copied."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    kernel = lab.kernels[1]
    kernel.command("leg", MIRROR, 1, 1)
    held = kernel.send("write", MIRROR, 34)
    poll(lambda: kernel.complaints({"leg-failure"}), 15, "the failing leg is noticed")
    lab.load_wait(lab.load_start(2, nodes=[2, 3]))
    lab.no_lost_dirt_live_check()
    kernel.command("leg", MIRROR, 1, 0)
    for i in lab.alive():
        lab.kernels[i].command("load", MIRROR, lab.table)
        lab.kernels[i].command("suspend", MIRROR, "noflush")
    lab.each("resume")
    kernel.wait(held, 30, "the write that was held for the failed leg")
    lab.sync_wait()
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.end_check()


# --- all of it, as the seed says

def _fault_daemons(context, lab):
    victims = context.random.sample(lab.alive(), context.random.randint(1, len(lab.alive())))
    for i in victims:
        lab.daemon_kill(lab.cluster[i])
    time.sleep(context.random.uniform(0, 1))
    for i in victims:
        lab.daemon_start(lab.cluster[i])
    return f"daemons {victims} killed"


def _fault_pause(context, lab):
    victim = context.random.choice(lab.alive())
    daemon = lab.cluster[victim].processes["daemon"]
    daemon.signal(signal.SIGSTOP)
    time.sleep(context.random.uniform(0.1, 4))
    daemon.signal(signal.SIGCONT)
    return f"daemon {victim} paused"


def _fault_node(context, lab):
    victim = context.random.choice(lab.alive())
    count = len(lab.alive()) - 1
    lab.node_kill(victim)
    lab.no_lost_dirt_live_check()
    lab.detection_wait(lab.alive(), count)
    lab.writes_go_on(lab.alive(), 10, f"survivors of node {victim} write")
    lab.node_return(victim)
    return f"node {victim} killed"


def _fault_partition(context, lab):
    victim = context.random.choice(lab.alive())
    others = [i for i in lab.alive() if i != victim]
    # Fencing is assumed, so what is cut off must behave as if it were dead: its kernel may not be writing.
    lab.kernels[victim].command("stop", MIRROR)
    poll(lambda: lab.kernels[victim].info(MIRROR)["in_flight"] == 0, 20, f"n{victim}: no I/O")
    lab.cluster.partition(others, [victim])
    poll(lambda: lab.cluster[victim].quorum()[0] is False and lab.cluster[others[0]].quorum() == (True, len(others)),
         15, "partition")
    lab.writes_go_on(others, 10, "majority writes")
    time.sleep(context.random.uniform(0, 1))
    lab.cluster.heal()
    lab.cluster.quorum_wait()
    return f"node {victim} cut off"


def _fault_corosync(context, lab):
    victim = context.random.choice(lab.alive())
    others = [i for i in lab.alive() if i != victim]
    lab.cluster[victim].process_kill("corosync")
    lab.detection_wait(others, len(others))
    lab.cluster[victim].corosync_start()
    lab.cluster.quorum_wait()
    return f"corosync {victim} killed"


def _fault_reactivation(context, lab):
    victim = context.random.choice(lab.alive())
    kernel = lab.kernels[victim]
    kernel.command("stop", MIRROR)
    poll(lambda: kernel.info(MIRROR)["in_flight"] == 0, 20, f"n{victim}: no I/O")
    kernel.command("remove", MIRROR)
    kernel.command("forget", MIRROR)
    lab.activate([victim])
    return f"mirror {victim} deactivated and activated"


@test
def random_faults(context):
    """One fault a round, under load; after each round all of it is checked. More with --rounds."""
    faults = [_fault_daemons, _fault_pause, _fault_node, _fault_partition, _fault_corosync, _fault_reactivation]
    lab = context.lab(3, leg_delay_us=SLOW_LEGS_US)
    lab.start()
    lab.activate()
    lab.sync_wait()
    for round_number in range(4 * context.rounds):
        lab.load_start(3600, rate=100, shift=round_number)
        lab.writes_go_on(lab.alive(), 20, f"round {round_number}: writes before")
        what = context.random.choice(faults)(context, lab)
        lab.load_stop_wait(f"round {round_number}: {what}")
        lab.load_wait(lab.load_start(0.5), seconds=40)
        try:
            lab.clean_wait(60)
            lab.sync_wait(seconds=60)
            lab.legs_equal_check("after the round")
            lab.content_check()
            lab.kernels_check()
        except Exception as error:
            raise type(error)(f"round {round_number}: {what}: {error}") from error
    lab.end_check()
