# SPDX-License-Identifier: GPL-2.0-or-later
"""Several nodes on one bridge, with shared disks and corosync."""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time

from . import fence_agent, kick, writer
from .node import KERNEL, MODULE_DIR, Node
from .sandbox import SetupError, command_run, priority_raise

BRIDGE = "br0"
NETWORK = "10.77.0."
# Disks of a node by their role; user-mode-linux has eight at most. The last one is the node's own and never used.
DISK_NAMES = ("leg0", "leg1", "log", "spare")
PROGRAMS = ("mirrorlogd", "mirrorlogctl")
# A daemon that speaks the next version of the protocol, too; not every build has one.
PROGRAM_NEXT = "mirrorlogd-1-2"
UBD_MAJOR = 98
UBD_MINORS = 16
POLL_SECONDS = 0.05
# The token goes round as fast as it can until nothing was sent in so many rounds, corosync's own is 30. Under a load that
# never ends, and takes all of the processors.
TOKEN_IDLE_ROUNDS = 2
KICK_PRIORITY_STEPS = 20  # before the nodes themselves: they stand still without it

MEMBERSHIP = re.compile(r"(\w{3} \d+ [\d:]{8})(\.\d+).* A new membership .* was formed")

COROSYNC_CONF = """\
totem {{
	version: 2
	cluster_name: demo
	transport: udpu
	token: {token_ms}
	token_coefficient: 0
	seqno_unchanged_const: {idle_rounds}
	crypto_cipher: none
	crypto_hash: none
	interface {{
		ringnumber: 0
		bindnetaddr: {network}0
	}}
}}
nodelist {{
{nodes}}}
quorum {{
	provider: corosync_votequorum
}}
logging {{
	to_stderr: yes
	to_logfile: no
	to_syslog: no
	timestamp: hires
}}
"""
COROSYNC_NODE = """\
	node {{
		nodeid: {number}
		name: {name}
		ring0_addr: {address}
	}}
"""


def on_each(function, nodes):
    """Calls function(node) for all nodes at the same time; commands in nodes mostly wait. Returns what they return."""
    nodes = list(nodes)
    if not nodes:
        return []
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(function, nodes))


def _membership_parse(line):
    """The time of a line of corosync's log that says a membership was formed, else None."""
    found = MEMBERSHIP.match(line)
    if not found:
        return None
    year = time.localtime().tm_year
    return time.mktime(time.strptime(f"{year} {found[1]}", "%Y %b %d %H:%M:%S")) + float(found[2])


def machine_check():
    """Raises SetupError, saying what to do, when this machine lacks something the cluster needs."""
    if os.geteuid() != 0:
        raise SetupError("run this as root: it makes network namespaces and boots kernels")
    for tool, package in ((KERNEL, "user-mode-linux"), ("corosync", "corosync"), ("dmsetup", "dmsetup"),
                          ("fio", "fio"), ("cc", "gcc"), ("ip", "iproute2"), ("modprobe", "kmod")):  # fmt: skip
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            raise SetupError(f"{tool} not found: install {package} (contrib/install-deps does)")
    if not os.path.isdir(MODULE_DIR):
        raise SetupError(f"{MODULE_DIR} not found: install user-mode-linux (contrib/install-deps does)")
    if not os.path.exists("/dev/net/tun"):
        raise SetupError("/dev/net/tun not found: load the tun module, or give it to this container")


def programs_copy(build_dir, where):
    """Copies the built programs: a build that goes on beside a test must not change what runs in it."""
    for name in (*PROGRAMS, PROGRAM_NEXT):
        for top, _, files in os.walk(build_dir):
            path = os.path.join(top, name)
            if name in files and os.access(path, os.X_OK):
                shutil.copy2(path, where)
                break
        else:
            if name == PROGRAM_NEXT:
                continue
            raise SetupError(f"{name} not found under {build_dir}: build first (meson compile -C {build_dir})")


