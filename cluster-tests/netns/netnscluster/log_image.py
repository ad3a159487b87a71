# SPDX-License-Identifier: GPL-2.0-or-later
"""The log device as an outsider reads it: written from drivers/md/dm-log.c, not from the daemon's decoder."""

import struct

MAGIC = 0x4D695272
BITS_OFFSET = 1024


def dirty_regions(image, region_count):
    """The regions that a reader of the device must take as dirty. ValueError for what is no log."""
    magic, version, regions = struct.unpack_from("<IIQ", image, 0)
    if magic != MAGIC:
        raise ValueError(f"magic {magic:#x}")
    if version not in (1, 2):
        raise ValueError(f"version {version}")
    if regions < region_count:
        raise ValueError(f"{regions} regions in the header, {region_count} in the mirror")
    bits = image[BITS_OFFSET:]
    return {region for region in range(region_count) if not bits[region >> 3] >> (region & 7) & 1}
