# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be true, as functions that raise CheckError with everything a reader needs to know."""

import contextlib
import json
import re
import signal

from .cluster import on_each
from .writer import record_check


# dm-log-userspace asks again, and says so, when a request has waited 15 s. Who waited less long for corosync or quorum
# has no reason to say it.
RESEND_SECONDS = 12
FIO_INTERRUPTED = 128
RESENT = re.compile(r"Request timed out.*retrying")


class CheckError(Exception):
    """A guarantee is broken."""


def few(items, count=12):
    items = sorted(items)
    return f"{items[:count]}{' ...' if len(items) > count else ''} ({len(items)} in all)"


@contextlib.contextmanager
def frozen(cluster):
    """Inside, no node runs and no disk request is under way."""
    cluster.freeze()
    try:
        yield
    finally:
        cluster.thaw()


def check_dirt_known(mirror):
    """No region whose legs differ is clean on the log device: at any moment, whoever just died.

    Returns (regions that differ, regions that are dirty).
    """
    with frozen(mirror.cluster):
        differing = mirror.differing_regions()
        dirty = mirror.dirty_regions()
    if lost := differing - dirty:
        raise CheckError(f"legs differ in regions that are clean on the log device: {few(lost)}")
    return differing, dirty


def check_legs_equal(mirror):
    if differing := mirror.differing_regions():
        raise CheckError(f"legs differ in regions {few(differing)} of {mirror.region_count}")


def check_all_clean(mirror):
    if dirty := mirror.dirty_regions():
        raise CheckError(f"log device still calls regions dirty: {few(dirty)} of {mirror.region_count}")


def check_record(record, node, mirror):
    if lost := record_check(record, node, mirror):
        raise CheckError(f"{len(lost)} acknowledged writes lost: " + "; ".join(lost[:5]))


def check_no_complaints(*nodes):
    """No kernel spoke of a timeout, a failed log or a lost server since its mark."""
    said = [f"{node.name}: {line}" for node in nodes for line in node.complaints()]
    if said:
        raise CheckError(f"{len(said)} kernel messages: " + "; ".join(said[:6]))


def check_resends_only(nodes, waited_seconds, allowed=None):
    """No kernel complains, but that it asked again what corosync or quorum held up so long. Sets the marks.

    allowed: what else a kernel may say of the fault that it was given (a pattern).
    """
    for node in nodes:
        said = [
            line
            for line in node.complaints()
            if not (waited_seconds >= RESEND_SECONDS and RESENT.search(line)) and not (allowed and allowed.search(line))
        ]
        if said:
            raise CheckError(f"{node.name}: {len(said)} kernel messages: " + "; ".join(said[:6]))
        node.console_mark()


def check_daemons(daemons):
    """All run, and none says something of a sanitizer or an assertion."""
    for daemon in daemons:
        if faults := daemon.faults():
            raise CheckError(f"{daemon.node.name}: mirrorlogd said: " + "; ".join(faults[:3]))
        if not daemon.running():
            raise CheckError(f"{daemon.node.name}: mirrorlogd is gone: {daemon.log()[-600:]}")


def check_digests_equal(daemons):
    """Members hold the same state, once nothing is under way."""
    daemons = list(daemons)
    statuses = on_each(lambda daemon: daemon.status() or {}, daemons)
    digests = {daemon.node.name: status.get("digest") for daemon, status in zip(daemons, statuses)}
    if len(set(digests.values())) != 1 or None in digests.values():
        raise CheckError(f"daemons do not agree: {digests}")


def fio_start(node, device, seconds, seed, think_ms=0):
    """Starts random 4 KiB writes, each read back and verified after a few others; think_ms: between two of them."""
    return node.start(
        "fio", "--name=load", f"--filename={device}", "--direct=1", "--rw=randwrite", "--bs=4k",
        "--ioengine=psync", "--thread", "--time_based", f"--runtime={seconds}", f"--randseed={seed}",
        f"--thinktime={think_ms * 1000}",
        "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=8", "--output-format=json",
    )  # fmt: skip


def fio_check(command, seconds):
    """Waits for it, checks that all data was as written; returns (blocks written, slowest write in seconds)."""
    return fio_result(command, command.check(seconds))


def fio_running(command):
    """It ends by itself when it reads what it has not written."""
    if (status := command.status()) is not None:
        raise CheckError(f"{command}: ended with {status}: {command.stderr()[-800:]} {command.stdout()[-800:]}")


def fio_pause(command):
    """What it has under way ends; then it does nothing until fio_resume()."""
    fio_running(command)
    command.signal(signal.SIGSTOP)


def fio_resume(command):
    command.signal(signal.SIGCONT)


def fio_stop(command, seconds):
    """Ends a load before its time. Returns how many blocks it has verified."""
    command.signal(signal.SIGINT)
    if (status := command.wait(seconds)) not in (0, FIO_INTERRUPTED):
        raise CheckError(f"{command}: exit status {status}: {command.stderr()[-800:]}")
    return fio_job(command, command.stdout())["read"]["total_ios"]


def fio_job(command, text):
    job = json.loads(text[text.index("{") :])["jobs"][0]
    if job["error"]:
        raise CheckError(f"{command}: fio error {job['error']}")
    return job


def fio_result(command, text):
    job = fio_job(command, text)
    if not job["read"]["total_ios"] or not job["write"]["total_ios"]:
        raise CheckError(f"{command}: fio wrote or verified nothing")
    return job["write"]["total_ios"], job["write"]["clat_ns"]["max"] / 1e9
