#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows a clustered mirror at work: three real Linux kernels on this machine, two shared disks, one log disk.

Run as root on Debian 12. Installs the packages it needs, builds, boots, and tells what happens.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "cluster-tests", "uml"))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from umlcluster import checks, guest, mirror as mirrors, writer  # noqa: E402
from umlcluster.cluster import Cluster, machine_check  # noqa: E402
from umlcluster.daemon import Daemon, daemons_start  # noqa: E402
from umlcluster.node import CommandError  # noqa: E402
from umlcluster.sandbox import SetupError, sandbox_run, work_dir_create  # noqa: E402

BUILD_DIR = os.path.join(ROOT, "build", "demo")
STATE_FILE = "/run/mirrorlogd-demo.json"
LOAD_SECONDS = 8
RESYNC_SECONDS = 120
BAR_WIDTH = 50
COMMAND_SECONDS = 300

KEPT_COMMANDS = """\
  contrib/demo exec 1 mirrorlogctl status       run a command on node 1 (2, 3)
  contrib/demo exec 2 'dmsetup status'          a quoted text goes to the shell of the node
  contrib/demo kill 3                           cut the power of node 3
  contrib/demo boot 3                           boot it again, start all it had
  contrib/demo cut 3 | contrib/demo join 3      cut the node off the network, put it back
  contrib/demo compare                          compare the two disks (meaningful when nobody writes)
  contrib/demo stop                             end it all, nothing is left behind
"""
EPILOG = "With --keep the cluster stays up when the show is over. Then:\n" + KEPT_COMMANDS


class Failed(Exception):
    """The demonstration cannot go on; the text says why and what to do."""


# --- telling ----------------------------------------------------------------------------------------------------------

_start = time.monotonic()


def say(text):
    print(text, flush=True)


def step(text):
    say(f"\n[{time.monotonic() - _start:5.1f} s] {text}")


def bar_show(status):
    """A progress bar; on something that is no terminal, only its end."""
    filled = BAR_WIDTH * status.synced // status.total
    line = f"  [{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {status.synced:4}/{status.total} regions"
    if sys.stdout.isatty():
        print("\r" + line, end="\n" if status.complete else "", flush=True)
    elif status.complete:
        say(line)


# --- before the show --------------------------------------------------------------------------------------------------


def must(argv, what):
    """Runs a step of the preparation; its output is shown only when it fails."""
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"{what} failed (exit status {done.returncode}):\n{done.stdout[-3000:]}")


def prepare(options):
    """Installs and builds; returns the build directory."""
    if os.geteuid() != 0:
        raise Failed("run this as root: it installs packages, makes network namespaces and boots kernels")
    if not options.no_install:
        say("Installing what is missing (contrib/install-deps) ...")
        if subprocess.run([os.path.join(ROOT, "contrib", "install-deps")], check=False).returncode != 0:
            raise Failed("the packages could not be installed; see above")
    if options.build:
        return os.path.abspath(options.build)
    say(f"Building in {os.path.relpath(BUILD_DIR)} ...")
    if not os.path.exists(os.path.join(BUILD_DIR, "build.ninja")):
        shutil.rmtree(BUILD_DIR, ignore_errors=True)
        must(["meson", "setup", BUILD_DIR, ROOT], "meson setup")
    must(["ninja", "-C", BUILD_DIR, "daemon/mirrorlogd", "daemon/ctl/mirrorlogctl"], "the build")
    return BUILD_DIR


# --- the show ---------------------------------------------------------------------------------------------------------


