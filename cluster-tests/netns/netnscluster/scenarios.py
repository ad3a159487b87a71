# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests. Each is a function of a context that makes its own Lab; its name with dashes is the test's name.

What each ends with, Lab.end_check(): tables removed in order, no error of any write, legs equal, log device all clean,
each block as it was written, no complaint of the kernel that means lost data.
"""

import pathlib
import signal
import time

from netnscluster import log_image
from netnscluster.checker_tests import checkers_failures
from netnscluster.cluster import poll
from netnscluster.lab import MIRROR, CheckFailed, check
from netnscluster.rounds import DEPTH, memory_check, rounds_run
from netnscluster.stand_in import CommandFailed
from netnscluster.write_hang import WriteHang

TESTS = []

# A load that is ended by the test. Bounds of waits are for what never happens: a machine may be busy.
ENDLESS_SECONDS = 3600
# A request that is lost is asked again by the kernel after 15 s. Whoever goes on before did not wait for that.
BEFORE_RESEND_SECONDS = 12

# Writes to regions that nobody has marked, one after the other; what a busy machine may add to the longest of them. Who
# waits for a device that hangs waits for all of the hang.
NEW_MARKS = 60
BUSY_SECONDS = 1

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
    poll(lambda: lab.cluster[1].quorum() == (True, 9) and lab.cluster[16].quorum() == (False, 7), 90, "two halves")
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
    started = lab.load_start(ENDLESS_SECONDS, rate=50)
    lab.sync_wait()
    lab.load_end(started)
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
    started = lab.load_start(ENDLESS_SECONDS)
    for i in lab.alive():
        lab.writes_go_on([i], BEFORE_RESEND_SECONDS, f"n{i}: writes before the reload")
        lab.reload(i)
        lab.writes_go_on([i], BEFORE_RESEND_SECONDS, f"n{i}: writes after the reload")
    lab.load_end(started)
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
    started = lab.load_start(ENDLESS_SECONDS, nodes=[1, 2])
    lab.writes_go_on([1, 2], 60, "writes before the join")
    lab.activate([3])
    check(lab.synced(3) == (lab.regions, lab.regions), f"the joiner sees {lab.synced(3)} regions in sync")
    started += lab.load_start(ENDLESS_SECONDS, nodes=[3])
    lab.writes_go_on(lab.alive(), 60, "all three write")
    time.sleep(2)
    lab.load_end(started)
    lab.quiet_check()
    lab.clean_wait()
    lab.end_check()


@test
def joins_at_once(context):
    """Daemons of five nodes start at the same moment, and so do their mirrors, under a load of the first."""
    lab = context.lab(6)
    others = [2, 3, 4, 5, 6]
    lab.start([1])
    # Their mirrors are not active, and nobody but the administrator knows.
    lab.fence(others, [1])
    lab.activate([1])
    lab.sync_wait([1])
    started = lab.load_start(ENDLESS_SECONDS, nodes=[1])
    lab.start(others)
    lab.activate(others)
    started += lab.load_start(ENDLESS_SECONDS, nodes=others, rate=60)
    lab.writes_go_on(lab.alive(), 60, "all six write")
    time.sleep(2)
    lab.load_end(started)
    lab.quiet_check()
    for i in others:
        check(lab.synced(i) == (lab.regions, lab.regions), f"n{i} sees {lab.synced(i)} regions in sync")
    lab.clean_wait()
    lab.end_check()


# --- daemons that die, are late, or stop

@test
def daemon_restart_under_io(context):
    """A daemon is killed and started again under load, then all at once. What a kernel had asked the dead one it would
    ask again after its 15 s; the next daemon tells it to do so at once."""
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    for victims in ([context.random.choice(lab.alive())], [1, 2, 3]):
        lab.recoveries_begin()
        started = lab.load_start(ENDLESS_SECONDS)
        lab.writes_go_on(lab.alive(), 60, "writes before the kill")
        killed = time.monotonic()
        for i in victims:
            lab.daemon_kill(lab.cluster[i])
        lab.no_lost_dirt_live_check()
        for i in victims:
            lab.daemon_start(lab.cluster[i])
        lab.writes_go_on(lab.alive(), killed + BEFORE_RESEND_SECONDS - time.monotonic(), "writes after the restart")
        lab.load_end(started)
        lab.kernels_check()
        # What was dirty on the device alone when a daemon took it over is repaired, by a daemon.
        lab.sync_wait()
        lab.recoveries_check(f"daemons {victims} killed")
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
        lab.recoveries_begin()
        started = lab.load_start(ENDLESS_SECONDS)
        lab.writes_go_on(lab.alive(), 60, "writes before the kill")
        killed = time.monotonic()
        lab.daemon_kill(lab.cluster[i])
        lab.daemon_start(lab.cluster[i])
        lab.writes_go_on(lab.alive(), killed + BEFORE_RESEND_SECONDS - time.monotonic(), "writes after the restart")
        lab.load_end(started)
        lab.kernels_check()
        lab.sync_wait()
        lab.recoveries_check(f"daemon {i} killed")
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
        lab.load([1])
        check(False, "a table was made without a daemon")
    except CommandFailed:
        pass
    lab.daemon_start(lab.cluster[1])
    lab.load([1])
    kernel.command("resume", MIRROR)
    lab.activate([2, 3])
    lab.sync_wait()
    lab.daemon_kill(lab.cluster[1])
    number = kernel.send("write", MIRROR, 5)
    poll(lambda: kernel.complaints({"server-lost"}), 60, "the kernel notices that nobody listens")
    lab.daemon_start(lab.cluster[1])
    kernel.wait(number, 90, "the write that waited for a daemon")
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
    started = lab.load_start(ENDLESS_SECONDS, nodes=[1], rate=50)
    lab.writes_go_on([1], 60, "writes before the stop")
    daemon = lab.cluster[1].processes["daemon"]
    daemon.signal(signal.SIGSTOP)
    poll(lambda: lab.kernels[1].complaints({"timeout"}), 90, "the kernel asks again", 0.2)
    daemon.signal(signal.SIGCONT)
    lab.writes_go_on([1], BEFORE_RESEND_SECONDS, "writes go on without the next 15 s")
    lab.load_end(started)
    lab.clean_wait()
    lab.end_check()


@test
def daemon_killed_in_a_hung_write(context):
    """A killed daemon whose write of the log device hangs can still write it: nobody else does before that write has ended
    (guarantee 6, hazard A14). Its successor is there at once, and serves what needs no log device."""
    WriteHang.needed()
    lab = context.lab(3)
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.clean_wait()
    writer = lab.writer()
    node, other = lab.cluster[writer], next(i for i in lab.alive() if i != writer)
    old = node.processes.pop("daemon")
    with WriteHang(old.pid, lab.log.number) as hang:
        number = lab.kernels[other].send("write", MIRROR, 5)
        poll(hang.hangs, 60, "a write of the log device hangs")
        old.signal(signal.SIGKILL)
        poll(lambda: hang.zombie() and hang.hangs(), 60, "the daemon is dead but for that write")
        lab.daemon_start(node)
        poll(lambda: (lab.status(writer) or {}).get("ready"), 60, "its successor is ready")
        read = lab.kernels[writer].send("read", MIRROR, 9)
        lab.kernels[writer].wait(read, 60, "a read at its node")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            found = lab.log_status(other).get("writer")
            check(not found, f"n{found} writes the log device while a write of the former n{writer} is in flight")
            time.sleep(0.1)
        check(hang.hangs(), "the write did not hang long enough")
    old.popen.wait(60)
    lab.kernels[other].wait(number, 90, "the write behind it")
    lab.clean_wait()
    lab.end_check()


def _new_marks_write(lab, blocks):
    """A write to each of these blocks, the nodes in turn, each to a region that nobody has marked. Returns how long they
    took, in seconds, in order."""
    took = []
    for turn, block in enumerate(blocks):
        begin = time.monotonic()
        node = lab.alive()[turn % len(lab.alive())]
        lab.kernels[node].command("write", lab.mirror, block, seconds=BEFORE_RESEND_SECONDS)
        took.append(time.monotonic() - begin)
    return sorted(took)


@test
def log_devices_hang_alone(context):
    """Two mirrors on the same nodes, one daemon writes both logs. The device of one hangs in a write: on the other log
    new writes of all nodes take as long as before, clean bits get to its device, and a table is reloaded."""
    WriteHang.needed()
    hung = context.lab(3)
    hung.start()
    other = hung.another("other")
    writer = 1
    for lab in (hung, other):
        lab.activate([writer])
        lab.activate([2, 3])
    for lab in (hung, other):
        lab.sync_wait()
        lab.clean_wait()
        check(lab.writer() == writer, f"n{lab.writer()} writes the log device of {lab.mirror}, not n{writer}")
    # The first block of each region; half of them now, the others while the device hangs.
    firsts = range(0, other.blocks, other.blocks // other.regions)
    before = _new_marks_write(other, firsts[0:NEW_MARKS])
    held = {}
    with WriteHang(hung.cluster[writer].processes["daemon"].pid, hung.log.number) as hang:
        for i in hung.alive():
            held[i] = hung.kernels[i].send("write", hung.mirror, firsts[i])
        poll(hang.hangs, 60, "a write of the log device hangs")
        during = _new_marks_write(other, firsts[NEW_MARKS:2 * NEW_MARKS])
        check(during[-1] <= 2 * before[-1] + BUSY_SECONDS,
              f"a write to the other log took {during[-1]:.2f} s, before the hang at most {before[-1]:.2f} s")
        other.clean_wait(BEFORE_RESEND_SECONDS)
        other.reload(writer)
        check(other.log_status(writer).get("health") == "A", f"the other log: {other.log_status(writer)}")
        check(hang.hangs(), "the write did not hang long enough")
        early = [i for i, number in held.items() if hung.kernels[i].answered(number)]
        check(not early, f"writes of nodes {early} went on without their marks on the device")
    for i, number in held.items():
        hung.kernels[i].wait(number, 90, "the write behind the hung device")
    context.note(f"median {before[len(before) // 2] * 1000:.0f} ms before, {during[len(during) // 2] * 1000:.0f} ms during; "
                 f"longest {before[-1] * 1000:.0f} and {during[-1] * 1000:.0f} ms")
    for lab in (hung, other):
        lab.load_wait(lab.load_start(2))
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
    started = lab.load_start(ENDLESS_SECONDS, rate=50)
    for _round in range(10):
        kernel.command("malformed", MIRROR, context.random.getrandbits(31), 300)
        lab.daemons_check()
    lab.load_end(started)
    info = kernel.info(MIRROR)
    check(info["malformed_replies"] > 0, "not one malformed message was answered")
    check(info["malformed_accepted"] == 0, f"{info['malformed_accepted']} malformed messages were answered with success")
    lab.quiet_check()
    for i in lab.alive():
        check(lab.synced(i) == (lab.regions, lab.regions), f"n{i}: {lab.synced(i)} after malformed messages")
    lab.clean_wait()
    lab.end_check()


# --- nodes and networks

@test
def repair_throttled(context):
    """Repair of a dead node's regions is paused, then slowed down, then let go; status says so."""
    lab = context.lab(3, leg_delay_us=SLOW_LEGS_US)
    lab.start()
    lab.activate()
    lab.sync_wait()
    victim = context.random.choice(lab.alive())
    survivors = [i for i in lab.alive() if i != victim]

    def ghosts():
        return lab.log_status(survivors[0])["ghost_regions"]

    def tell(*arguments):
        for i in survivors:
            lab.ctl(lab.cluster[i], "repair", *arguments)

    started = lab.load_start(ENDLESS_SECONDS, rate=250, depth=16)
    lab.writes_go_on(lab.alive(), 60, "writes before the kill")
    tell("pause")
    begin = time.monotonic()
    lab.node_kill(victim)
    lab.detection_wait(survivors, 2, begin)
    lab.fence([victim], survivors)
    poll(lambda: ghosts() > 0, 60, "the dead node leaves regions to repair")
    lab.load_end(started)
    waiting = ghosts()
    region_bytes = lab.log_status(survivors[0])["region_size_sectors"] * 512
    tell("throttle", "--all", str(region_bytes))
    tell("resume")
    begin = time.monotonic()
    poll(lambda: ghosts() < waiting, 30, "a region is repaired")
    time.sleep(2)
    repaired, passed = waiting - ghosts(), time.monotonic() - begin
    check(1 <= repaired <= passed + 2, f"{repaired} regions were repaired in {passed:.1f} s, at one a second")
    if ghosts():
        text = lab.log_status(survivors[0])["waits_for"]
        check(f"at most {region_bytes} bytes a second" in text, text)
    tell("throttle", "--all", "0")
    poll(lambda: ghosts() == 0, 60, "the rest is repaired")
    done = sum(lab.log_status(i)["repaired_regions"] for i in survivors)
    check(done == waiting, f"{done} regions were repaired, {waiting} waited")
    context.note(f"{waiting} regions, {repaired} in {passed:.1f} s at one a second")
    lab.clean_wait()
    lab.legs_equal_check("repaired")
    lab.end_check()


