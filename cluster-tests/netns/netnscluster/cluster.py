# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes as namespaces, a bridge for each side of a partition, corosync in each node.

To be used inside sandbox_run(): all processes, mounts and links then go with the sandbox, however it ends. Loop devices
clear themselves when their last descriptor is closed (LO_FLAGS_AUTOCLEAR), and the sandbox holds that one.
"""

import ctypes
import os
import pathlib
import re
import signal
import subprocess
import time
import uuid

from umlcluster.sandbox import CLONE_NEWNET, CLONE_NEWNS, SetupError, command_run

PR_SET_PDEATHSIG = 1
MS_BIND = 0x1000
MNT_DETACH = 2
NETWORK = "10.77.0."
# A node is given up after TOKEN_MS + CONSENSUS_MS, and then two more rounds of the new ring form it.
TOKEN_MS = 1000
CONSENSUS_MS = 1200
# Processes end at once when they are killed. A machine may be busy.
END_SECONDS = 60

_libc = ctypes.CDLL(None, use_errno=True)


def poll(condition, seconds, what, interval=0.05):
    """Waits until condition() is true and returns its value; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(interval)


def _mount(source, target, kind, flags=0, options=None):
    if _libc.mount(source.encode(), str(target).encode(), kind.encode(), flags,
                   options.encode() if options else None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def tmpfs_mount(target, size_mib):
    _mount("tmpfs", target, "tmpfs", 0, f"size={size_mib}m,mode=0755")


def tmpfs_unmount(target):
    """At once, whoever still uses it. It is no error if nothing is mounted there."""
    _libc.umount2(str(target).encode(), MNT_DETACH)


class Process:
    """A process in a node. Its output goes to a file."""

    def __init__(self, node, name, argv, stdin=None, stdout=None, env=None):
        self.name = name
        self.log_path = node.cluster.work_dir / f"{node.name}-{name}.log"
        # Appended: a daemon that is started again goes on in the same file.
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(node.enter_argv() + [str(arg) for arg in argv],
                                          stdin=stdin or subprocess.DEVNULL, stdout=stdout or log, stderr=log,
                                          env=env, start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def stopped(self):
        """After SIGSTOP: has each of its threads come to rest? One that waits for a disk does so first."""
        try:
            states = [stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
                      for stat in pathlib.Path(f"/proc/{self.pid}/task").glob("*/stat")]
        except (FileNotFoundError, ProcessLookupError):  # a thread ended meanwhile
            return False
        return all(state in "TtZX" for state in states)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait(END_SECONDS)

    def log_text(self):
        return self.log_path.read_text(errors="replace")


class Node:
    """One node: namespaces held by a process that only sleeps, and what runs in them."""

    def __init__(self, cluster, node_id):
        self.cluster = cluster
        self.node_id = node_id
        self.name = f"n{node_id}"
        self.address = f"{NETWORK}{node_id}"
        self.holder = None
        self.processes = {}
        self.boot()

    def boot(self):
        """Makes the namespaces. A node that is booted again has an empty /run and another boot id."""
        boot_id = self.cluster.work_dir / f"{self.name}-boot-id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        ready_read, ready_write = os.pipe()
        holder = os.fork()
        if holder == 0:
            os.close(ready_read)
            self._holder_run(ready_write, boot_id)
        os.close(ready_write)
        with os.fdopen(ready_read) as ready:
            answer = ready.read()
        self.holder = holder
        if answer != "ready":
            raise SetupError(f"{self.name}: {answer or 'no namespaces'}")
        self._link_make()

    def _holder_run(self, ready_write, boot_id):
        try:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            if _libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            for path, size_mib in (("/run", 64), ("/dev/shm", 512), ("/etc/corosync", 1), ("/var/lib/corosync", 16)):
                tmpfs_mount(path, size_mib)
            _mount(str(boot_id), "/proc/sys/kernel/random/boot_id", "none", MS_BIND)
            pathlib.Path("/etc/corosync/corosync.conf").write_text(self.cluster.corosync_conf(self))
            os.write(ready_write, b"ready")
            os.close(ready_write)
            while True:
                signal.pause()
        except BaseException as error:  # whatever it is, the parent must hear of it, and this process must end
            os.write(ready_write, str(error).encode())
        os._exit(1)

    def _link_make(self):
        outside = f"v{self.name}"
        command_run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder))
        command_run("ip", "link", "set", outside, "master", "br0", "up")
        inside = ["nsenter", f"--net=/proc/{self.holder}/ns/net", "ip"]
        command_run(*inside, "link", "set", "lo", "up")
        command_run(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        command_run(*inside, "link", "set", "eth0", "up")

    def enter_argv(self):
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", f"--mount=/proc/{self.holder}/ns/mnt", "--"]

    def path(self, path):
        """A path inside the node as this process sees it."""
        return pathlib.Path(f"/proc/{self.holder}/root{path}")

    def start(self, name, argv, **kwargs):
        process = Process(self, name, argv, **kwargs)
        self.processes[name] = process
        return process

    def run(self, *argv, timeout=60):
        return subprocess.run(self.enter_argv() + [str(arg) for arg in argv], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, check=False)

    def process_kill(self, name):
        process = self.processes.pop(name, None)
        if process:
            process.kill()

    def corosync_start(self):
        return self.start("corosync", ["corosync", "-f"])

    def quorum(self):
        """(quorate, number of nodes of the ring), (False, 0) without corosync."""
        try:
            done = self.run("corosync-quorumtool", "-s")
        except subprocess.TimeoutExpired:  # corosync is forming a ring
            return False, 0
        quorate = re.search(r"^Quorate:\s+(\w+)", done.stdout, re.M)
        nodes = re.search(r"^Nodes:\s+(\d+)", done.stdout, re.M)
        if not quorate or not nodes:
            return False, 0
        return quorate.group(1) == "Yes", int(nodes.group(1))

    def pause(self, stopped):
        """All that runs in the node stops, or goes on. Signals are not delivered at once to all, but in one go."""
        for name in sorted(self.processes, key=lambda name: name == "corosync"):
            self.processes[name].signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def kill(self):
        """The node dies: all its processes at once, corosync first so that it cannot say goodbye for the others."""
        order = sorted(self.processes, key=lambda name: name != "corosync")
        for name in order:
            self.processes[name].signal(signal.SIGKILL)
        for name in order:
            self.processes.pop(name).popen.wait(END_SECONDS)

    def destroy(self):
        """The namespaces and all in them go."""
        self.kill()
        if self.holder:
            os.kill(self.holder, signal.SIGKILL)
            os.waitpid(self.holder, 0)
            self.holder = None
        # The link may be gone with the namespace already.
        subprocess.run(["ip", "link", "del", f"v{self.name}"], capture_output=True, check=False)

    def reboot(self):
        self.destroy()
        self.boot()


class Cluster:
    """N nodes on a bridge. Node ids are 1 .. count. stop() cleans up after a start() that failed, too."""

    def __init__(self, work_dir, token_ms=TOKEN_MS, consensus_ms=CONSENSUS_MS):
        self.work_dir = pathlib.Path(work_dir)
        self.token_ms = token_ms
        self.consensus_ms = consensus_ms
        self.count = 0
        self.transport = None
        self.bridges = 0
        self.nodes = {}

    def start(self, count, transport="udpu"):
        self.count = count
        self.transport = transport
        command_run("ip", "link", "set", "lo", "up")
        self._bridge_make()
        self._bridge_make()
        for node_id in range(1, count + 1):
            self.nodes[node_id] = Node(self, node_id)

    def _bridge_make(self):
        # Without snooping a bridge passes on everything from the first frame.
        command_run("ip", "link", "add", "name", f"br{self.bridges}", "type", "bridge", "forward_delay", "0",
                    "mcast_snooping", "0")
        command_run("ip", "link", "set", f"br{self.bridges}", "up")
        self.bridges += 1

    def corosync_conf(self, node):
        nodes = "".join(
            f"  node {{\n    ring0_addr: {NETWORK}{i}\n    name: n{i}\n    nodeid: {i}\n  }}\n"
            for i in range(1, self.count + 1))
        return (
            "totem {\n  version: 2\n  cluster_name: netns\n"
            f"  transport: {self.transport}\n  crypto_cipher: none\n  crypto_hash: none\n"
            f"  token: {self.token_ms}\n  token_coefficient: 0\n  consensus: {self.consensus_ms}\n"
            "  join: 50\n  send_join: 0\n"
            "}\n"
            "logging {\n  to_stderr: yes\n  to_syslog: no\n  to_logfile: no\n  timestamp: hires\n}\n"
            "quorum {\n  provider: corosync_votequorum\n}\n"
            f"nodelist {{\n{nodes}}}\n"
            "system {\n  allow_knet_handle_fallback: yes\n}\n")

    def __iter__(self):
        return iter(self.nodes.values())

    def __getitem__(self, node_id):
        return self.nodes[node_id]

    def corosync_start(self, nodes=None):
        for node in nodes or self:
            node.corosync_start()

    def quorum_wait(self, nodes=None, seconds=90):
        """Until all of them are quorate and see exactly each other."""
        nodes = list(nodes or self)

        def formed():
            for node in nodes:
                corosync = node.processes.get("corosync")
                if not corosync or not corosync.alive():
                    raise SetupError(f"{node.name}: corosync ended:\n{corosync.log_text()[-2000:] if corosync else ''}")
            return all(node.quorum() == (True, len(nodes)) for node in nodes)

        poll(formed, seconds, f"quorum of {len(nodes)} nodes", interval=0.2)

    def partition(self, *sides):
        """Each side, a list of node ids, gets a bridge of its own; nodes that are not named stay where they are."""
        while self.bridges < len(sides):
            self._bridge_make()
        for bridge, side in enumerate(sides):
            for node_id in side:
                command_run("ip", "link", "set", f"v{self.nodes[node_id].name}", "master", f"br{bridge}")

    def heal(self):
        self.partition([node.node_id for node in self if node.holder])

    def stop(self):
        for node in self:
            node.destroy()
        for bridge in range(self.bridges):
            command_run("ip", "link", "del", f"br{bridge}")
        self.bridges = 0