class Show:
    """The cluster and what runs on it."""

    def __init__(self, options, build_dir, work_dir):
        self.options = options
        self.cluster = Cluster(work_dir, build_dir=build_dir, leg_mib=64)
        self.mirror = mirrors.Mirror(self.cluster, name="demo", uuid="LVM-demo-mirror", region_sectors=512)
        self.daemons = {}

    def boot(self):
        step("Booting three Linux kernels (user-mode-linux), each with corosync")
        self.cluster.start()
        version = self.cluster.nodes[0].run("uname", "-r").strip()
        self.cluster.corosync_start()
        self.cluster.quorum_wait()
        say(f"  node1, node2 and node3 run Linux {version} and see each other: the cluster has quorum.")
        self.daemons = daemons_start(self.cluster)
        say("  mirrorlogd runs on all three.")

    def activate(self):
        mirror, nodes = self.mirror, self.cluster.nodes
        step("Activating one mirror on all three nodes at the same time")
        mirror.legs_scramble()
        say("  Its two legs hold different data to begin with. On each node:")
        say(f"  dmsetup create demo --table '{mirror.table()}'")
        mirror.activate(*nodes)
        say("  Initial resync, by one of the nodes; no region is copied by two:")
        mirror.sync_wait(nodes[0], RESYNC_SECONDS, bar_show)

    def write_all(self):
        nodes = self.cluster.nodes
        step(f"All three nodes write for {LOAD_SECONDS} s, into the same regions, and verify what they read back (fio)")
        slices = [self.mirror.slice_create(node) for node in nodes]
        loads = [checks.fio_start(node, path, LOAD_SECONDS, node.number) for node, path in zip(nodes, slices)]
        for node, load in zip(nodes, loads):
            blocks, slowest = checks.fio_check(load, LOAD_SECONDS + 60)
            say(f"  {node.name}: {blocks} blocks written, all as written; slowest write {slowest * 1000:.0f} ms")

    def kill_one(self):
        first, second, victim = nodes = self.cluster.nodes
        survivors = [first, second]
        step(f"Killing {victim.name} while all three write")
        blocks = self.mirror.slice_blocks()
        loads = {
            node: writer.writer_start(node, f"/dev/mapper/{self.mirror.name}-slice", blocks, 600, node.number)
            for node in nodes
        }
        writes_wait(nodes, dict.fromkeys(nodes, 100), 60)
        victim.kill()
        differing, dirty = checks.check_dirt_known(self.mirror)
        say(f"  Power cut. {len(differing)} regions differ between the legs at this moment, {len(dirty)} are marked")
        say("  dirty on the log disk, and every region that differs is among them.")
        marked = {node: len(writer.writer_record(node).entries) for node in survivors}
        writes_wait(survivors, {node: marked[node] + 100 for node in survivors}, 60)
        for node in survivors:
            loads[node].signal(signal.SIGTERM)
        for node in survivors:
            loads[node].check(60)
            record = writer.writer_record(node)
            after = record.entries[marked[node] :]
            stall = max(end - start for _, _, start, end in after)
            say(f"  {node.name} went on: {len(after)} writes since, the longest waited {stall:.1f} s")
        say("  (that wait is corosync finding out that a node is gone; it takes "
            f"{self.cluster.token_ms * 2.2 / 1000:.1f} s with these settings).")  # fmt: skip
        total = 0
        for node in nodes:
            record = writer.writer_record(node)
            checks.check_record(record, node, self.mirror)
            total += len(record.entries)
        say(f"  All {total} acknowledged writes of all three nodes, the dead one's too, are on both legs.")

    def status(self):
        node = self.cluster.nodes[0]
        step("What the survivors say: mirrorlogctl status, dmsetup status")
        text = self.command(node, ["mirrorlogctl", "status"]).check(30)
        say("".join("  | " + line + "\n" for line in text.splitlines()).rstrip())
        say("  | " + node.run("dmsetup", "status", "demo").strip())

    def deactivate(self):
        alive = [node for node in self.cluster.nodes if node.alive()]
        step("Waiting for the repair of what the dead node left, deactivating, comparing the legs")
        left = self.ghosts_wait(self.daemons[alive[0]], 40)
        for node in alive:
            self.mirror.slice_remove(node)
        self.mirror.deactivate(*alive)
        differing, dirty = self.mirror.differing_regions(), self.mirror.dirty_regions()
        if differing - dirty:
            raise checks.CheckError(f"regions {sorted(differing - dirty)} differ and are called clean")
        checks.check_no_complaints(*alive)
        if left or differing:
            say(f"  {len(differing)} regions differ, all of them marked dirty: the next activation copies them.")
        else:
            say(f"  The legs are identical, byte for byte. The log disk calls {len(dirty)} regions dirty.")

    def ghosts_wait(self, daemon, seconds):
        deadline = time.monotonic() + seconds
        while True:
            log = daemon.log_status(self.mirror.uuid)
            left = log["ghost_regions"] + log["unsynced_regions"] if log else 0
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)

    def conclude(self):
        say("\nWhat happened: three kernels, each with its own dm-mirror, wrote into the same mirror at the same time.")
        say("mirrorlogd told all of them which regions may differ between the disks, before each write could start,")
        say("and kept that on the log disk. So when a node died in the middle of its writes, nobody had to guess and")
        say("nobody had to copy the whole disk: only the regions it had marked were copied. No write was lost.")

    # --- after the show: --keep ------------------------------------------------------------------------------------

    def command(self, node, argv):
        """Starts a command with the built programs in its path."""
        path = f"{guest.BUILD}:/usr/sbin:/usr/bin:/sbin:/bin"
        if len(argv) == 1:
            argv = ["bash", "-c", argv[0]]
        return node.start("env", f"PATH={path}", *argv)

    def node_boot(self, node):
        node.boot()
        node.boot_wait()
        self.cluster.corosync_start(node)
        self.cluster.quorum_wait([other for other in self.cluster.nodes if other.alive()])
        self.daemons[node] = Daemon(node)
        self.daemons[node].start()
        self.daemons[node].ready_wait()
        self.mirror.activate(node)

    def request(self, words):
        """One command of the user. Returns (exit status, standard output, standard error)."""
        verb, numbers = words[0], words[1:2]
        if verb == "compare":
            differing = self.mirror.differing_regions()
            dirty = self.mirror.dirty_regions()
            return 0, f"{len(differing)} regions differ, {len(dirty)} are dirty on the log disk\n", ""
        node = self.cluster.nodes[int(numbers[0]) - 1]
        if (verb == "boot") == node.alive():
            return 1, "", f"{node.name} {'runs already' if node.alive() else 'is not running'}\n"
        if verb == "exec":
            command = self.command(node, words[2:])
            return command.wait(COMMAND_SECONDS), command.stdout(), command.stderr()
        {"kill": node.kill, "boot": lambda: self.node_boot(node), "cut": lambda: self.cluster.partition(node),
         "join": lambda: self.cluster.heal(node)}[verb]()  # fmt: skip
        return 0, f"{verb} {node.name}: done\n", ""

    def serve(self, listener):
        """Answers the user's commands, one at a time, until told to stop."""
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw", encoding="utf-8") as stream:
                words = json.loads(stream.readline())
                try:
                    answer = self.request(words)
                except (CommandError, SetupError, OSError) as error:
                    answer = (1, "", f"{error}\n")
                stream.write(json.dumps(answer) + "\n")


