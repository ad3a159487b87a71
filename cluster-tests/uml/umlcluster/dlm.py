# SPDX-License-Identifier: GPL-2.0-or-later
"""DLM on the nodes: the kernel's module, dlm_controld, and the power switch behind its fence agent."""

import os
import threading
import time

from . import fence_agent
from .guest import BUILD, MODULE_ROOT
from .sandbox import SetupError

POLL_SECONDS = 0.02
CONF = """\
post_join_delay=1
enable_startup_fencing=0
enable_fencing={enable_fencing}

device switch {agent}
{connects}"""

# The root of a node is read-only: a layer over /etc takes what dlm_controld wants to read there. There is no udev to
# make the links of 51-dlm.rules; that of the lockspace points to nothing until there is one.
PREPARE = f"""
modprobe -d {MODULE_ROOT} -a configfs dlm overlay
mountpoint -q /sys/kernel/config || mount -n -t configfs none /sys/kernel/config
if [ ! -d /etc/dlm ]; then
	mkdir -p /run/etc/dlm /run/etc.work
	mount -n -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc.work none /etc
	mkdir -p /etc/corosync
	cp /run/share/corosync.conf /etc/corosync/
fi
mkdir -p /dev/misc /var/log/dlm_controld
for name in dlm-control dlm-monitor dlm_plock dlm_mirrorlogd; do
	ln -sfn ../$name /dev/misc/$name
done
cp /run/share/dlm.conf /etc/dlm/dlm.conf
"""


class PowerSwitch:
    """Answers the fence agents of all nodes, in a thread of its own."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.delay_seconds = 0.0  # before the node's power is cut
        self.failures_left = 0    # so many questions are answered "it did not work", at once
        self.history = []         # (time.time() of the answer, who asked, whom for, did it work)
        self._unblocked = threading.Event()
        self._unblocked.set()
        for node in cluster.nodes:
            os.makedirs(os.path.join(node.share, "fence"), exist_ok=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def block(self):
        """Power is cut after unblock() only."""
        self._unblocked.clear()

    def unblock(self):
        self._unblocked.set()

    def cut(self, number):
        """When power was first cut for a node, time.time(), or None."""
        return next((when for when, _, whom, worked in self.history if whom == number and worked), None)

    def _run(self):
        while True:
            time.sleep(POLL_SECONDS)
            for node in self.cluster.nodes:
                directory = os.path.join(node.share, "fence")
                for name in sorted(os.listdir(directory)):
                    if name.endswith(".ask"):
                        self._serve(node, os.path.join(directory, name))

    def _serve(self, node, question):
        with open(question, encoding="ascii") as file:
            number = int(file.read())
        os.unlink(question)
        worked = self.failures_left == 0
        if worked:
            self._unblocked.wait()
            time.sleep(self.delay_seconds)
            self.cluster.nodes[number - 1].kill()
        else:
            self.failures_left -= 1
        self.history.append((time.time(), node.number, number, worked))
        answer = question.removesuffix(".ask") + ".answer"
        with open(answer + ".new", "w", encoding="ascii") as file:
            file.write("0" if worked else "1")
        os.rename(answer + ".new", answer)


def dlm_prepare(cluster, *nodes, enable_fencing=1):
    """Loads the module and writes dlm.conf on the given nodes, or on all."""
    connects = "".join(f"connect switch node={node.number} port={node.number}\n" for node in cluster.nodes)
    text = CONF.format(
        agent=f"{BUILD}/{fence_agent.PROGRAM}", connects=connects, enable_fencing=enable_fencing
    )
    for node in nodes or cluster.nodes:
        node.file_put("dlm.conf", text)
        node.shell(PREPARE)


def dlm_controld_start(cluster, *nodes, seconds=60):
    """Starts dlm_controld on the given nodes, or on all; waits until it answers. Returns the commands by node."""
    nodes = nodes or cluster.nodes
    commands = {node: node.start("dlm_controld", "--foreground", "1", "--daemon_debug", "1") for node in nodes}
    deadline = time.monotonic() + seconds
    for node, command in commands.items():
        # Its exit status is 0 also when nobody answers.
        while "cluster nodeid" not in node.run("dlm_tool", "status", seconds=seconds):
            if command.status() is not None or time.monotonic() > deadline:
                raise SetupError(f"{node.name}: dlm_controld does not serve: {command.stderr()[-1500:]}")
            time.sleep(POLL_SECONDS)
    return commands
