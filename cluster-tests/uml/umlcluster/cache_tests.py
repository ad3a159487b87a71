# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts behind write-back caches: what the disks of real kernels may have lost at any moment of a run."""

import time

from . import checks, diskcache
from .daemon import Daemon, daemons_start
from .load import PROGRESS_SECONDS, WriterLoad
from .mirror import Mirror

LEG_MIB = 8
RESYNC_SECONDS = 240
BUSY_SECONDS = 2
IDLE_SECONDS = 2.5  # longer than regions linger
THINK_MS = 100      # regions are cleared between two writes, too
CUTS = 2
OPTIONS = ("--linger=0.5",)


class CutLab:
    """Three nodes over traced disks."""

    def __init__(self, lab):
        self.lab = lab
        self.cluster = lab.cluster(leg_mib=LEG_MIB, disk_trace=diskcache.DISKS)
        self.options = [*OPTIONS, *lab.options.daemon_option]
        self.daemons = daemons_start(self.cluster, options=self.options)
        self.mirror = Mirror(self.cluster)
        self.mirror.legs_scramble(lab.options.seed)
        self.contents = diskcache.contents_read(self.mirror)
        self.mirror.activate(*self.cluster.nodes)
        self.load = WriterLoad(self.mirror, lab.chance, THINK_MS)
        self.resync_wait()

    def resync_wait(self):
        for node in self.cluster.nodes:
            self.mirror.sync_wait(node, RESYNC_SECONDS)

    def busy_and_idle(self):
        nodes = self.cluster.nodes
        for node in nodes:
            self.load.start(node)
        self.load.progress_wait(nodes)
        time.sleep(BUSY_SECONDS)
        self.load.stop(nodes)
        time.sleep(IDLE_SECONDS)

    def run(self):
        """What makes regions dirty and clean: loads, a reload, a new writer of the log device, daemons that die."""
        nodes = self.cluster.nodes
        self.busy_and_idle()
        for node in nodes:
            self.load.start(node)
        self.load.progress_wait(nodes)
        self.mirror.reload(self.lab.chance.choice(nodes))
        self.load.progress_wait(nodes)
        writer = self.daemons[nodes[0]].log_status(self.mirror.uuid)["writer"]
        victim = self.daemons[nodes[writer - 1]]
        victim.kill()
        victim.start()
        victim.ready_wait()
        self.load.progress_wait(nodes)
        self.load.stop(nodes)
        time.sleep(IDLE_SECONDS)
        self.busy_and_idle()

    def cut(self):
        """Under load, at once. Returns the model, at the last moment of the trace."""
        nodes = self.cluster.nodes
        for node in nodes:
            self.load.start(node)
        self.load.progress_wait(nodes)
        time.sleep(self.lab.chance.uniform(0, 1.5))
        for node in nodes:
            node.kill()
            self.load.dead(node)
        model = diskcache.PowerCutModel(self.contents, self.mirror.region_sectors, self.mirror.region_count)
        for record in diskcache.trace_read(self.cluster.trace_path, diskcache.disks_of_inodes(self.cluster)):
            model.apply(*record)
        return model

    def power_return(self, model):
        """The disks hold what the caches had not lost; all boots on that."""
        model.images_write(self.mirror, self.lab.chance)
        differing = self.mirror.differing_regions()
        dirty = self.mirror.dirty_regions()
        self.lab.note(f"{len(differing)} regions different, {len(dirty)} dirty after the cut")
        if lost := differing - dirty:
            raise checks.CheckError(f"regions {checks.few(lost)} differ and are clean")
        self.contents = diskcache.contents_read(self.mirror)
        with open(self.cluster.trace_path, "r+b") as trace:
            trace.truncate(0)
        nodes = self.cluster.nodes
        for node in nodes:
            node.boot()
        for node in nodes:
            node.boot_wait()
        self.cluster.corosync_start()
        self.cluster.quorum_wait()
        for node in nodes:
            self.daemons[node] = Daemon(node, options=self.options)
            self.daemons[node].start()
        for node in nodes:
            self.daemons[node].ready_wait()
        self.mirror.activate(*nodes)
        synced = self.mirror.status(nodes[0]).synced
        if synced < self.mirror.region_count - len(dirty):
            raise checks.CheckError(f"{synced} regions in sync, though only {len(dirty)} were dirty")
        self.resync_wait()


def power_cut_with_caches(lab):
    """Disks with write-back caches: at no moment of a run may a power cut leave a region different and clean."""
    it = CutLab(lab)
    for _ in range(CUTS):
        it.run()
        model = it.cut()
        lab.note(f"{model.moments} moments, {model.clean_writes} times a region became clean, flushes {model.flushes}")
        if not model.clean_writes or not all(model.flushes.values()):
            raise checks.CheckError("nothing was cleared or flushed: this shows nothing")
        it.power_return(model)
    it.mirror.deactivate(*it.cluster.nodes)
    checks.check_legs_equal(it.mirror)
    checks.check_all_clean(it.mirror)
    checks.check_no_complaints(*it.cluster.nodes)
    checks.check_daemons(it.daemons.values())


TESTS = (power_cut_with_caches,)
