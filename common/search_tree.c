/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/search_tree.h"

#include <search.h>
#include <stdint.h>
#include <string.h>

int search_tree_text(const void *key, const void *other)
{
	return strcmp(key, other);
}

int search_tree_u32(const void *key, const void *other)
{
	uint32_t a = *(const uint32_t *)key, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

bool search_tree_add(void **root, const void *key, search_tree_compare_fn compare)
{
	void *const *found = tsearch(key, root, compare);

	return found && *found == key;
}

void search_tree_remove(void **root, const void *key, search_tree_compare_fn compare)
{
	tdelete(key, root, compare);
}

const void *search_tree_find(void *const *root, const void *key, search_tree_compare_fn compare)
{
	void *const *found = tfind(key, root, compare);

	return found ? *found : NULL;
}
