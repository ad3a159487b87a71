# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes of one process to one disk that hang, as they do on a path that is lost and queues."""

import errno
import os
import pathlib
import tempfile

from netnscluster.cluster import poll
from netnscluster.lab import Skipped

CONTROLLER = pathlib.Path("/sys/fs/cgroup/blkio")


class WriteHang:
    """While it lasts, what the process writes to the device (MAJ:MIN) stays in flight: a byte a second is let through. Not
    even SIGKILL ends the thread that waits for it."""

    def __init__(self, pid, device):
        self.pid = pid
        self.device = device
        self.group = None

    @staticmethod
    def needed():
        """To be called first by a test that needs this."""
        if not (CONTROLLER / "blkio.throttle.write_bps_device").exists() or not os.access(CONTROLLER, os.W_OK):
            raise Skipped(f"not tried: no {CONTROLLER} with blkio.throttle that can be written")

    def _limit(self, bytes_per_second):
        (self.group / "blkio.throttle.write_bps_device").write_text(f"{self.device} {bytes_per_second}\n")

    def __enter__(self):
        # Several tests may do so at once, each in a pid namespace of its own: no pid makes a name of its own.
        self.group = pathlib.Path(tempfile.mkdtemp(prefix="mirrorlogd-test-", dir=CONTROLLER))
        try:
            self._limit(1)
            (self.group / "cgroup.procs").write_text(f"{self.pid}\n")
        except OSError:
            self.group.rmdir()
            raise
        return self

    def __exit__(self, *_error):
        self._limit(0)
        for pid in (self.group / "cgroup.procs").read_text().split():
            (CONTROLLER / "cgroup.procs").write_text(f"{pid}\n")
        # A process that has just ended is in it still, and is gone soon.
        poll(self._removed, 60, "the process leaves its cgroup")

    def _removed(self):
        try:
            self.group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    @staticmethod
    def _state(path):
        try:
            return path.read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return None

    def hangs(self):
        """A thread waits for a device."""
        return any(self._state(task / "stat") == "D" for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*"))

    def zombie(self):
        """Dead, but for threads that cannot end."""
        return self._state(pathlib.Path(f"/proc/{self.pid}/stat")) == "Z"