class Cluster:
    """N nodes. Use inside sandbox_run(), which is what ends them; close() only ends them sooner."""

    def __init__(self, work_dir, node_count=3, leg_mib=32, build_dir=None, memory_mib=512, token_ms=3000,
                 disk_trace=()):  # fmt: skip
        """disk_trace: names of disks; what nodes write to them and when they flush them is on record in trace_path."""
        machine_check()
        self.work_dir = work_dir
        self.token_ms = token_ms
        self.disk_dir = os.path.join(work_dir, "disks")
        self.leg_bytes = leg_mib << 20
        os.mkdir(self.disk_dir)
        sizes = {"leg0": self.leg_bytes, "leg1": self.leg_bytes, "log": 4 << 20, "spare": self.leg_bytes}
        for name in DISK_NAMES:
            self._disk_make(self.disk_path(name), sizes[name])
        self.trace_path = os.path.join(work_dir, "disk-trace")
        preload = [self._shim_build("xstate-shim")] + ([self._shim_build("disk-trace")] if disk_trace else [])
        programs = os.path.join(work_dir, "programs")
        os.mkdir(programs)
        # Nodes run these copies: they may not see the files themselves, having a /tmp of their own.
        for program in (writer, fence_agent):
            shutil.copy2(program.__file__, os.path.join(programs, program.PROGRAM))
        if build_dir:
            programs_copy(build_dir, programs)
        self.nodes = []
        for number in range(1, node_count + 1):
            idle = os.path.join(self.disk_dir, f"idle{number}")
            self._disk_make(idle, 1 << 20)
            disks = [self.disk_path(name) for name in DISK_NAMES] + [idle]
            address = f"{NETWORK}{number}"
            self.nodes.append(Node(number, work_dir, disks, programs, memory_mib, address,
                                   {"LD_PRELOAD": " ".join(preload), **self._trace_environment(number, disk_trace)}))
        self.corosync = {}
        self.freezes = []  # (begin, end) of each freeze, time.time(): no wait of a node's own
        self._kick = None

    def _shim_build(self, name):
        """Builds what is preloaded into user-mode-linux; the sources say what for."""
        path = os.path.join(self.work_dir, f"{name}.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", f"{name}.c")
        command_run("cc", "-std=gnu17", "-O2", "-shared", "-fPIC", "-o", path, source)
        return path

    def _trace_environment(self, number, names):
        """Of a node's kernel, for disk-trace.c."""
        if not names:
            return {}
        with open(self.trace_path, "ab"):
            pass
        inodes = " ".join(str(os.stat(self.disk_path(name)).st_ino) for name in names)
        return {"DISK_TRACE": self.trace_path, "DISK_TRACE_NODE": str(number), "DISK_TRACE_INODES": inodes}

    @staticmethod
    def _disk_make(path, size_bytes):
        with open(path, "wb") as file:
            file.truncate(size_bytes)

    def disk_path(self, name):
        """The host's file behind a shared disk."""
        return os.path.join(self.disk_dir, name)

    @staticmethod
    def disk_number(name):
        """The disk's MAJ:MIN inside every node."""
        return f"{UBD_MAJOR}:{UBD_MINORS * DISK_NAMES.index(name)}"

    @staticmethod
    def disk_device(name):
        return f"/dev/ubd{chr(ord('a') + DISK_NAMES.index(name))}"

    # --- start and stop -----------------------------------------------------------------------------------------

    def start(self):
        """Makes the network and boots all nodes; returns when they take commands."""
        command_run("ip", "link", "set", "lo", "up")
        command_run("ip", "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0",
                    "mcast_snooping", "0")  # fmt: skip
        command_run("ip", "link", "set", BRIDGE, "up")
        for node in self.nodes:
            command_run("ip", "tuntap", "add", node.tap, "mode", "tap")
            command_run("ip", "link", "set", node.tap, "master", BRIDGE)
            command_run("ip", "link", "set", node.tap, "up")
        script = os.path.abspath(kick.__file__)
        null = subprocess.DEVNULL
        argv = [sys.executable, script] + [node.tap for node in self.nodes]
        self._kick = subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True,
                                      preexec_fn=lambda: priority_raise(KICK_PRIORITY_STEPS))  # fmt: skip
        for node in self.nodes:
            node.boot()
        for node in self.nodes:
            node.boot_wait()

    def close(self):
        for node in self.nodes:
            node.kill()
        if self._kick:
            self._kick.kill()
            self._kick.wait()
            for name in [node.tap for node in self.nodes] + [BRIDGE]:
                command_run("ip", "link", "delete", name)
            self._kick = None

    def logs_copy(self, where):
        """Copies consoles and the output of all commands, so that they outlive the work directory."""
        for node in self.nodes:
            shutil.copytree(node.share, os.path.join(where, node.name), dirs_exist_ok=True)
        if os.path.exists(self.trace_path):
            shutil.copy(self.trace_path, where)

    # --- corosync -----------------------------------------------------------------------------------------------

    def corosync_start(self, *nodes):
        """Starts corosync on the given nodes, or on all."""
        listed = "".join(
            COROSYNC_NODE.format(number=node.number, name=node.name, address=node.address) for node in self.nodes
        )
        text = COROSYNC_CONF.format(token_ms=self.token_ms, idle_rounds=TOKEN_IDLE_ROUNDS, network=NETWORK, nodes=listed)
        for node in nodes or self.nodes:
            node.file_put("corosync.conf", text)
            start = "cp /run/share/corosync.conf /etc/corosync/ && exec corosync -f"
            self.corosync[node] = node.start("sh", "-c", start)

    def quorum_members(self, node):
        """Node ids that a node's corosync counts in its quorate partition; empty when it is not quorate."""
        command = node.start("corosync-quorumtool", "-s")
        if command.wait(60) not in (0, 1, 2):
            return []
        quorate, members, table = False, [], False
        for line in command.stdout().splitlines():
            if line.startswith("Quorate:"):
                quorate = line.split()[1] == "Yes"
            words = line.split()
            table = table or words[:2] == ["Nodeid", "Votes"]
            if table and words and words[0].isdigit():
                members.append(int(words[0]))
        return members if quorate else []

    def quorum_wait(self, nodes=None, seconds=120):
        """Waits until the given nodes, or all, are quorate and see exactly each other."""
        nodes = nodes or self.nodes
        wanted = [node.number for node in nodes]
        deadline = time.monotonic() + seconds

        def node_wait(node):
            while (seen := self.quorum_members(node)) != wanted:
                if time.monotonic() > deadline:
                    log = self.corosync[node].stderr()[-1500:]
                    raise SetupError(f"{node.name}: no quorum of {wanted}, but of {seen}; corosync says:\n{log}")
                time.sleep(POLL_SECONDS)

        on_each(node_wait, nodes)

    def membership_time(self, node, after):
        """When the node's corosync last formed a membership after a time (time.time() of the host), or None."""
        found = [when for when in map(_membership_parse, self.corosync[node].stderr().splitlines()) if when]
        return found[-1] if found and found[-1] > after else None

    def membership_wait(self, nodes, after, seconds=120):
        """Waits until each node's corosync has formed a membership after that time; returns the last such time."""
        deadline = time.monotonic() + seconds
        while None in (times := [self.membership_time(node, after) for node in nodes]):
            if time.monotonic() > deadline:
                raise SetupError(f"corosync has formed no membership for {seconds} s")
            time.sleep(POLL_SECONDS)
        return max(times)

    # --- faults -------------------------------------------------------------------------------------------------

    def partition(self, *nodes):
        """Cuts each given node off from all others; commands and disks still reach it."""
        for node in nodes:
            command_run("ip", "link", "set", node.tap, "nomaster")

    def heal(self, *nodes):
        for node in nodes or self.nodes:
            command_run("ip", "link", "set", node.tap, "master", BRIDGE)

    def freeze(self):
        """Stops all living nodes; what their disks were doing is over when this returns."""
        self.freezes.append((time.time(), None))
        for node in self.nodes:
            if node.alive():
                node.pause()
        for node in self.nodes:
            if node.alive():
                node.settle_wait()

    def thaw(self):
        for node in self.nodes:
            if node.alive():
                node.resume()
        self.freezes[-1] = (self.freezes[-1][0], time.time())

    def frozen_seconds(self, begin, end):
        """How much of that time the cluster was frozen."""
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in self.freezes if until)