@test
def repair_goes_on(context):
    """A dead node's regions are repaired under writes to these very regions, whoever joins, leaves or dies meanwhile: a
    joiner, a new writer of the log device, and the death of the repairer. No kernel is given a region to copy."""
    lab = context.lab(5, leg_delay_us=SLOW_LEGS_US, regions=64)
    joiner, first = 5, [1, 2, 3, 4]
    lab.start()
    lab.activate(first)
    lab.sync_wait(first)
    started = {i: lab.load_start(ENDLESS_SECONDS, nodes=[i], rate=250, depth=16) for i in first}
    lab.writes_go_on(first, 60, "writes before the kill")

    def ghosts(node):
        return lab.log_status(node).get("ghost_regions", 0)

    def die(victim, witness):
        lab.node_kill(victim)
        alive = [i for i in lab.alive() if i != victim]
        lab.detection_wait(alive, len(alive))
        lab.fence([victim], [witness])

    log = lab.log_status(1)
    victim = context.random.choice([i for i in first if i not in (log["writer"], log["recoverer"])])
    for i in lab.alive():
        lab.ctl(lab.cluster[i], "repair", "throttle", "--all", str(lab.region_bytes))
    copied = {i: lab.kernels[i].info(MIRROR)["recoveries"] for i in first}
    die(victim, log["writer"])
    poll(lambda: ghosts(log["writer"]) > 0, 60, "the dead node leaves regions to repair")
    lab.activate([joiner])
    started[joiner] = lab.load_start(ENDLESS_SECONDS, nodes=[joiner], rate=250, depth=16)
    lab.writes_go_on([joiner], 60, "the joiner writes")

    leaver = lab.writer()
    lab.load_end(started.pop(leaver))
    poll(lambda: lab.kernels[leaver].info(MIRROR)["in_flight"] == 0, 60, f"n{leaver}: I/O ends")
    lab.deactivate([leaver])
    poll(lambda: lab.log_status(joiner).get("writer") not in (0, leaver), 60, "another writer")

    repairer = poll(lambda: lab.log_status(joiner)["recoverer"], 60, "a repairer")
    witness = next(i for i in lab.alive() if i not in (leaver, repairer))
    left = ghosts(joiner)
    check(left > 0, "all was repaired before the repairer died")
    die(repairer, witness)
    lab.writes_go_on([witness], BEFORE_RESEND_SECONDS, "writes after the repairer's death")
    for i in lab.alive():
        lab.ctl(lab.cluster[i], "repair", "throttle", "--all", "0")
    poll(lambda: ghosts(witness) == 0, 60, "all is repaired, under writes")
    context.note(f"{left} regions left when the repairer died")
    lab.load_end([one for i, loads in started.items() if i in lab.kernels for one in loads])
    members = [i for i in lab.alive() if i != leaver]
    for i in members:
        count = lab.kernels[i].info(MIRROR)["recoveries"] - copied.get(i, 0)
        check(count == 0, f"n{i}: the kernel was given {count} regions to copy")
    lab.clean_wait()
    lab.legs_equal_check("repaired")
    lab.end_check(members)


