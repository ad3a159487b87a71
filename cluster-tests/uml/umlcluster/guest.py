#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Process 1 inside a node: sets the node up, then runs commands for the host until the node is killed.

Commands come and answers go through files in a directory of the host (hostfs, mounted sync). That needs neither
network nor interrupts, both of which user-mode-linux may lose, and what a process wrote before its node was
killed is there to read afterwards.

  cmd/ID.json  {"argv": [...], "env": {...}}   host -> node: start this
  cmd/ID.kill-N  signal number                 host -> node: signal its process group, in the order of N
  out/ID.out, out/ID.err                       the command's output, as it is written
  out/ID.rc    exit status, -N: signal N       node -> host: it ended
"""

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time

SHARE_ENV = "guest_share"
SHARE = "/run/share"
BUILD = "/run/build"
MODULE_ROOT = "/run/modules"
MODULES = ("dm-mod", "dm-mirror", "dm-log-userspace", "cn")
POLL_SECONDS = 0.01
READER_COUNT = 4
READER_SECONDS = 0.04  # four readers: one read every 10 ms, and one lost interrupt does not stop them all


def must(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def mount(kind, where, options=None, source="none"):
    must("mount", "-n", "-t", kind, *(["-o", options] if options else []), source, where)


def share_mount(path):
    mount("proc", "/proc")
    mount("tmpfs", "/run", "mode=755")
    for where in (SHARE, BUILD, MODULE_ROOT + "/lib/modules", "/run/lock"):
        os.makedirs(where)
    mount("hostfs", SHARE, "sync," + path)


def mounts_make(config):
    mount("sysfs", "/sys")
    if not os.path.ismount("/dev"):
        mount("devtmpfs", "/dev")
    mount("hostfs", BUILD, "ro," + config["build"])
    for path in ("/tmp", "/var/lib", "/var/log", "/etc/corosync", "/dev/shm", "/dev/pts"):
        if not os.path.isdir(path):
            os.makedirs(path)
        mount("devpts" if path.endswith("pts") else "tmpfs", path)
    os.makedirs("/var/lib/corosync")
    os.makedirs("/var/log/corosync")
    must("mount", "-n", "--bind", config["module_dir"], MODULE_ROOT + "/lib/modules")


def network_start(config):
    socket.sethostname(config["name"])
    must("ip", "link", "set", "lo", "up")
    must("ip", "address", "add", config["address"], "dev", "eth0")
    must("ip", "link", "set", "eth0", "up")


def idle_disk_read(path):
    """Reads an unused disk for ever: each end of a read also delivers the ends that user-mode-linux had lost."""
    buffer = mmap.mmap(-1, 4096)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    while True:
        os.preadv(fd, [buffer], 0)
        time.sleep(READER_SECONDS)


def readers_start(path):
    for _ in range(READER_COUNT):
        if os.fork() == 0:
            # All else in the node waits for them, the load too. corosync has 99.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
            idle_disk_read(path)
        time.sleep(READER_SECONDS / READER_COUNT)


def write_whole(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def command_start(number, environment):
    path = f"{SHARE}/cmd/{number}.json"
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, f"{SHARE}/out/{number}.out", flags, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, f"{SHARE}/out/{number}.err", flags, 0o644),
    ]
    argv = request["argv"]
    try:
        return os.posix_spawnp(
            argv[0], argv, {**environment, **request.get("env", {})}, file_actions=actions, setsid=True
        )
    except OSError as error:
        write_whole(f"{SHARE}/out/{number}.err", f"{argv[0]}: {error}\n")
        write_whole(f"{SHARE}/out/{number}.rc", "127")
        return None


def command_signal(number, name, running):
    path = f"{SHARE}/cmd/{name}"
    with open(path, encoding="utf-8") as file:
        signum = int(file.read())
    os.unlink(path)
    for pid, other in running.items():
        if other == number:
            try:
                os.killpg(pid, signum)
            except ProcessLookupError:
                pass


def children_reap(running):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        number = running.pop(pid, None)
        if number is not None:
            write_whole(f"{SHARE}/out/{number}.rc", str(os.waitstatus_to_exitcode(status)))


def commands_serve():
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "DM_DISABLE_UDEV": "1",  # no udev here: dmsetup makes the nodes in /dev/mapper itself
    }
    running = {}
    while True:
        for name in sorted(os.listdir(SHARE + "/cmd")):
            number, _, kind = name.rpartition(".")
            if kind == "json":
                pid = command_start(number, environment)
                if pid is not None:
                    running[pid] = number
            elif kind.startswith("kill-"):
                command_signal(number, name, running)
        children_reap(running)
        time.sleep(POLL_SECONDS)


def main():
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    share_mount(os.environ[SHARE_ENV])
    with open(f"{SHARE}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    mounts_make(config)
    must("modprobe", "-d", MODULE_ROOT, "-a", *MODULES)
    network_start(config)
    readers_start(config["idle_disk"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        write_whole(f"{SHARE}/boot-{config['boot']}", file.read())
    commands_serve()


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:  # process 1 must say why before the kernel panics over its end
        print(f"guest: {error!r}", file=sys.stderr, flush=True)
        raise
