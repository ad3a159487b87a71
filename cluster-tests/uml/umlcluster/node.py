# SPDX-License-Identifier: GPL-2.0-or-later
"""One node: a user-mode-linux kernel, and the commands run in it."""

import json
import os
import re
import shlex
import signal
import subprocess
import time

from .sandbox import SetupError, priority_raise

GUEST_INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest.py")
KERNEL = "linux.uml"
MODULE_DIR = "/usr/lib/uml/modules"
# A node that gets no processor for seconds looks dead to corosync: builds beside the cluster must not cause that.
PRIORITY_STEPS = 10
POLL_SECONDS = 0.01

# What a healthy node never says: the log server timed out or is gone, a log or a leg failed, the kernel is in trouble.
COMPLAINT = re.compile(
    r"timed? ?out|log server not found|server error|[Ff]ail(ed|ure)|[Ll]ost|"
    r"Unable to|BUG:|Oops|WARNING:|Kernel panic|hung task|blocked for more than|I/O error|stall",
)
# Said by user-mode-linux when a disk is first opened; holds a path of the host.
HARMLESS = re.compile(r"Not locking .* on the host")


class CommandError(Exception):
    """A command in a node failed, or did not end in time."""


class Command:
    """A command started in a node. Its output is in files of the host from the first byte."""

    def __init__(self, node, number, argv):
        self.node = node
        self.number = number
        self.argv = argv
        self._signals = 0
        self.path = os.path.join(node.share, "out", number)

    def __str__(self):
        return f"{self.node.name}: {shlex.join(self.argv)[:200]}"

    def _read(self, kind):
        try:
            with open(f"{self.path}.{kind}", encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def stdout(self):
        return self._read("out")

    def stderr(self):
        return self._read("err")

    def status(self):
        """Exit status, -N when signal N ended it, None while it runs."""
        text = self._read("rc")
        return int(text) if text else None

    def signal(self, signum):
        """Sends a signal to the command's process group."""
        self._signals += 1
        self.node.file_put(f"cmd/{self.number}.kill-{self._signals:05d}", str(int(signum)))

    def wait(self, seconds):
        """Waits for its end. Returns the exit status; CommandError when it takes longer, after killing it."""
        deadline = time.monotonic() + seconds
        while (status := self.status()) is None:
            if not self.node.alive():
                raise CommandError(f"{self}: the node died")
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                raise CommandError(f"{self}: still running after {seconds:g} s; said: {self.stderr()[-400:]}")
            time.sleep(POLL_SECONDS)
        return status

    def check(self, seconds):
        """Waits, and raises CommandError unless it succeeded. Returns its standard output."""
        status = self.wait(seconds)
        if status != 0:
            said = (self.stderr() or self.stdout()).strip()[-800:]
            raise CommandError(f"{self}: exit status {status}: {said}")
        return self.stdout()


class Node:
    """A node of the cluster. number counts from 1 and is corosync's node id."""

    def __init__(self, number, work_dir, disks, programs, memory_mib, address, environment):
        self.number = number
        self.name = f"node{number}"
        self.address = address
        self.tap = f"tap{number}"
        self.share = os.path.join(work_dir, self.name)
        self.console_path = os.path.join(self.share, "console.log")
        self._work_dir = work_dir
        self._disks = disks
        self._programs = programs
        self._memory_mib = memory_mib
        self._environment = environment  # of the kernel as a process of the host
        self._process = None
        self._command_count = 0
        self._console_mark = 0
        self.boots = 0
        for name in ("cmd", "out"):
            os.makedirs(os.path.join(self.share, name))

    def file_put(self, name, text):
        """Puts a file into the node's directory, whole or not at all."""
        path = os.path.join(self.share, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    # --- life ---------------------------------------------------------------------------------------------------

    def boot(self):
        """Starts the kernel; boot_wait() waits for it."""
        assert self._process is None
        self.boots += 1
        for name in os.listdir(os.path.join(self.share, "cmd")):
            os.unlink(os.path.join(self.share, "cmd", name))
        config = {
            "name": self.name,
            "address": self.address + "/24",
            "boot": self.boots,
            "build": self._programs,
            "module_dir": MODULE_DIR,
            "idle_disk": f"/dev/ubd{chr(ord('a') + len(self._disks) - 1)}",
        }
        self.file_put("config.json", json.dumps(config))
        argv = [KERNEL, f"mem={self._memory_mib}M", f"umid={self.name}b{self.boots}", f"uml_dir={self._work_dir}"]
        argv += ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]
        argv += [f"ubd{index}c={path}" for index, path in enumerate(self._disks)]
        argv += [f"eth0=tuntap,{self.tap},02:00:00:00:00:{self.number:02x}"]
        argv += ["con=null", "con0=null,fd:1", "ssl=null", "stderr=1", "printk.time=1"]
        argv += ["panic=1", "noreboot", "nohz=off"]
        argv += [f"init={GUEST_INIT}", f"guest_share={self.share}"]
        env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": self._work_dir,
            **self._environment,
        }
        with open(self.console_path, "ab") as console:
            console.write(f"--- boot {self.boots}\n".encode())
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                preexec_fn=lambda: priority_raise(PRIORITY_STEPS),
                env=env,
            )

    def boot_wait(self, seconds=120):
        """Waits until the node takes commands."""
        deadline = time.monotonic() + seconds
        while not os.path.exists(os.path.join(self.share, f"boot-{self.boots}")):
            if not self.alive() or time.monotonic() > deadline:
                state = "is not up in time" if self.alive() else "died while booting"
                said = [line for line in self.console().splitlines() if "[<" not in line]
                raise SetupError("\n".join([f"{self.name} {state}; its console says:"] + said[-25:]))
            time.sleep(POLL_SECONDS)
        self.console_mark()  # what user-mode-linux says while booting is about itself

    def alive(self):
        return self._process is not None and self._process.poll() is None

    def _session_states(self):
        """(process id, state letter) of every process of the node: a node is one session."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self._process.pid and fields[0] != "Z":
                found.append((int(name), fields[0]))
        return found

    def _session_pids(self):
        return [pid for pid, _ in self._session_states()]

    def kill(self):
        """Ends the node at once, as a power cut would (the host's page cache survives)."""
        if self._process is None:
            return
        deadline = time.monotonic() + 60
        while pids := self._session_pids():
            for pid in sorted(pids, key=lambda pid: pid != self._process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._process.poll()
            if time.monotonic() > deadline:
                raise SetupError(f"{self.name}: processes {pids} do not die")
            time.sleep(POLL_SECONDS)
        self._process.wait()
        self._process = None

    def pause(self):
        """Stops the node's time; disk requests already under way still end, see settle_wait()."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def settle_wait(self, seconds=60):
        """Waits until a paused node is still: the kernel has stopped, its disk threads have nothing left to do."""
        deadline = time.monotonic() + seconds
        while busy := [pid for pid, state in self._session_states() if self._is_busy(pid, state)]:
            if time.monotonic() > deadline:
                raise SetupError(f"{self.name}: processes {busy} do not come to rest")
            time.sleep(POLL_SECONDS)

    def _is_busy(self, pid, state):
        if pid == self._process.pid:
            return state != "T"
        return state in "RD" and not self._is_traced(pid)

    @staticmethod
    def _is_traced(pid):
        """Is it a process of the guest? It may spin in its own memory, but gets nothing from a kernel that stands."""
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                return "\nTracerPid:\t0\n" not in file.read()
        except OSError:
            return True

    def resume(self):
        os.kill(self._process.pid, signal.SIGCONT)

    # --- commands -----------------------------------------------------------------------------------------------

    def start(self, *argv, env=None):
        """Starts a command in the node and returns at once."""
        self._command_count += 1
        command = Command(self, f"{self.boots}-{self._command_count:05d}", list(argv))
        self.file_put(f"cmd/{command.number}.json", json.dumps({"argv": command.argv, "env": env or {}}))
        return command

    def run(self, *argv, seconds=90, env=None):
        """Runs a command that must succeed; returns its standard output."""
        return self.start(*argv, env=env).check(seconds)

    def shell(self, text, seconds=90):
        return self.run("bash", "-ec", text, seconds=seconds)

    # --- kernel messages ----------------------------------------------------------------------------------------

    def console(self):
        """All the node's kernels have said, over all boots."""
        with open(self.console_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def console_mark(self):
        """Complaints before this point are no longer reported."""
        self._console_mark = len(self.console())

    def complaints(self):
        """Kernel messages since the mark that a healthy node never prints."""
        lines = self.console()[self._console_mark :].splitlines()
        return [line for line in lines if COMPLAINT.search(line) and not HARMLESS.search(line)]
