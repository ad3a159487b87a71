/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/nodelist.h"

#include <string.h>

#include <corosync/cmap.h>

static bool key_names_node(const char *key, size_t size)
{
	static const char suffix[] = ".nodeid";

	return size == sizeof(node_id_t) && strlen(key) > sizeof(suffix) - 1 &&
	       !strcmp(key + strlen(key) - (sizeof(suffix) - 1), suffix);
}

static unsigned nodes_take(cmap_handle_t handle, node_id_t *ret_nodes, unsigned room)
{
	char key[CMAP_KEYNAME_MAXLEN + 1];
	cmap_iter_handle_t iterator;
	cmap_value_types_t type;
	unsigned count = 0;
	size_t size;

	if (cmap_iter_init(handle, "nodelist.node.", &iterator) != CS_OK)
		return 0;
	while (count < room && cmap_iter_next(handle, iterator, key, &size, &type) == CS_OK)
		if (type == CMAP_VALUETYPE_UINT32 && key_names_node(key, size) &&
		    cmap_get_uint32(handle, key, &ret_nodes[count]) == CS_OK && ret_nodes[count] != NODE_NONE)
			count++;
	(void)cmap_iter_finalize(handle, iterator);
	return count;
}

unsigned nodelist_read(node_id_t *ret_nodes, unsigned room)
{
	cmap_handle_t handle;
	unsigned count;

	if (cmap_initialize(&handle) != CS_OK)
		return 0;
	count = nodes_take(handle, ret_nodes, room);
	(void)cmap_finalize(handle);
	return count;
}
