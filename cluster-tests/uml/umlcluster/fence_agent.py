#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A fence agent for dlm_controld inside a node: asks the host to cut a node's power, and waits for the answer.

As dlm_controld wants it, arguments come on standard input (`port=N`), and only exit status 0 means that the node is
dead. Question and answer are files in the node's directory of the host, see dlm.py.
"""

import os
import sys
import time

SHARE = "/run/share"
PROGRAM = "fence_agent.py"
POLL_SECONDS = 0.02


def main():
    arguments = dict(line.strip().split("=", 1) for line in sys.stdin if "=" in line)
    name = f"{time.monotonic_ns()}-{os.getpid()}"
    question, answer = f"{SHARE}/fence/{name}.ask", f"{SHARE}/fence/{name}.answer"
    with open(question + ".new", "w", encoding="ascii") as file:
        file.write(arguments["port"])
    os.rename(question + ".new", question)
    while not os.path.exists(answer):
        time.sleep(POLL_SECONDS)
    with open(answer, encoding="ascii") as file:
        return int(file.read())


if __name__ == "__main__":
    sys.exit(main())
