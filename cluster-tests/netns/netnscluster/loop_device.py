# SPDX-License-Identifier: GPL-2.0-or-later
"""Loop devices that clear themselves when their last user closes them, and reads that see what is on them."""

import errno
import fcntl
import mmap
import os
import struct

LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_AUTOCLEAR = 4
# struct loop_config: fd, block size, struct loop_info64 (232 bytes, lo_flags at 52), 8 reserved words.
_CONFIG_BYTES = 8 + 232 + 64
_FLAGS_OFFSET = 8 + 52
_DATA_OFFSET_OFFSET = 8 + 24
# A disk begins behind the first page of its file.
HEAD_BYTES = 4096


def loop_configure(backing, block_bytes, flags=0, offset_bytes=HEAD_BYTES):
    """A free loop device on an open file. Returns (path, descriptor): the device lives as long as somebody has it open."""
    # Another user of the host may take the free device between the two calls.
    for _attempt in range(64):
        with open("/dev/loop-control", "rb") as control:
            index = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
        device = f"/dev/loop{index}"
        fd = os.open(device, os.O_RDWR)
        config = bytearray(_CONFIG_BYTES)
        struct.pack_into("=II", config, 0, backing, block_bytes)
        struct.pack_into("=I", config, _FLAGS_OFFSET, LO_FLAGS_AUTOCLEAR | flags)
        struct.pack_into("=Q", config, _DATA_OFFSET_OFFSET, offset_bytes)
        try:
            fcntl.ioctl(fd, LOOP_CONFIGURE, bytes(config))
            return device, fd
        except OSError as error:
            os.close(fd)
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EBUSY, "no free loop device")


class LoopDevice:
    """A disk in a file. Usable in all namespaces of the host by its number."""

    def __init__(self, path, size_bytes, block_bytes=512):
        with open(path, "wb") as file:
            file.truncate(HEAD_BYTES + size_bytes)
        self.file_path = path
        self.size_bytes = size_bytes
        backing = os.open(path, os.O_RDWR)
        try:
            self.path, self.fd = loop_configure(backing, block_bytes)
        finally:
            os.close(backing)
        number = os.fstat(self.fd).st_rdev
        self.number = f"{os.major(number)}:{os.minor(number)}"

    def read(self, offset=0, size_bytes=None):
        """What is on the disk, not in anybody's cache: O_DIRECT."""
        size_bytes = self.size_bytes - offset if size_bytes is None else size_bytes
        room = (size_bytes + 4095) // 4096 * 4096
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, room) as buffer:
                done = 0
                while done < size_bytes:
                    with memoryview(buffer) as view, view[done:] as rest:
                        got = os.preadv(fd, [rest], offset + done)
                    if got <= 0:
                        raise OSError(errno.EIO, f"{self.path}: short read")
                    done += got
                return buffer[:size_bytes]
        finally:
            os.close(fd)

    def write(self, offset, data):
        """Through the cache and down to the disk."""
        done = os.pwrite(self.fd, data, offset)
        if done != len(data):
            raise OSError(errno.EIO, f"{self.path}: short write")
        os.fsync(self.fd)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
