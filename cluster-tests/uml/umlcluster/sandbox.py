# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a function in its own process, network and mount namespaces, so that nothing can be left behind.

Three processes: the supervisor (the caller, outside), the reaper (process 1 of the namespace) and the worker, which
runs the function. When the worker ends, or the supervisor dies in whatever way, the reaper dies with it, and the
kernel then kills every node, removes every tap and every bridge. Only the work directory is the supervisor's to remove.
"""

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1
SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}.get(os.uname().machine, -1)
SHORT_TURN_NS = 100000  # the shortest there is
WORK_PREFIX = "mirrorlogd-uml-"

_libc = ctypes.CDLL(None, use_errno=True)


class SetupError(Exception):
    """The machine cannot run the cluster; the text says what to do about it."""


def _check(result, what):
    if result != 0:
        err = ctypes.get_errno()
        raise SetupError(f"{what}: {os.strerror(err)} (the real-kernel cluster needs root)")


def _leftovers_remove(base):
    """Removes work directories whose maker was killed with SIGKILL, which leaves nobody to do it."""
    for name in os.listdir(base):
        maker = name[len(WORK_PREFIX) :].split("-")[0]
        if name.startswith(WORK_PREFIX) and maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)


def work_dir_create():
    """Makes the work directory, in memory when there is room: a node's disks and memory are files in it."""
    base = tempfile.gettempdir()
    try:
        room = os.statvfs("/dev/shm")
        if room.f_bavail * room.f_frsize >= 1 << 30:
            base = "/dev/shm"
    except OSError:
        pass
    _leftovers_remove(base)
    path = tempfile.mkdtemp(prefix=f"{WORK_PREFIX}{os.getpid()}-", dir=base)
    os.chmod(path, 0o755)
    return path


def _signal_raise(signum, _frame):
    # A second signal while cleaning up must not cut the cleaning short: the supervisor has the harder means.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def _worker_run(function):
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _signal_raise)
    status = 1
    try:
        status = function()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(status or 0))


def _reaper_run(function):
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    _check(_libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")
    worker = os.fork()
    if worker == 0:
        _worker_run(function)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)  # whoever reads the worker's output must see its end when the worker closes it
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda signum, _frame: os.kill(worker, signum))
    while True:
        pid, status = os.wait()
        if pid == worker:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def sandbox_run(function, work_dir, ready=None):
    """Runs function() in the sandbox and removes work_dir after it. Returns its exit status.

    SIGINT, SIGTERM and SIGHUP become SystemExit in the function; a second one ends everything at once.
    ready, if given, is called with the reaper's process id, in the supervisor.
    """
    sys.stdout.flush()
    _check(_libc.unshare(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS), "make namespaces")
    reaper = os.fork()
    if reaper == 0:
        try:
            _reaper_run(function)
        except BaseException as error:
            print(f"error: {error}", file=sys.stderr)
        os._exit(1)

    seen = []

    def forward(signum, _frame):
        os.kill(reaper, signal.SIGKILL if seen else signum)
        seen.append(signum)

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, forward)
    try:
        if ready:
            ready(reaper)
        _, status = os.waitpid(reaper, 0)
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def priority_raise(steps):
    """Puts this process and its children before what else the machine runs; where that is not allowed, goes on.

    For the first process of a session: with autogroups (sched(7)) a nice value counts within a session only, and the
    session has one of its own. Who asks for short turns is let in at once (since Linux 6.12), instead of after the turn
    of who computes without end: a user-mode-linux changes its processes with each system call."""
    attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, -steps, 0, SHORT_TURN_NS, 0, 0)
    try:
        if _libc.syscall(SYS_SCHED_SETATTR, 0, attributes, 0) != 0:
            os.setpriority(os.PRIO_PROCESS, 0, -steps)
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write(str(-steps))
    except OSError:
        pass


def command_run(*argv):
    """Runs a host command that must succeed (ip and the like)."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise SetupError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
