#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a small frame to every tap each 2 ms: a packet that user-mode-linux overlooked is then seen at once.

The frames go to the taps themselves, past the bridge, so that a node cut off from the cluster gets them too.
"""

import socket
import sys
import time

ETHERTYPE_EXPERIMENTAL = b"\x88\xb5"  # IEEE 802 local experimental: a kernel drops it unread
PERIOD_SECONDS = 0.002


def main():
    frame = b"\xff" * 6 + b"\x02\x00\x00\x00\xff\xff" + ETHERTYPE_EXPERIMENTAL + bytes(46)
    taps = []
    for name in sys.argv[1:]:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        tap.bind((name, 0))
        tap.setblocking(False)
        taps.append(tap)
    while True:
        for tap in taps:
            try:
                tap.send(frame)
            except OSError:
                pass  # no node behind this tap now, or its queue is full: nobody to wake
        time.sleep(PERIOD_SECONDS)


if __name__ == "__main__":
    main()