def writes_wait(nodes, wanted, seconds):
    """Waits until each node has that many writes acknowledged."""
    deadline = time.monotonic() + seconds
    while waiting := [node.name for node in nodes if writes_count(node) < wanted[node]]:
        if time.monotonic() > deadline:
            raise checks.CheckError(f"writes on {', '.join(waiting)} stand still")
        time.sleep(0.05)


def writes_count(node):
    try:
        return len(writer.writer_record(node).entries)
    except FileNotFoundError:
        return 0


def show_run(options, build_dir, work_dir, ready):
    """Runs in the sandbox. ready: called when --keep has everything up and running again."""
    show = None
    try:
        machine_check()
        show = Show(options, build_dir, work_dir)
        for act in (show.boot, show.activate, show.write_all, show.kill_one, show.status, show.deactivate):
            act()
        show.conclude()
        if options.keep:
            step("Bringing everything up again, for you")
            alive = [node for node in show.cluster.nodes if node.alive()]
            show.mirror.activate(*alive)
            show.node_boot(show.cluster.nodes[2])
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(work_dir, "control"))
            listener.listen()
            ready()
            show.serve(listener)
        return 0
    except (SetupError, CommandError, checks.CheckError, mirrors.StatusError, TimeoutError) as error:
        say(f"\nFAILED: {error}")
        if show:
            logs = f"/tmp/mirrorlogd-demo-logs-{os.getpid()}-{int(time.time())}"
            show.cluster.logs_copy(logs)
            say(f"The kernels' messages and the logs of all programs are in {logs}.")
        return 1