def _node_kill(context, victims, nodes=3, **options):
    lab = context.lab(nodes, leg_delay_us=SLOW_LEGS_US, **options)
    lab.start()
    lab.activate()
    lab.sync_wait()
    survivors = [i for i in lab.alive() if i not in victims]
    started = lab.load_start(ENDLESS_SECONDS, rate=250, depth=16)
    lab.writes_go_on(lab.alive(), 60, "writes before the kill")
    time.sleep(context.random.uniform(0.1, 0.6))
    lab.waits_reset(survivors)
    begin = time.monotonic()
    for i in victims:
        lab.node_kill(i)
    context.note(f"{lab.torn_blocks(victims)} blocks of the dead on one leg only")
    if lab.log_kind == "disk":
        lab.no_lost_dirt_live_check()
    detection = lab.detection_wait(survivors, nodes - len(victims), begin)
    lab.fence(victims, survivors)
    fenced = time.monotonic() - begin
    lab.writes_go_on(survivors, BEFORE_RESEND_SECONDS, "survivors write")
    lab.load_end(started)
    longest = lab.wait_longest_ms(survivors) / 1000
    check(longest <= fenced + BEFORE_RESEND_SECONDS,
          f"a survivor's write waited {longest:.2f} s, death was known after {fenced:.2f} s")
    context.note(f"detection {detection:.2f} s, longest write {longest:.2f} s")
    # What the dead had marked is copied without any help, then all is clean.
    lab.clean_wait()
    lab.sync_wait()
    lab.legs_equal_check("repaired")
    lab.kernels_check()
    lab.content_check()
    return lab


