/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All tables of clustered mirrors, from device-mapper or from a directory that stands in for it
 * (device_mapper.h). Blocks. Of all modules only this one calls libdevmapper, which is not made for threads:
 * one thread at a time.
 */
#ifndef DAEMON_PORT_TABLE_LIST_H
#define DAEMON_PORT_TABLE_LIST_H

#include "daemon/port/mirror_table.h"

/* `tables_dir`: NULL for device-mapper. The caller frees *ret_tables with free(3). Returns 0 or a negative
 * errno; -ENODEV: the kernel has no device-mapper (and so no tables). Malformed tables are logged and left
 * out. */
int table_list_read(const char *tables_dir, struct mirror_table **ret_tables, size_t *ret_count);

#endif