# --- keeping it -------------------------------------------------------------------------------------------------------


def state_read():
    """What is known of the cluster that is kept, or None."""
    try:
        with open(STATE_FILE, encoding="utf-8") as file:
            state = json.load(file)
        # The process must still be the one that wrote the file: its directory says so.
        os.kill(state["supervisor"], 0)
        if os.path.exists(os.path.join(state["work_dir"], "control")):
            return state
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def kept_request(words):
    if words[0] not in ("exec", "kill", "boot", "cut", "join", "compare", "stop"):
        raise Failed(f"{words[0]}: no such command; see contrib/demo --help")
    if words[0] not in ("compare", "stop") and (len(words) < 2 or words[1] not in ("1", "2", "3")):
        raise Failed(f"{words[0]} which node? 1, 2 or 3")
    if words[0] == "exec" and len(words) < 3:
        raise Failed("exec what?")
    state = state_read()
    if state is None:
        raise Failed("no cluster is kept here; start one with: contrib/demo --keep")
    if words[0] == "stop":
        os.kill(state["supervisor"], signal.SIGTERM)
        deadline = time.monotonic() + 30
        while os.path.exists(state["work_dir"]):
            if time.monotonic() > deadline:
                raise Failed(f"process {state['supervisor']} does not end")
            time.sleep(0.05)
        return 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.path.join(state["work_dir"], "control"))
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.write(json.dumps(words) + "\n")
            stream.flush()
            status, output, error = json.loads(stream.readline())
    sys.stdout.write(output)
    sys.stderr.write(error)
    return status if status >= 0 else 128 - status


def output_close():
    """From here on nothing is printed: the terminal belongs to the user again."""
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def keep_run(options, build_dir):
    """Runs the show in a background process; returns when that is ready for the user, or has failed."""
    work_dir = work_dir_create()
    reader, told = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        os.setsid()
        os.close(reader)

        def ready():
            with open(STATE_FILE, "w", encoding="utf-8") as file:
                json.dump({"supervisor": state["pid"], "work_dir": work_dir}, file)
            say("\nThe cluster stays up, with the mirror active on all nodes as /dev/mapper/demo. Now you:")
            say(KEPT_COMMANDS)
            output_close()
            os.write(told, b"k")

        # Nobody who started us waits for the end of a pipe, or for a lock, that the cluster holds.
        os.closerange(3, told)
        os.closerange(told + 1, os.sysconf("SC_OPEN_MAX"))
        state = {"pid": os.getpid()}

        def worker_started(_reaper):
            os.close(told)
            output_close()

        code = sandbox_run(lambda: show_run(options, build_dir, work_dir, ready), work_dir, ready=worker_started)
        if os.path.exists(STATE_FILE):
            os.unlink(STATE_FILE)
        os._exit(code)
    os.close(told)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda signum, _frame: os.kill(supervisor, signum))
    kept = os.read(reader, 1)
    if kept:
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1])


def main():
    parser = argparse.ArgumentParser(
        prog="contrib/demo", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster running, to play with")
    parser.add_argument("--no-install", action="store_true", help="do not install packages")
    parser.add_argument("--build", metavar="DIR", help="use this build directory as it is")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="for a kept cluster, see below")
    options = parser.parse_args()
    try:
        if options.command:
            return kept_request(options.command)
        if options.keep and state_read():
            raise Failed("a cluster is kept already; end it with: contrib/demo stop")
        build_dir = prepare(options)
        global _start
        _start = time.monotonic()
        if options.keep:
            return keep_run(options, build_dir)
        work_dir = work_dir_create()
        return sandbox_run(lambda: show_run(options, build_dir, work_dir, None), work_dir)
    except (Failed, SetupError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before anything was booted; from then on sandbox_run() sees to it
        print("demo: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
