# SPDX-License-Identifier: GPL-2.0-or-later
"""A second reading of the log device's format, made without the daemon's code, for checking it."""

import struct

MAGIC = 0x4D695272  # "MiRr"
VERSION = 2
HEADER = struct.Struct("<IIQ")
BITS_OFFSET = 1024
VALID_ALL = (1 << 64) - 1


class FormatError(Exception):
    """The device holds no dirty log, or a broken one."""


def header_read(path):
    """Returns (version, number of regions)."""
    with open(path, "rb") as file:
        magic, version, regions = HEADER.unpack(file.read(HEADER.size))
    if magic != MAGIC:
        raise FormatError(f"magic is {magic:#x}, not {MAGIC:#x}")
    if version != VERSION:
        raise FormatError(f"version is {version}, not {VERSION}")
    return version, regions


def dirty_read(path, region_count):
    """Returns the set of regions that the device calls dirty."""
    _, regions = header_read(path)
    if regions not in (region_count, VALID_ALL):
        raise FormatError(f"header speaks of {regions} regions, the mirror has {region_count}")
    with open(path, "rb") as file:
        file.seek(BITS_OFFSET)
        bits = int.from_bytes(file.read((region_count + 7) // 8), "little")
    return {region for region in range(region_count) if not bits >> region & 1}
