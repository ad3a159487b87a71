#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long I/O stood still after failures: kept as JSON, printed as a table, drawn as an SVG by gnuplot.

usage: stalls.py DATA.json ... [--svg=FILE]

All times are seconds on one clock of the measurement's choice.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

BIN_SECONDS = 0.1
BEFORE_SECONDS = 1.0
AFTER_SECONDS = 2.0
ROW_PIXELS = 130
WIDTH_PIXELS = 1000
COLOURS = ["#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#17becf"]


def gap_longest(writes, fault):
    """(begin, end) of the longest time without a completed write that ends after the fault. `writes` ascends."""
    best = (fault, fault)
    for before, after in zip(writes, writes[1:]):
        if after > fault and after - before > best[1] - best[0]:
            best = (before, after)
    return best


class Stalls:
    """Samples of stalls: add() what was seen, then save(), table(), svg_write()."""

    def __init__(self):
        self.samples = []

    def add(self, kind, writes, fault, known=None):
        """One failure.

        kind    what happened, the same text for each repetition; kinds are shown in the order they first come
        writes  {node: [time at which a write was complete, ...]} of the nodes that should go on
        fault   when it happened
        known   when corosync had told all of them, or when what they had to wait for was over; None: nothing to wait
        Returns the sample, with "stall" (longest on any node) and "beyond" (what of it comes after `known`)."""
        writes = {str(node): sorted(times) for node, times in writes.items()}
        gaps = {node: gap_longest(times, fault) for node, times in writes.items()}
        node = max(gaps, key=lambda node: gaps[node][1] - gaps[node][0])
        begin, end = gaps[node]
        waited = max(0.0, (known or fault) - fault)
        sample = {"kind": kind, "fault": fault, "known": fault + waited, "writes": writes, "node": node, "gap": [begin, end],
                  "stall": end - begin, "detection": waited, "beyond": max(0.0, end - begin - waited)}
        self.samples.append(sample)
        return sample

    def kinds(self):
        """{kind: its samples}"""
        found = {}
        for sample in self.samples:
            found.setdefault(sample["kind"], []).append(sample)
        return found

    def save(self, path):
        pathlib.Path(path).write_text(json.dumps(self.samples))

    def load(self, path):
        """Adds what save() wrote."""
        self.samples += json.loads(pathlib.Path(path).read_text())

    def table(self):
        """Seconds; `wait` is what corosync, fencing or the failure itself took, `beyond` what came on top of it."""
        kinds = self.kinds()
        width = max([len(kind) for kind in kinds] + [7])
        lines = [f"{'failure':{width}}  {'n':>3}  {'stall: median':>13}  {'worst':>6}  {'wait: median':>12}  "
                 f"{'beyond: median':>14}  {'worst':>6}"]
        for kind, samples in kinds.items():
            stalls, waits, beyond = ([sample[key] for sample in samples] for key in ("stall", "detection", "beyond"))
            lines.append(f"{kind:{width}}  {len(samples):3}  {statistics.median(stalls):13.2f}  {max(stalls):6.2f}  "
                         f"{statistics.median(waits):12.2f}  {statistics.median(beyond):14.2f}  {max(beyond):6.2f}")
        return "\n".join(lines)

    def svg_write(self, path):
        """One row a kind: its worst sample, writes a second of each node over time. Needs gnuplot."""
        worst = [max(samples, key=lambda sample: sample["beyond"]) for samples in self.kinds().values()]
        if not worst:
            return
        script = [f'set terminal svg size {WIDTH_PIXELS},{ROW_PIXELS * len(worst) + 40} font "sans,10"',
                  f'set output "{path}"',
                  f'set multiplot layout {len(worst)},1 title "Writes a second after each kind of failure: the worst '
                  'of its samples. Grey: until it was known or over"',
                  "set key outside right", "set ytics 100", "set grid xtics", "set lmargin 8", "set rmargin 16"]
        for sample in worst:
            script += plot_lines(sample)
        script.append("unset multiplot")
        subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def plot_lines(sample):
    """gnuplot's commands for one row."""
    fault, known = sample["fault"], sample["known"] - sample["fault"]
    end = max(known, sample["gap"][1] - fault) + AFTER_SECONDS
    lines = [f'set title "{sample["kind"]}: {sample["stall"]:.2f} s, {sample["beyond"]:.2f} s beyond" offset 0,-0.7',
             f"set xrange [{-BEFORE_SECONDS}:{end:.2f}]", "set yrange [0:*]", "unset object", "unset arrow",
             'set arrow from 0, graph 0 to 0, graph 1 nohead lc rgb "#d62728"']
    if known > 0:
        lines.append(f'set object rectangle from 0, graph 0 to {known:.3f}, graph 1 fc rgb "#dddddd" fs noborder behind')
    plots, data = [], []
    for i, (node, times) in enumerate(sorted(sample["writes"].items())):
        plots.append(f'"-" with steps lc rgb "{COLOURS[i % len(COLOURS)]}" title "node {node}"')
        counts = {}
        for time in times:
            slot = int((time - fault + BEFORE_SECONDS) // BIN_SECONDS)
            counts[slot] = counts.get(slot, 0) + 1
        slots = int((end + BEFORE_SECONDS) / BIN_SECONDS) + 1
        data += [f"{slot * BIN_SECONDS - BEFORE_SECONDS:.2f} {counts.get(slot, 0) / BIN_SECONDS:.0f}"
                 for slot in range(slots)]
        data.append("e")
    return [*lines, "plot " + ", ".join(plots), *data]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", nargs="+", metavar="DATA.json")
    parser.add_argument("--svg", metavar="FILE", help="draw the worst sample of each kind")
    options = parser.parse_args()
    stalls = Stalls()
    for path in options.data:
        stalls.load(path)
    print(stalls.table())
    if options.svg:
        stalls.svg_write(options.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
