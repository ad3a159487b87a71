# SPDX-License-Identifier: GPL-2.0-or-later
"""How long writes waited for each kind of failure: the line of a round, the table, the picture.

A round is a dict: kind; round (its number); begin, end (seconds of one clock); detection (seconds until corosync had
noticed, or None where it is not asked); stall (the longest wait of one write); beyond (the longest wait after corosync
and fencing had done their part, or after the fault itself was over); gaps: [[node, from, to], ...] in seconds from
begin, the waits that are worth drawing.
"""

import html
import statistics

ROW_PIXELS = 14
LABEL_PIXELS = 300
SECOND_PIXELS = 24
COLOURS = ("#4878a8", "#d08a3c", "#6a9a58", "#a05a8c", "#8a6a4a", "#5a8a8a", "#b05050")


def round_text(entry):
    noticed = "-" if entry["detection"] is None else f"{entry['detection']:.1f} s"
    return f"{entry['kind']}: noticed {noticed}, longest stall {entry['stall']:.1f} s, beyond {entry['beyond']:.2f} s"


def by_kind(rounds):
    """Rounds by kind, in the order of the alphabet."""
    kinds = {}
    for entry in rounds:
        kinds.setdefault(entry["kind"], []).append(entry)
    return sorted(kinds.items())


def table_text(rounds):
    """Kind, number of rounds, detection, and median and worst stall beyond it. A text of several lines."""
    lines = [f"{'failure':32} {'rounds':>6} {'noticed s':>9} {'stall s':>8} {'beyond: median':>15} {'worst s':>8}"]
    for kind, entries in by_kind(rounds):
        noticed = [entry["detection"] for entry in entries if entry["detection"] is not None]
        beyond = [entry["beyond"] for entry in entries]
        lines.append(
            f"{kind:32} {len(entries):6} {f'{statistics.median(noticed):.1f}' if noticed else '-':>9} "
            f"{max(entry['stall'] for entry in entries):8.1f} {statistics.median(beyond):15.2f} {max(beyond):8.2f}"
        )
    return "\n".join(lines)


def timeline_svg(rounds):
    """A picture: one row for each node of each round, time from the fault on, a bar where a write waited."""
    rows, seconds = [], 1.0
    for kind, entries in by_kind(rounds):
        for entry in entries:
            waits = {}
            for node, begin, end in entry["gaps"]:
                waits.setdefault(node, []).append((begin, end))
                seconds = max(seconds, end)
            for node in sorted(waits) or [""]:
                rows.append((f"{kind} {entry['round']} {node}", entry["detection"], waits.get(node, [])))
    width, height = LABEL_PIXELS + seconds * SECOND_PIXELS + 20, (len(rows) + 3) * ROW_PIXELS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" font-family="sans-serif" '
        'font-size="10"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="4" y="{ROW_PIXELS - 3}">Bars: a write waited that long. Line: corosync had noticed. '
        "Seconds after the fault.</text>"
    ]
    step = max(1, int(seconds / 30))
    for second in range(0, int(seconds) + 1, step):
        x = LABEL_PIXELS + second * SECOND_PIXELS
        parts.append(
            f'<path d="M{x} {2 * ROW_PIXELS}V{height}" stroke="#ddd"/>'
            f'<text x="{x}" y="{2 * ROW_PIXELS - 3}" text-anchor="middle">{second}</text>'
        )
    for index, (label, noticed, waits) in enumerate(rows):
        y = (index + 2) * ROW_PIXELS
        colour = COLOURS[sum(map(ord, label.rstrip("0123456789 ")[:8])) % len(COLOURS)]
        parts.append(f'<text x="4" y="{y + ROW_PIXELS - 3}">{html.escape(label)}</text>')
        for begin, end in waits:
            parts.append(
                f'<rect x="{LABEL_PIXELS + begin * SECOND_PIXELS:.1f}" y="{y + 2}" height="{ROW_PIXELS - 4}" '
                f'width="{max(1, (end - begin) * SECOND_PIXELS):.1f}" fill="{colour}" fill-opacity="0.5"/>'
            )
        if noticed is not None:
            x = LABEL_PIXELS + noticed * SECOND_PIXELS
            parts.append(f'<path d="M{x:.1f} {y}v{ROW_PIXELS}" stroke="#c00"/>')
    return "\n".join(parts + ["</svg>", ""])