@test
def node_kill(context):
    """A node dies under load at a random moment; the others go on; it comes back and writes again."""
    victim = context.random.choice([1, 2, 3])
    lab = _node_kill(context, [victim])
    lab.recoveries_begin()
    lab.node_return(victim)
    lab.sync_wait()
    lab.recoveries_check(f"node {victim} is back")
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.end_check()


@test
def node_kill_core_log(context):
    """With --fencing=assume: corosync's word is enough, and each daemon says aloud what that means."""
    victim = context.random.choice([1, 2, 3])
    lab = _node_kill(context, [victim], log="core", fencing="assume")
    said = {i: lab.cluster[i].processes["daemon"].log_text() for i in lab.alive()}
    for i, text in said.items():
        check("--fencing=assume: a node that leaves corosync is taken for dead" in text, f"n{i}: {text[:800]}")
    check(any(f"node {victim} is taken for dead because corosync lost it" in text for text in said.values()),
          f"nobody says that node {victim} is taken for dead")
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
    lab.load_start(ENDLESS_SECONDS, rate=250, depth=16)
    lab.writes_go_on(lab.alive(), 60, "writes before the cut")
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
    poll(lambda: lab.cluster[3].quorum() == (False, 1) and lab.cluster[1].quorum() == (True, 2), 60, "partition")
    # Nothing of it is in flight, and nothing lingers.
    lab.fence([3], [1, 2])
    held = lab.kernels[3].send("write", MIRROR, 9)
    lab.load_wait(lab.load_start(2, nodes=[1, 2]))
    check(not lab.kernels[3].answered(held), "a node without quorum let a write through")
    lab.cluster.heal()
    lab.cluster.quorum_wait()
    lab.kernels[3].wait(held, 90, "the held write, once quorum is back")
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
    poll(lambda: all(node.quorum() == (False, 1) for node in lab.cluster), 60, "three partitions")
    held = {i: lab.kernels[i].send("write", MIRROR, 20 + i) for i in lab.alive()}
    time.sleep(1)
    for i, number in held.items():
        check(not lab.kernels[i].answered(number), f"n{i}, without quorum, let a write through")
    lab.cluster.heal()
    lab.cluster.quorum_wait()
    for i, number in held.items():
        lab.kernels[i].wait(number, 90, "the held write, once quorum is back")
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
    started = lab.load_start(ENDLESS_SECONDS)
    lab.writes_go_on(lab.alive(), 60, "writes before the kill")
    # The others go on as long as the log device is theirs: its kernel writes on, so this node is not dead.
    victim = context.random.choice([i for i in lab.alive() if i != lab.writer()])
    others = [i for i in lab.alive() if i != victim]
    node = lab.cluster[victim]
    node.process_kill("corosync")
    lab.detection_wait(others, 2)
    lab.writes_go_on(others, BEFORE_RESEND_SECONDS, "the others write")
    lab.daemons_check()
    node.corosync_start()
    lab.cluster.quorum_wait()
    lab.writes_go_on(lab.alive(), 90, "all write again")
    lab.load_end(started)
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.end_check()


