# SPDX-License-Identifier: GPL-2.0-or-later
"""Fencing as DLM sees it: the kernel's module, dlm_controld, and a fence agent that is fast, slow or failing."""

import signal
import time

from . import checks, dlm
from .daemon import RUN_DIR, Daemon, daemons_start, ghosts_wait
from .guest import BUILD
from .load import PROGRESS_SECONDS, WriterLoad
from .mirror import Mirror

LEG_DELAY_MS = 20
HELD_SECONDS = 2  # what must not happen before the fencing does not happen for so long
SLOW_SECONDS = 5


def text_wait(what, function, seconds=PROGRESS_SECONDS):
    """Polls until function() returns something true; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := function()):
        if time.monotonic() > deadline:
            raise checks.CheckError(f"{what}: not after {seconds} s")
        time.sleep(0.05)
    return found


def log_wait(daemon, text):
    text_wait(f"{daemon.node.name} says {text!r}", lambda: text in daemon.log())


class DlmLab:
    """Three nodes with DLM and a mirror under load."""

    def __init__(self, lab):
        self.cluster = lab.cluster()
        self.switch = dlm.PowerSwitch(self.cluster)
        dlm.dlm_prepare(self.cluster)
        dlm.dlm_controld_start(self.cluster)
        self.options = {"fencing": "dlm", "options": lab.options.daemon_option}
        self.daemons = daemons_start(self.cluster, **self.options)
        # In sync from the start: what is copied later was a dead node's.
        self.mirror = Mirror(self.cluster, sync="nosync", leg_delay_ms=LEG_DELAY_MS)
        self.mirror.activate(*self.cluster.nodes)
        self.load = WriterLoad(self.mirror, lab.chance)
        for node in self.cluster.nodes:
            self.load.start(node)
        self.load.progress_wait(self.cluster.nodes)

    def writer(self):
        """The node that writes the log device: its death has the most to wait for."""
        number = self.daemons[self.cluster.nodes[0]].log_status(self.mirror.uuid)["writer"]
        return self.cluster.nodes[number - 1]

    def survivors(self, victim):
        return [node for node in self.cluster.nodes if node is not victim]

    def waiting_check(self, victim, seconds):
        """For so long status says that fencing is waited for, and nothing of the victim is taken over or repaired."""
        waits = f"waits for the fencing of node {victim.number}"
        first = self.daemons[self.survivors(victim)[0]]
        text_wait(f"status says {waits!r}", lambda: waits in str(first.log_status(self.mirror.uuid)))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            log = first.log_status(self.mirror.uuid)
            if waits not in log["waits_for"] or log["writer"] != victim.number:
                raise checks.CheckError(f"before the fencing of node {victim.number}: {log}")
        checks.check_dirt_known(self.mirror)

    def repaired_check(self, victim):
        """After the fencing: writes go on, the dead node's regions are repaired, nothing acknowledged is lost."""
        survivors = self.survivors(victim)
        self.load.progress_wait(survivors)
        self.load.stop(survivors)
        self.load.dead(victim)
        for node in self.cluster.nodes:
            checks.check_record(self.load.record(node), node, self.mirror)
        if left := ghosts_wait(self.daemons[survivors[0]], self.mirror, PROGRESS_SECONDS):
            raise checks.CheckError(f"{left} regions of the dead node are not repaired")
        if self.daemons[survivors[0]].log_status(self.mirror.uuid)["writer"] == victim.number:
            raise checks.CheckError("the dead node's role was not taken over")

    def lockspace_wait(self, node, gone):
        """The lockspace goes on without the daemon that left: one that is stopped keeps a process from exiting."""

        def goes_on():
            lines = [line.split() for line in node.run("dlm_tool", "ls").splitlines()]
            members = next((words[1:] for words in lines if words[:1] == ["members"]), [])
            return members and str(gone.number) not in members and not any(words[:1] == ["new"] for words in lines)

        text_wait(f"{node.name}: lockspace without node {gone.number}", goes_on)

    def end_check(self, nodes):
        """All ends clean, and each daemon leaves the lockspace."""
        self.load.slices_remove()
        self.mirror.deactivate(*nodes)
        checks.check_legs_equal(self.mirror)
        checks.check_all_clean(self.mirror)
        daemons = [self.daemons[node] for node in nodes]
        checks.check_daemons(daemons)
        for place, daemon in enumerate(daemons):
            status = daemon.stop()
            left = daemon.node.run("ls", "/sys/kernel/dlm").split()
            if status != 0 or left:
                raise checks.CheckError(f"{daemon.node.name}: daemon ended with {status}, lockspaces left: {left}")
            for other in nodes[place + 1 :]:
                self.lockspace_wait(other, daemon.node)


