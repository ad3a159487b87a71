# SPDX-License-Identifier: GPL-2.0-or-later
"""A mirror over the shared legs: tables, activation, status as LVM parses it, and what is on the disks."""

import os
import time

from . import logdevice
from .cluster import Cluster, on_each
from .guest import MODULE_ROOT

SECTOR_BYTES = 512
BLOCK_SECTORS = 8
POLL_SECONDS = 0.2


class StatusError(Exception):
    """dmsetup said something that LVM would not understand."""


class MirrorStatus:
    """A parsed line of `dmsetup status` of a mirror target."""

    def __init__(self, text):
        words = text.split()
        try:
            if words[2] != "mirror":
                raise StatusError(f"target is {words[2]}")
            self.length_sectors = int(words[1])
            leg_count = int(words[3])
            self.legs = words[4 : 4 + leg_count]
            rest = words[4 + leg_count :]
            self.synced, self.total = (int(number) for number in rest[0].split("/"))
            status_count = int(rest[1])
            self.leg_states = rest[2]
            assert status_count == 1, "the kernel prints one word with a letter for each leg"
            log_count = int(rest[3])
            self.log = rest[4:]
            if len(self.log) != log_count:
                raise StatusError(f"{log_count} log words announced, {len(self.log)} given")
        except (IndexError, ValueError) as error:
            raise StatusError(f"cannot parse {text!r}: {error}") from None

    @property
    def complete(self):
        return self.synced == self.total


