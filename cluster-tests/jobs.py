# SPDX-License-Identifier: GPL-2.0-or-later
"""Several runs of a test program at a time, each a process with a sandbox of its own.

A run ends with `N passed, N failed, N skipped`; jobs_run() prints what each said as a whole when it has ended, and the
sum of all at the end.
"""

import re
import signal
import subprocess
import tempfile
import time

SUM = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
POLL_SECONDS = 0.1


class Job:
    """One run; its output goes to a file without a name."""

    def __init__(self, argv):
        self.argv = argv
        self._output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT)

    def result(self):
        """(what it said without its sum, [passed, failed, skipped]); to be called when it has ended."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        self._output.close()
        sums = [line for line in lines if SUM.match(line)]
        text = [line for line in lines if not SUM.match(line)]
        counts = [int(number) for number in SUM.match(sums[-1]).groups()] if sums else [0, 0, 0]
        if (self.process.returncode != 0 and not counts[1]) or not sums:
            text.append(f"not ok: {' '.join(self.argv)}: exit status {self.process.returncode}")
            counts[1] += 1
        return text, counts


def _interrupted(signum, _frame):
    raise SystemExit(128 + signum)


def jobs_run(commands, count):
    """Runs each command, `count` at a time, in this order. Returns the exit status: 0 when some ran, and none failed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    waiting, running, total = list(commands), [], [0, 0, 0]
    try:
        while waiting or running:
            while waiting and len(running) < count:
                running.append(Job(waiting.pop(0)))
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                text, counts = job.result()
                total = [a + b for a, b in zip(total, counts)]
                print("\n".join(text), flush=True)
            time.sleep(POLL_SECONDS)
    except SystemExit:
        total[1] += 1
        raise
    finally:
        # Each clears its own sandbox; a second signal in there would only hurry it.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for job in running:
            job.process.terminate()
        for job in running:
            job.process.wait()
        print("{} passed, {} failed, {} skipped".format(*total), flush=True)
    return 0 if total[0] + total[2] and not total[1] else 1