def dlm_node_killed(lab):
    """DLM, fast agent: a restarted daemon keeps its lock; a dead writer is succeeded once it is fenced."""
    it = DlmLab(lab)
    victim = it.writer()
    restarted = it.survivors(victim)[-1]
    it.daemons[restarted].kill()
    it.daemons[restarted].start()
    it.daemons[restarted].ready_wait()
    log_wait(it.daemons[restarted], "took over the lock of a former daemon")
    it.load.progress_wait(it.cluster.nodes)

    it.switch.block()
    victim = it.writer()
    killed = time.time()
    victim.kill()
    noticed = it.cluster.membership_wait(it.survivors(victim), killed)
    it.waiting_check(victim, HELD_SECONDS)
    it.switch.unblock()
    it.repaired_check(victim)
    it.end_check(it.survivors(victim))
    confirmed = it.switch.cut(victim.number) - killed
    lab.note(f"noticed after {noticed - killed:.1f} s, death confirmed after {confirmed:.1f} s")


def dlm_fencing_slow(lab):
    """DLM, an agent that fails, then is slow: a cut-off writer lives on, a daemon restarts while DLM stands still."""
    it = DlmLab(lab)
    victim = it.writer()
    survivors = it.survivors(victim)
    it.switch.failures_left = 1
    it.switch.delay_seconds = SLOW_SECONDS
    it.switch.block()
    cut = time.time()
    it.cluster.partition(victim)
    it.cluster.membership_wait(survivors, cut)
    it.waiting_check(victim, HELD_SECONDS)
    # One that is killed now cannot end before the lockspace goes on. The next one starts beside it.
    old = it.daemons[survivors[0]]
    old.signal(signal.SIGKILL)
    it.daemons[survivors[0]] = Daemon(survivors[0], **it.options)
    it.daemons[survivors[0]].start()
    it.daemons[survivors[0]].ready_wait()
    hung = old.running()
    it.waiting_check(victim, HELD_SECONDS)
    text_wait("the agent has failed once", lambda: it.switch.failures_left == 0)
    it.switch.unblock()
    it.repaired_check(victim)
    answers = [worked for _, _, whom, worked in it.switch.history if whom == victim.number]
    if answers[:2] != [False, True]:
        raise checks.CheckError(f"the fence agent was to fail once: {it.switch.history}")
    it.end_check(survivors)
    lab.note(f"fenced after {it.switch.cut(victim.number) - cut:.0f} s; "
             f"{'a' if hung else 'no'} killed daemon hung until then")  # fmt: skip


def dlm_refusals(lab):
    """DLM: no dlm_controld, no fencing, no lockspace: no start, and why; when dlm_controld dies the daemon stays."""
    cluster = lab.cluster(1)
    node = cluster.nodes[0]

    def must_refuse(text, *arguments):
        command = node.start(f"{BUILD}/mirrorlogd", f"--run-dir={RUN_DIR}", f"--pidfile={RUN_DIR}.pid", *arguments)
        status, said = command.wait(PROGRESS_SECONDS), command.stderr()
        if status != 1 or text not in said or "--fencing=none" not in said:
            raise checks.CheckError(f"{arguments}: ended with {status}, not {text!r}: {said}")

    def controld_start(enable_fencing):
        dlm.dlm_prepare(cluster, enable_fencing=enable_fencing)
        return dlm.dlm_controld_start(cluster)[node]

    must_refuse("dlm_controld does not run", "-D")
    must_refuse("dlm_controld does not run")
    controld = controld_start(enable_fencing=0)
    must_refuse("enable_fencing=0", "-D")
    controld.signal(signal.SIGTERM)
    controld.wait(PROGRESS_SECONDS)
    controld = controld_start(enable_fencing=1)
    node.shell("rm /dev/misc/dlm-control; mkdir -p /dev/misc/dlm-control/full")  # what it can remove, libdlm makes anew
    must_refuse("cannot join DLM's lockspace", "-D")
    node.shell("rm -r /dev/misc/dlm-control; ln -s ../dlm-control /dev/misc/dlm-control")

    daemon = daemons_start(cluster, fencing="dlm", options=lab.options.daemon_option)[node]
    mirror = Mirror(cluster, sync="nosync")
    mirror.activate(node)
    controld.signal(signal.SIGKILL)
    log_wait(daemon, "dlm_controld is gone")
    if "dlm_controld is gone" not in daemon.status()["waits_for"]:
        raise checks.CheckError(f"status does not say that dlm_controld is gone: {daemon.status()}")
    checks.fio_check(checks.fio_start(node, mirror.slice_create(node), 2, lab.options.seed), PROGRESS_SECONDS)
    checks.check_daemons([daemon])
    daemon.signal(signal.SIGTERM)
    log_wait(daemon, "deactivate their mirrors first")
    checks.check_daemons([daemon])


TESTS = (dlm_node_killed, dlm_fencing_slow, dlm_refusals)
