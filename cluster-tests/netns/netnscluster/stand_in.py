# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in kernel of a node, and what is known of all writes after it."""

import json
import struct
import subprocess
import time

from netnscluster.cluster import poll

PORT = 7000
BLOCK_BYTES = 4096
SECTOR_BYTES = 512
NODE_SHIFT = 48
# Complaints that mean lost or wrong data, whatever was killed.
FATAL_COMPLAINTS = {"write-unmarked", "write-one-leg", "no-room", "short-reply", "bad-name", "answer-lost",
                    "log-failure", "resume-failed"}


class CommandFailed(Exception):
    """The stand-in, or the daemon through it, refused a command."""


class StandIn:
    """A running kernel_stand_in and its answers."""

    def __init__(self, node, binary, tables_dir, records_dir, region_sectors, seed, version=3, leg_delay_us=3000,
                 speed=1):
        self.node = node
        self.answers_path = node.cluster.work_dir / f"{node.name}-kernel-{time.monotonic_ns()}.json"
        self.next_id = 1
        self.answers = {}
        self.events = []
        self.complaints_forgiven = 0
        self.offset = 0
        self.partial = b""
        with open(self.answers_path, "wb") as answers:
            self.process = node.start("kernel", [
                binary, f"--node={node.node_id}", f"--port={PORT}", f"--tables={tables_dir}",
                f"--records={records_dir}", f"--region-sectors={region_sectors}", f"--seed={seed}",
                f"--version={version}", f"--leg-delay-us={leg_delay_us}", f"--speed={speed}"], stdin=subprocess.PIPE, stdout=answers)
        poll(lambda: self.event_seen("ready"), 60, f"{node.name}: stand-in kernel starts", interval=0.01)
        # A kind that is spelled otherwise here would never be found.
        self.kinds = set(self.events[0]["complaints"])
        self.complaints(FATAL_COMPLAINTS)

    def read(self):
        with open(self.answers_path, "rb") as answers:
            answers.seek(self.offset)
            text = answers.read()
        self.offset += len(text)
        lines = (self.partial + text).split(b"\n")
        self.partial = lines.pop()
        for line in lines:
            record = json.loads(line)
            if "id" in record:
                self.answers[record["id"]] = record
            else:
                self.events.append(record)

    def event_seen(self, name):
        self.read()
        if not self.process.alive():
            raise CommandFailed(f"{self.node.name}: stand-in kernel ended:\n{self.process.log_text()[-2000:]}")
        return any(event["event"] == name for event in self.events)

    def send(self, verb, *arguments):
        """Starts a command, returns its number for wait()."""
        number = self.next_id
        self.next_id += 1
        line = " ".join([str(number), verb] + [str(argument) for argument in arguments])
        self.process.popen.stdin.write(line.encode() + b"\n")
        self.process.popen.stdin.flush()
        return number

    def answered(self, number):
        self.read()
        return self.answers.get(number)

    def wait(self, number, seconds=60, what="command"):
        answer = poll(lambda: self.answered(number), seconds, f"{self.node.name}: {what}", interval=0.005)
        if not answer["ok"]:
            raise CommandFailed(f"{self.node.name}: {what}: {answer['error']}")
        return answer

    def command(self, verb, *arguments, seconds=60):
        return self.wait(self.send(verb, *arguments), seconds, f"{verb} {' '.join(map(str, arguments))}")

    def info(self, mirror, reset=False):
        return self.command("info", mirror, *(["reset"] if reset else []))

    def complaints(self, kinds=None):
        """Complaints of these kinds (None: all), as text."""
        if kinds is not None and not kinds <= self.kinds:
            raise ValueError(f"no such complaints: {sorted(kinds - self.kinds)}")
        self.read()
        return [f"{self.node.name}: {event['kind']} {event['request']} region {event['region']} "
                f"error {event['error']}"
                for event in self.events[self.complaints_forgiven:]
                if event["event"] == "complaint" and (kinds is None or event["kind"] in kinds)]

    def complaints_forgive(self):
        """What there is up to now was looked at."""
        self.read()
        self.complaints_forgiven = len(self.events)

    def bad_reads(self):
        self.read()
        return sum(1 for event in self.events if event["event"] == "bad_read")


class Records:
    """What one node wrote to each block of a mirror: begun, acknowledged, and when (cluster-tests/netns/block_tag.h)."""

    ENTRY = struct.Struct("=QQQQ")

    def __init__(self, path):
        try:
            self.data = path.read_bytes()
        except FileNotFoundError:
            self.data = b""

    def entry(self, block):
        offset = block * self.ENTRY.size
        if offset + self.ENTRY.size > len(self.data):
            return 0, 0, 0, 0
        return self.ENTRY.unpack_from(self.data, offset)


def tag_of(block, data):
    """(node, number of the write) of a block; None for zeroes; ValueError for what nobody wrote as a whole."""
    if not any(data):
        return None
    sectors = [data[i:i + SECTOR_BYTES] for i in range(0, BLOCK_BYTES, SECTOR_BYTES)]
    tags = set()
    for i, sector in enumerate(sectors):
        magic, number, tag = struct.unpack_from("<8sQQ", sector, 0)
        pattern = struct.pack("<60Q", *(((tag * 0x9E3779B97F4A7C15) + offset) & 0xFFFFFFFFFFFFFFFF
                                        for offset in range(24, 504, 8)))
        if magic != b"rrorrtag" or number != block * 8 + i or sector[24:504] != pattern:
            raise ValueError(f"block {block} sector {i}: no tag of ours")
        tags.add(tag)
    if len(tags) != 1:
        raise ValueError(f"block {block}: mixed from {sorted(tags)}")
    tag = tags.pop()
    return tag >> NODE_SHIFT, tag & ((1 << NODE_SHIFT) - 1)


def tag_text(block, data):
    try:
        tag = tag_of(block, data)
    except ValueError as error:
        return str(error)
    return f"write {tag[1]} of node {tag[0]}" if tag else "zeroes"


def content_faults(data, records, deaths):
    """What is wrong with the content of a leg, given the records {node id: Records} of all nodes that ever wrote, and
    when the dead ones died (CLOCK_BOOTTIME).

    A block must hold a write W that was begun, and no write that was acknowledged may have begun after W had been
    acknowledged: it would have been lost.
    """
    faults = []
    for block in range(len(data) // BLOCK_BYTES):
        entries = {node: record.entry(block) for node, record in records.items()}
        if not any(entry[0] for entry in entries.values()):
            continue
        try:
            tag = tag_of(block, data[block * BLOCK_BYTES:(block + 1) * BLOCK_BYTES])
        except ValueError as error:
            faults.append(str(error))
            continue
        faults += _block_faults(block, tag, entries, deaths)
    return faults


def _block_faults(block, tag, entries, deaths):
    ended_ns = 0
    if tag is not None:
        node, write = tag
        begun, acknowledged, _, acknowledged_ns = entries.get(node, (0, 0, 0, 0))
        if write > begun:
            return [f"block {block}: write {write} of node {node} was never begun"]
        if write < acknowledged:
            return [f"block {block}: holds write {write} of node {node}, which had {acknowledged} acknowledged"]
        # Begun and not acknowledged: it may land at any later time, unless its node is dead.
        ended_ns = acknowledged_ns if write == acknowledged else deaths.get(node)
    if ended_ns is None:
        return []
    return [f"block {block}: holds {tag}, but write {entry[1]} of node {node} began after that and was acknowledged"
            for node, entry in entries.items() if entry[1] and entry[2] > ended_ns]