class Mirror:
    """A mirror of leg0 and leg1.

    log_type: clustered-disk, clustered-core, or the kernel's own disk and core. length and region in sectors.
    leg_delay_ms: writes to leg 1 wait that long in each node (dm-delay), so that the legs of a dead node do differ.
    """

    def __init__(self, cluster, name="m", log_type="clustered-disk", region_sectors=256, length_sectors=None,
                 sync=None, features="1 handle_errors", integrated_flush=False, uuid=None, leg_delay_ms=0, slices_per_node=1):  # fmt: skip
        self.cluster = cluster
        self.name = name
        self.uuid = uuid or f"LVM-{name}-of-the-real-kernels"
        self.log_type = log_type
        self.region_sectors = region_sectors
        self.length_sectors = length_sectors or cluster.leg_bytes // SECTOR_BYTES
        self.region_count = -(-self.length_sectors // region_sectors)
        self.sync = sync
        self.features = features
        self.integrated_flush = integrated_flush
        self.leg_delay_ms = leg_delay_ms
        self.slices_per_node = slices_per_node
        self._dm_major = None
        self.device = f"/dev/mapper/{name}"

    @property
    def on_disk(self):
        return self.log_type.endswith("disk")

    def table(self):
        """The table line, as LVM would write it."""
        arguments = [self.disk_number("log")] if self.on_disk else []
        arguments += [str(self.region_sectors)] + ([self.sync] if self.sync else [])
        if self.log_type.startswith("clustered"):
            words = [self.uuid] + (["integrated_flush"] if self.integrated_flush else [])
            words += [self.log_type] + arguments
            log = ["userspace", str(len(words))] + words
        else:
            log = [self.log_type, str(len(arguments))] + arguments
        legs = ["2", self.disk_number("leg0"), "0", self.disk_number("leg1"), "0"]
        return " ".join(["0", str(self.length_sectors), "mirror"] + log + legs + [self.features]).strip()

    def disk_number(self, name):
        """MAJ:MIN of what the mirror stands on."""
        # The delayed leg is the first device-mapper device that a node makes.
        return f"{self._dm_major}:0" if name == "leg1" and self.leg_delay_ms else Cluster.disk_number(name)

    def layers_create(self, node):
        """Makes the devices that the mirror needs below itself."""
        if not self.leg_delay_ms:
            return
        leg = Cluster.disk_number("leg1")
        table = f"0 {self.length_sectors} delay {leg} 0 0 {leg} 0 {self.leg_delay_ms}"
        node.run("modprobe", "-d", MODULE_ROOT, "dm-delay")
        node.run("dmsetup", "create", f"{self.name}-leg1", "--table", table)
        number = node.run("dmsetup", "info", "-c", "--noheadings", "-o", "major,minor", f"{self.name}-leg1").strip()
        self._dm_major, minor = number.split(":")
        assert minor == "0", f"{node.name}: the delayed leg is {number}, other devices were there before"

    def activate(self, *nodes, seconds=120):
        """Activates on all given nodes at the same time, as a cluster start does."""
        on_each(self.layers_create, nodes)
        started = [node.start("dmsetup", "create", self.name, "--table", self.table()) for node in nodes]
        for command in started:
            command.check(seconds)

    def deactivate(self, *nodes, seconds=120):
        """One node after the other: of nodes that leave at the same moment the one that gets the log device last may be
        on its way out already, and leave dirty bits of clean regions behind (protocol/README, what is left open)."""
        for node in nodes:
            node.run("dmsetup", "remove", self.name, seconds=seconds)

    def reload(self, node, seconds=120):
        """What `lvchange --refresh` does."""
        node.shell(f"dmsetup load {self.name} --table '{self.table()}'\ndmsetup suspend --noflush {self.name}\n"
                   f"dmsetup resume {self.name}", seconds=seconds)

    def status(self, node, seconds=90):
        return MirrorStatus(node.run("dmsetup", "status", self.name, seconds=seconds))

    def table_words(self, node, seconds=90):
        return node.run("dmsetup", "table", self.name, seconds=seconds).split()

    def sync_wait(self, node, seconds, progress=None):
        """Waits for the end of the resync; calls progress(status) on the way. Returns the last status."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(node)
            if progress:
                progress(status)
            if status.complete:
                return status
            if time.monotonic() > deadline:
                raise TimeoutError(f"{node.name}: {status.synced}/{status.total} regions after {seconds} s")
            time.sleep(POLL_SECONDS)

    # --- slices: blocks of one node in regions of all ------------------------------------------------------------

    def slice_sectors(self):
        """Size of a node's part of each region: all nodes write all regions, no two the same block."""
        return self.region_sectors // (len(self.cluster.nodes) * self.slices_per_node) // BLOCK_SECTORS * BLOCK_SECTORS

    def slice_offset_sectors(self, node, region, which=0):
        index = node.number - 1 + which * len(self.cluster.nodes)
        return region * self.region_sectors + index * self.slice_sectors()

    def slice_blocks(self):
        """Number of 4 KiB blocks in one node's slice of the mirror."""
        return self.slice_sectors() // BLOCK_SECTORS * self.region_count

    def slice_block_offset_bytes(self, node, block):
        """Where a block of a node's slice lies on the mirror, and so on each leg."""
        region, index = divmod(block, self.slice_sectors() // BLOCK_SECTORS)
        return (self.slice_offset_sectors(node, region) + index * BLOCK_SECTORS) * SECTOR_BYTES

    def _slice_name(self, which):
        return f"{self.name}-slice{which or ''}"

    def slice_create(self, node, which=0):
        """Makes the linear device over the node's blocks; returns its path. which: below slices_per_node."""
        assert self.length_sectors % self.region_sectors == 0, "slices need whole regions"
        size = self.slice_sectors()
        lines = [
            f"{region * size} {size} linear {self.device} {self.slice_offset_sectors(node, region, which)}"
            for region in range(self.region_count)
        ]
        name = self._slice_name(which)
        node.file_put(name, "\n".join(lines) + "\n")
        node.run("dmsetup", "create", name, f"/run/share/{name}", seconds=120)
        return f"/dev/mapper/{name}"

    def slice_remove(self, node, which=0):
        node.run("dmsetup", "remove", self._slice_name(which), seconds=120)

    # --- what is on the disks, read by the host --------------------------------------------------------------------

    def differing_regions(self):
        """Regions whose legs differ now."""
        size = self.region_sectors * SECTOR_BYTES
        found = set()
        with open(self.cluster.disk_path("leg0"), "rb") as leg0, open(self.cluster.disk_path("leg1"), "rb") as leg1:
            for region in range(self.region_count):
                left = self.length_sectors * SECTOR_BYTES - region * size
                if leg0.read(min(size, left)) != leg1.read(min(size, left)):
                    found.add(region)
        return found

    def dirty_regions(self):
        """Regions that the log device calls dirty now."""
        return logdevice.dirty_read(self.cluster.disk_path("log"), self.region_count)

    def legs_scramble(self, seed=1):
        """Fills the legs with different data, so that a resync that copies nothing is seen."""
        for index, name in enumerate(("leg0", "leg1")):
            with open(self.cluster.disk_path(name), "r+b") as leg:
                for region in range(self.region_count):
                    leg.seek(region * self.region_sectors * SECTOR_BYTES)
                    leg.write(f"leg {index} region {region} seed {seed}\n".encode() * 16)


class BreakableMirror(Mirror):
    """A mirror whose legs and log device can fail on one node, and be good again: each is a device-mapper device."""

    LAYERS = ("leg0", "leg1", "log")  # the first devices that a node makes, in this order
    LEG1_DELAY_MS = 20

    def disk_number(self, name):
        return f"{self._dm_major}:{self.LAYERS.index(name)}"

    def _layer_table(self, name):
        disk, size = Cluster.disk_number(name), os.stat(self.cluster.disk_path(name)).st_size // SECTOR_BYTES
        if name == "leg1":  # slower than the other one, so that the legs of a dead node do differ
            return f"0 {size} delay {disk} 0 0 {disk} 0 {self.LEG1_DELAY_MS}"
        return f"0 {size} linear {disk} 0"

    def layers_create(self, node):
        lines = [f"modprobe -d {MODULE_ROOT} dm-delay"]
        for name in self.LAYERS:
            layer = f"{self.name}-{name}"
            lines.append(f"dmsetup create {layer} --table '{self._layer_table(name)}'")
            lines.append(f"dmsetup info -c --noheadings -o major,minor {layer}")
        numbers = node.shell("\n".join(lines)).split()
        self._dm_major = numbers[0].split(":")[0]
        wanted = [f"{self._dm_major}:{index}" for index in range(len(self.LAYERS))]
        assert numbers == wanted, f"{node.name}: the layers are {numbers}, other devices were there before"

    def _layer_replace(self, node, name, table):
        layer = f"{self.name}-{name}"
        node.shell(f"dmsetup load {layer} --table '{table}'\n"
                   f"dmsetup suspend --noflush --nolockfs {layer}\ndmsetup resume {layer}")

    def layer_break(self, node, name):
        """From now on every request to that disk fails on that node."""
        size = os.stat(self.cluster.disk_path(name)).st_size // SECTOR_BYTES
        self._layer_replace(node, name, f"0 {size} error")

    def layer_slow(self, node, name, delay_ms):
        """Requests to that disk are good, but take so long."""
        disk, size = Cluster.disk_number(name), os.stat(self.cluster.disk_path(name)).st_size // SECTOR_BYTES
        self._layer_replace(node, name, f"0 {size} delay {disk} 0 {delay_ms}")

    def layer_hang(self, node, name):
        """Requests to that disk do not end, and who made them cannot be killed, until layer_mend()."""
        node.run("dmsetup", "suspend", "--noflush", "--nolockfs", f"{self.name}-{name}")

    def layer_mend(self, node, name):
        self._layer_replace(node, name, self._layer_table(name))