@test
def sixteen_nodes(context):
    """The largest cluster: corosync alone in all, daemons and mirrors in all."""
    lab = context.lab(16)
    lab.start()
    lab.activate()
    lab.sync_wait([1, 16], seconds=300)
    lab.load_wait(lab.load_start(3, rate=20, depth=2), seconds=120)
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
    poll(lambda: kernel.complaints({"leg-failure"}), 60, "the failing leg is noticed")
    lab.load_wait(lab.load_start(2, nodes=[2, 3]))
    lab.no_lost_dirt_live_check()
    kernel.command("leg", MIRROR, 1, 0)
    for i in lab.alive():
        lab.load([i])
        lab.kernels[i].command("suspend", MIRROR, "noflush")
    lab.each("resume")
    kernel.wait(held, 90, "the write that was held for the failed leg")
    lab.sync_wait()
    lab.load_wait(lab.load_start(2))
    lab.clean_wait()
    lab.end_check()


@test
def memory_as_log_device(context):
    """Daemons and the log device call the same regions dirty: those of writes in flight, then those of a dead node that
    nobody may repair yet. A bit that is wrong on the device, either way, is found."""
    lab = context.lab(3, leg_delay_us=SLOW_LEGS_US)
    lab.start()
    lab.activate()
    lab.sync_wait()
    lab.load_start(ENDLESS_SECONDS, rate=200, depth=DEPTH)
    memory_check(lab)
    lab.load_start(ENDLESS_SECONDS, rate=200, depth=DEPTH)
    lab.writes_go_on(lab.alive(), 60, "writes before the kill")
    for i in lab.alive():
        lab.ctl(lab.cluster[i], "repair", "pause")
    victim = context.random.choice(lab.alive())
    lab.node_kill(victim)
    lab.detection_wait(lab.alive(), 2)
    lab.fence([victim], lab.alive())
    lab.load_stop_wait("a node is dead")
    lab.requests_wait(60)
    # What lingers on the living goes; then nothing changes any more.
    poll(lambda: len(lab.dirty_regions()) == lab.log_status(lab.alive()[0])["ghost_regions"] > 0, 60,
         "only regions of the dead node are dirty")
    dirty = lab.memory_as_device_wait(60)
    _wrong_bits_found(lab, dirty)
    for i in lab.alive():
        lab.ctl(lab.cluster[i], "repair", "resume")
    context.note(f"{len(dirty)} regions of node {victim}")
    lab.clean_wait()
    lab.end_check()


