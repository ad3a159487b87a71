# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of real Linux kernels on one machine.

Every node is a user-mode-linux kernel whose root is the host's own file system, read-only. Reading order:
sandbox (namespaces, nothing left behind), guest (what runs inside a node), node, cluster, mirror, daemon,
writer (load whose every acknowledged write is on record), logdevice and checks (what must be true of the disks).
"""
