# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks themselves are given something to find."""

import struct

from netnscluster import log_image
from netnscluster.stand_in import BLOCK_BYTES, NODE_SHIFT, SECTOR_BYTES, Records, content_faults


def block_forge(block, node, write, sectors=range(BLOCK_BYTES // SECTOR_BYTES)):
    """A block, or some sectors of it, as the stand-in writes it; the hash is for its own use and left out."""
    tag = node << NODE_SHIFT | write
    data = b""
    for i in sectors:
        pattern = [((tag * 0x9E3779B97F4A7C15) + offset) & 0xFFFFFFFFFFFFFFFF for offset in range(24, 504, 8)]
        data += struct.pack("<8sQQ60QQ", b"rrorrtag", block * 8 + i, tag, *pattern, 0)
    return data


def records_forge(work_dir, name, entries):
    path = work_dir / name
    path.write_bytes(b"".join(Records.ENTRY.pack(*entry) for entry in entries))
    return Records(path)


def content_check_cases(work_dir):
    """(what, leg, faults expected) for the records of two nodes: begun, acknowledged, from, to."""
    records = {1: records_forge(work_dir, "r1", [(3, 3, 100, 110)]), 2: records_forge(work_dir, "r2", [(5, 4, 200, 210)])}
    mixed = block_forge(0, 2, 4, range(4)) + block_forge(0, 2, 5, range(4, 8))
    noise = bytes(range(256)) * (BLOCK_BYTES // 256)
    return records, [
        ("the last acknowledged write", block_forge(0, 2, 4), 0),
        ("a write that may still land", block_forge(0, 2, 5), 0),
        ("a write of before", block_forge(0, 1, 3), 1),
        ("an older write of the same node", block_forge(0, 2, 3), 1),
        ("a write that nobody began", block_forge(0, 2, 6), 1),
        ("nothing", bytes(BLOCK_BYTES), 2),
        ("two writes in one block", mixed, 1),
        ("a block of another place", block_forge(7, 2, 4), 1),
        ("noise", noise, 1),
    ]


def checkers_failures(work_dir):
    """What the checks did not find, or found without reason."""
    failures = []
    records, cases = content_check_cases(work_dir)
    for what, leg, expected in cases:
        found = content_faults(leg, records, {})
        if len(found) != expected:
            failures.append(f"{what}: {len(found)} faults found, not {expected}: {found}")
    # The second node died at 150 with its fifth write begun: what the first acknowledged after that must be there.
    late = {1: records_forge(work_dir, "r3", [(3, 3, 300, 310)]),
            2: records_forge(work_dir, "r4", [(5, 4, 100, 110)])}
    if len(content_faults(block_forge(0, 2, 5), late, {2: 150})) != 1:
        failures.append("a write lost to one of a node that was dead by then")
    image = struct.pack("<IIQ", log_image.MAGIC, 2, 16).ljust(log_image.BITS_OFFSET, b"\0") + bytes([0xFE, 0x7F])
    if log_image.dirty_regions(image, 16) != {0, 15}:
        failures.append("dirty bits of the log device")
    for what, broken in (("magic", b"\1" + image[1:]), ("version", image[:4] + b"\3" + image[5:])):
        try:
            log_image.dirty_regions(broken, 16)
            failures.append(f"a log device with a wrong {what}")
        except ValueError:
            pass
    return failures
