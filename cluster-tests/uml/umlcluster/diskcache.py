# SPDX-License-Identifier: GPL-2.0-or-later
"""What a power cut may leave behind, at every moment of a trace of disk-trace.c.

The model: each node has a write-back cache before each disk. A write that this node has not flushed may be on the disk
or not, each sector by itself and in any order; a flush empties the cache of its node and disk, no other one. So each
sector has one content that is sure, and others that are possible. What must hold at every moment: a region whose legs
may differ cannot be clean on the log device.
"""

import os
import struct

from . import logdevice
from .checks import CheckError

SECTOR_BYTES = 512
DISKS = ("leg0", "leg1", "log")
HEADER = struct.Struct("=IIQQQ")  # node, kind, inode, offset, size of the data behind it
WRITE, FLUSH = 1, 2


def trace_read(path, disk_of_inode):
    """Yields (node, kind, disk, offset, data). The last record may be cut off: its node was killed in it."""
    with open(path, "rb") as file:
        while len(header := file.read(HEADER.size)) == HEADER.size:
            node, kind, inode, offset, size = HEADER.unpack(header)
            data = file.read(size)
            if len(data) < size:
                return
            yield node, kind, disk_of_inode[inode], offset, data


class CachedDisk:
    """One disk behind a cache of each node."""

    def __init__(self, content):
        self._content = content       # what was sure at the beginning
        self._sure = {}               # sector: what is sure now, where that is something else
        self._cached = {}             # sector: [(node, data), ...], oldest first
        self._unflushed = {}          # node: sectors with something of this node in its cache

    def write(self, node, offset, data):
        """Returns the sectors."""
        assert offset % SECTOR_BYTES == 0 and len(data) % SECTOR_BYTES == 0, (offset, len(data))
        first = offset // SECTOR_BYTES
        sectors = range(first, first + len(data) // SECTOR_BYTES)
        for sector in sectors:
            begin = (sector - first) * SECTOR_BYTES
            self._cached.setdefault(sector, []).append((node, data[begin : begin + SECTOR_BYTES]))
        self._unflushed.setdefault(node, set()).update(sectors)
        return sectors

    def flush(self, node):
        """Returns the sectors that it made sure."""
        sectors = self._unflushed.pop(node, set())
        for sector in sectors:
            entries = self._cached.get(sector, [])
            own = [place for place, (writer, _) in enumerate(entries) if writer == node]
            if own:  # else somebody else's flush of a later write has made sure of it
                self._sure[sector] = entries[own[-1]][1]
                if left := entries[own[-1] + 1 :]:
                    self._cached[sector] = left
                else:
                    del self._cached[sector]
        return sectors

    def possible(self, sector):
        """All that the sector may hold after a power cut now."""
        begin = sector * SECTOR_BYTES
        sure = self._sure.get(sector) or self._content[begin : begin + SECTOR_BYTES]
        return {sure, *(data for _, data in self._cached.get(sector, ()))}

    def image(self, chance):
        """One of the contents that a power cut now may leave."""
        content = bytearray(self._content)
        for sector in sorted({*self._sure, *self._cached}):
            begin = sector * SECTOR_BYTES
            content[begin : begin + SECTOR_BYTES] = chance.choice(sorted(self.possible(sector)))
        return bytes(content)


class PowerCutModel:
    """The disks of a mirror along a trace; apply() raises CheckError at the first moment at which a cut loses dirt."""

    def __init__(self, contents, region_sectors, region_count):
        self.disks = {name: CachedDisk(contents[name]) for name in DISKS}
        self._region_sectors = region_sectors
        self._region_count = region_count
        self._open = {}  # region: sectors of it in which the legs may differ
        self.moments = self.clean_writes = 0
        self.flushes = dict.fromkeys(DISKS, 0)
        for sector in range(region_sectors * region_count):
            self._sector_compare(sector)
        self._clean = {region for region in range(region_count) if self._may_be_clean(region)}
        self._check(set(range(region_count)))

    def _sector_compare(self, sector):
        """Returns the region."""
        region = sector // self._region_sectors
        sectors = self._open.setdefault(region, set())
        if len(self.disks["leg0"].possible(sector) | self.disks["leg1"].possible(sector)) > 1:
            sectors.add(sector)
        else:
            sectors.discard(sector)
        return region

    def _bit_place(self, region):
        place = logdevice.BITS_OFFSET * 8 + region
        sector, bit = divmod(place, SECTOR_BYTES * 8)
        return sector, bit // 8, bit % 8

    def _may_be_clean(self, region):
        sector, byte, bit = self._bit_place(region)
        return any(data[byte] >> bit & 1 for data in self.disks["log"].possible(sector))

    def _check(self, regions):
        if lost := sorted(region for region in regions & self._clean if self._open[region]):
            raise CheckError(f"moment {self.moments}: after a power cut regions {lost[:10]} may be clean on the log "
                             f"device while their legs may differ, sectors {sorted(self._open[lost[0]])[:4]} of region "
                             f"{lost[0]}")  # fmt: skip

    def apply(self, node, kind, disk, offset, data):
        self.moments += 1
        if kind == FLUSH:
            self.flushes[disk] += 1
            sectors = self.disks[disk].flush(node)
        else:
            sectors = self.disks[disk].write(node, offset, data)
        self._check(self._log_changed(sectors) if disk == "log" else set(map(self._sector_compare, sectors)))

    def _log_changed(self, sectors):
        """Returns the regions that may be clean and could not be so before."""
        touched = {region for region in range(self._region_count) if self._bit_place(region)[0] in sectors}
        now = {region for region in touched if self._may_be_clean(region)}
        new = now - self._clean
        self._clean = self._clean - touched | now
        self.clean_writes += len(new)
        return new

    def images_write(self, mirror, chance):
        """Puts on the disks what a power cut after this moment may have left."""
        for name in DISKS:
            with open(mirror.cluster.disk_path(name), "r+b") as file:
                file.write(self.disks[name].image(chance))


def contents_read(mirror):
    contents = {}
    for name in DISKS:
        with open(mirror.cluster.disk_path(name), "rb") as file:
            contents[name] = file.read()
    return contents


def disks_of_inodes(cluster):
    return {os.stat(cluster.disk_path(name)).st_ino: name for name in DISKS}
