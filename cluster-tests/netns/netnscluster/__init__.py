# SPDX-License-Identifier: GPL-2.0-or-later
"""Clusters of real corosync on one host: a node is a network and a mount namespace."""