def _check_fails(function):
    try:
        function()
    except CheckFailed:
        return True
    return False


def _wrong_bits_found(lab, dirty):
    """The checks of the log device see one bit that differs from memory, whichever; then it is as before."""
    image = lab.log.read(0, lab.log.size_bytes)
    for region, what in ((min(dirty), "clean"), (min(set(range(lab.regions)) - dirty), "dirty")):
        at = log_image.BITS_OFFSET + region // 8
        block = at // 512 * 512
        sector = bytearray(image[block:block + 512])
        sector[at - block] ^= 1 << region % 8
        lab.log.write(block, bytes(sector))
        one_way = _check_fails(lambda: lab.memory_in_device_check(lab.writer()))
        check(one_way == (what == "clean"), f"region {region} made {what} on the device: one way, seen: {one_way}")
        check(_check_fails(lambda: lab.memory_as_device_wait(1)), f"nobody sees region {region}, made {what} on the device")
        lab.log.write(block, image[block:block + 512])


# --- versions

def _mixed_lab(context, old, new):
    """Three nodes: 1 and 2 with one daemon, 3 with another. None: the one of this tree."""
    # What a daemon that is killed had in hand is asked again after 15 s: five times as fast here.
    lab = context.lab(3, speed=5)
    for i, versions in ((1, old), (2, old), (3, new)):
        if versions:
            lab.daemon_binaries[i] = context.stand_in.parent / f"mirrorlogd-{versions}"
    return lab


def _write_and_end(lab):
    lab.load_wait(lab.load_start(2))
    lab.sync_wait()
    lab.clean_wait()
    lab.kernels_check()


