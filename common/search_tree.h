/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that are found by a key inside them, in logarithmic time: tsearch(3). The tree holds the addresses
 * of the keys, the objects belong to the caller and stay where they are while they are in a tree. There is no
 * order to walk through: who iterates has a list.
 */
#ifndef COMMON_SEARCH_TREE_H
#define COMMON_SEARCH_TREE_H

#include <stdbool.h>
#include <stddef.h>

typedef int (*search_tree_compare_fn)(const void *key, const void *other);

/* Keys that are a NUL-terminated text, and a uint32_t. */
int search_tree_text(const void *key, const void *other);
int search_tree_u32(const void *key, const void *other);

/* `*root` is NULL for an empty tree. False: memory is short, or an equal key is there; nothing is changed
 * then. */
bool search_tree_add(void **root, const void *key, search_tree_compare_fn compare);

/* The key must be in the tree. */
void search_tree_remove(void **root, const void *key, search_tree_compare_fn compare);

/* The key in the tree that equals `key`, NULL when there is none. */
const void *search_tree_find(void *const *root, const void *key, search_tree_compare_fn compare);

/* The object whose `member` is the key that was found. */
#define search_tree_object(key, type, member) ((type *)(void *)((char *)(key)-offsetof(type, member)))

#endif
