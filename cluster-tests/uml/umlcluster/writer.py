#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Load whose every acknowledged write is on record, and the check of the legs against that record.

As a program (inside a node): a few processes write random 4 KiB blocks of a device with O_DIRECT until their time is
over or SIGTERM comes (SIGUSR1: pause after the write under way, SIGUSR2: go on), each to blocks of its own, one write at a time. A block is full of copies of one tag: node,
block, generation, checksum. What was acknowledged goes to a record file of the host at once, so that it survives the
node.
"""

import mmap
import os
import random
import signal
import struct
import sys
import time
import zlib

PROGRAM = "writer.py"  # this file's name among a node's programs
PROGRAM_DIR = "/run/build"  # guest.BUILD; inside a node this file stands alone
BLOCK_BYTES = 4096
JOB_COUNT = 4
PAUSE_SECONDS = 0.02
MAGIC = b"MLWRITER"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
TAG = struct.Struct("<8sIIQQI28x")  # magic, node, zero, block, generation, CRC-32 of what stands before it
ENTRY = struct.Struct("<QQdd")  # block, generation, start and end by the node's clock, which follows the host's


def block_make(node, block, generation):
    body = TAG.pack(MAGIC, node, 0, block, generation, 0)
    crc = zlib.crc32(body[:32])
    return TAG.pack(MAGIC, node, 0, block, generation, crc) * (BLOCK_BYTES // TAG.size)


def block_parse(data):
    """Returns (node, block, generation), or None for a block that no writer wrote, or one that is torn."""
    magic, node, _, block, generation, crc = TAG.unpack_from(data)
    if magic != MAGIC or crc != zlib.crc32(data[:32]) or data[: TAG.size] * (BLOCK_BYTES // TAG.size) != data:
        return None
    return node, block, generation


class Record:
    """What the record files of one node say, oldest first."""

    def __init__(self, *paths):
        self.entries = []
        self.runs = len(paths)
        for path in paths:
            with open(path, "rb") as file:
                data = file.read()
            self.entries += ENTRY.iter_unpack(data[: len(data) // ENTRY.size * ENTRY.size])

    def generations(self):
        """Last acknowledged generation of each block."""
        return {block: generation for block, generation, _, _ in self.entries}

    def longest_stall_seconds(self):
        """The longest single write."""
        return max((end - start for _, _, start, end in self.entries), default=0.0)


def record_check(record, node, mirror):
    """Compares a record with both legs. Returns a list of sentences, empty when nothing is lost."""
    lost = []
    in_flight = set()
    for name in ("leg0", "leg1"):
        with open(mirror.cluster.disk_path(name), "rb") as leg:
            for block, generation in record.generations().items():
                leg.seek(mirror.slice_block_offset_bytes(node, block))
                found = block_parse(leg.read(BLOCK_BYTES))
                where = f"{name}, {node.name} block {block} (region {block_region(mirror, block)})"
                if found is None:
                    lost.append(f"{where}: no whole block, generation {generation} was acknowledged")
                elif found[:2] != (node.number, block) or found[2] < generation:
                    lost.append(f"{where}: holds {found}, generation {generation} was acknowledged")
                elif found[2] > generation:
                    in_flight.add(block)
    if len(in_flight) > record.runs * JOB_COUNT:  # each process has one write under way at most
        lost.append(f"{node.name}: unacknowledged writes on {len(in_flight)} blocks: {sorted(in_flight)[:10]}")
    return lost


def block_region(mirror, block):
    return mirror.slice_block_offset_bytes(mirror.cluster.nodes[0], block) // (mirror.region_sectors * 512)


def writer_start(node, device, block_count, seconds, seed, run=1, think_ms=0):
    """Starts the writer in a node; writer_record() reads what it did. run: later runs need higher numbers.
    think_ms: between the end of a write and the next one."""
    record = f"record-{run}"
    return node.start(
        f"{PROGRAM_DIR}/{PROGRAM}", device, str(node.number), str(block_count), str(seconds), str(seed), str(run),
        str(think_ms), f"/run/share/{record}",
    )  # fmt: skip


def record_path(node, run):
    return os.path.join(node.share, f"record-{run}")


def writer_record(node, *runs):
    """The record of a node's writers, all runs that are checked together given in order."""
    return Record(*(record_path(node, run) for run in runs or (1,)))


def record_count(node, *runs):
    """How many writes are on record, without reading them. A run that has not begun has none."""
    paths = [record_path(node, run) for run in runs]
    return sum(os.path.getsize(path) // ENTRY.size for path in paths if os.path.exists(path))


def blocks_write(device, record, node, job, block_count, seconds, seed, run, think_ms):
    """Writes blocks that are `job` modulo JOB_COUNT; block_count is a multiple of that."""
    chance = random.Random(f"{seed} {node} {job} {run}")
    stop, paused = [], []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    signal.signal(signal.SIGUSR1, lambda *_: paused.append(True))
    signal.signal(signal.SIGUSR2, lambda *_: paused.clear())
    buffer = mmap.mmap(-1, BLOCK_BYTES)
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    deadline = time.monotonic() + seconds
    generation = run << 32
    while not stop and time.monotonic() < deadline:
        if paused:
            time.sleep(PAUSE_SECONDS)
            continue
        generation += 1
        block = chance.randrange(block_count // JOB_COUNT) * JOB_COUNT + job
        buffer[:] = block_make(node, block, generation)
        start = time.time()
        os.pwritev(fd, [buffer], block * BLOCK_BYTES)
        os.write(record, ENTRY.pack(block, generation, start, time.time()))
        if think_ms:
            time.sleep(think_ms / 1000)


def main():
    device, path = sys.argv[1], sys.argv[8]
    node, block_count, seconds, seed, run, think_ms = (int(word) for word in sys.argv[2:8])
    record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    children = []
    for job in range(JOB_COUNT):
        child = os.fork()
        if child == 0:
            try:
                blocks_write(device, record, node, job, block_count, seconds, seed, run, think_ms)
            except OSError as error:
                print(f"job {job}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    for number in SIGNALS:  # the whole group gets them; the children end, and then this
        signal.signal(number, signal.SIG_IGN)
    failed = sum(1 for child in children if os.waitpid(child, 0)[1] != 0)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