@test
def mixed_versions_together(context):
    """Daemons that have a version of the protocol in common work together, whoever comes first, through an upgrade of
    all nodes and back to one version."""
    lab = _mixed_lab(context, None, "1-2")
    lab.start()
    lab.activate()
    lab.sync_wait()
    started = lab.load_start(ENDLESS_SECONDS)
    # All nodes get the newer one, one after the other: it speaks 2 when the last one is there. Then some go back.
    for node, versions in ((1, "1-2"), (2, "1-2"), (3, "2-2"), (3, "1-2"), (2, None)):
        lab.daemon_binaries[node] = context.stand_in.parent / f"mirrorlogd-{versions}" if versions else context.daemon
        lab.daemon_kill(lab.cluster[node])
        lab.daemon_start(lab.cluster[node])
        poll(lambda node=node: (lab.status(node) or {}).get("ready"), 90, f"n{node}: ready with {versions}")
        lab.writes_go_on(lab.alive(), 90, f"all write, n{node} with {versions}")
    lab.load_end(started)
    _write_and_end(lab)
    lab.end_check()


@test
def mixed_versions_refused(context):
    """A daemon that no version joins to the cluster stays out and says why; the cluster is not disturbed. When the others
    are gone it goes on by itself."""
    lab = _mixed_lab(context, None, "2-2")
    lab.start([1, 2])
    lab.fence([3], [1, 2])
    lab.activate([1, 2])
    lab.sync_wait([1, 2])
    started = lab.load_start(ENDLESS_SECONDS, nodes=[1, 2])
    lab.writes_go_on([1, 2], 60, "writes before the newcomer")
    lab.start([3])
    status = poll(lambda: [status for status in [lab.status(3)] if status and "version" in status["waits_for"]], 60,
                  "the newcomer's status says why it stays out")[0]
    check(not status["ready"] and not status["active"], f"the newcomer takes part: {status}")
    check("version" in lab.cluster[3].processes["daemon"].log_text(), "the newcomer's log does not speak of versions")
    lab.waits_reset([1, 2])
    lab.writes_go_on([1, 2], BEFORE_RESEND_SECONDS, "writes with a newcomer that stays out")
    time.sleep(2)
    check(any("refused" == node["state"] for node in lab.status(1)["nodes"]),
          f"the others do not say that node 3 is refused: {lab.status(1)['nodes']}")
    lab.load_end(started)
    for i in (1, 2):
        check(not lab.kernels[i].complaints(), "; ".join(lab.kernels[i].complaints()[:5]))
    lab.clean_wait()
    lab.deactivate([1, 2])
    for i in (1, 2):
        lab.daemon_kill(lab.cluster[i])
        lab.daemon_binaries[i] = context.stand_in.parent / "mirrorlogd-2-2"
    poll(lambda: (lab.status(3) or {}).get("ready"), 60, "the newcomer goes on when the others are gone")
    for i in (1, 2):
        lab.kernels[i].command("forget", MIRROR)
        lab.daemon_start(lab.cluster[i])
    lab.activate()
    lab.sync_wait()
    _write_and_end(lab)
    lab.end_check()


@test
def mixed_versions_at_once(context):
    """Daemons of versions that do not fit start together: one kind stays out, whichever; the other one works."""
    lab = _mixed_lab(context, None, "2-2")
    lab.start()
    poll(lambda: any(not status["ready"] and "version" in status["waits_for"]
                     for status in [lab.status(i) for i in lab.alive()] if status), 60, "somebody stays out")
    inside = poll(lambda: [i for i in lab.alive() if (lab.status(i) or {}).get("ready")], 60, "somebody is ready")
    check(inside in ([1, 2], [3]), f"nodes {inside} are ready")
    outside = [i for i in lab.alive() if i not in inside]
    # Their kernels might have mirrors active, as far as the others can know.
    for i in outside:
        lab.ctl(lab.cluster[inside[0]], "confirm-dead", str(i))
    lab.activate(inside)
    lab.sync_wait(inside)
    lab.load_wait(lab.load_start(2, nodes=inside))
    for i in outside:
        check(not (lab.status(i) or {}).get("ready"), f"n{i} takes part")
    lab.clean_wait()
    lab.end_check(inside)


# --- all of it, as the seed says

@test
def random_faults(context):
    """One fault a round, under load; after each round all of it is checked. More with --rounds."""
    rounds_run(context)
