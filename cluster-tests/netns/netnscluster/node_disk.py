# SPDX-License-Identifier: GPL-2.0-or-later
"""A node's own path to a shared disk, which can fail for this node alone."""

import fcntl
import os
import struct

from netnscluster.loop_device import loop_configure

LOOP_SET_STATUS64 = 0x4C04
LOOP_GET_STATUS64 = 0x4C05
LO_FLAGS_DIRECT_IO = 16
_INFO_BYTES = 232
_SIZE_LIMIT_OFFSET = 32


class NodeDisk:
    """Two loop devices, one upon the other, on the file of the shared disk. The node uses the upper one, which begins
    behind the first page of the lower one. While the lower one ends behind its first sector, all that the upper one asks
    of it is beyond the end: an I/O error. (A write that begins before the end would be cut off and called good.)
    Neither caches anything: the page cache of the file is what all nodes see."""

    def __init__(self, disk_path):
        backing = os.open(disk_path, os.O_RDWR)
        try:
            lower_path, self.lower_fd = loop_configure(backing, 512, offset_bytes=0)
        finally:
            os.close(backing)
        backing = os.open(lower_path, os.O_RDWR)
        try:
            self.path, self.fd = loop_configure(backing, 512, LO_FLAGS_DIRECT_IO)
        finally:
            os.close(backing)
        number = os.fstat(self.fd).st_rdev
        self.number = f"{os.major(number)}:{os.minor(number)}"

    def fail(self, failing):
        info = bytearray(_INFO_BYTES)
        fcntl.ioctl(self.lower_fd, LOOP_GET_STATUS64, info)
        struct.pack_into("=Q", info, _SIZE_LIMIT_OFFSET, 512 if failing else 0)
        fcntl.ioctl(self.lower_fd, LOOP_SET_STATUS64, bytes(info))

    def close(self):
        os.close(self.fd)
        os.close(self.lower_fd)
