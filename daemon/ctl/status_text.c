/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ctl/status_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define CELL_BYTES 24

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	(void)json_object_object_get_ex(object, key, &value);
	return value;
}

static const char *text(struct json_object *object, const char *key)
{
	const char *value = json_object_get_string(member(object, key));

	return value == NULL ? "" : value;
}

static uint64_t number(struct json_object *object, const char *key)
{
	return json_object_get_uint64(member(object, key));
}

static bool flag(struct json_object *object, const char *key)
{
	return json_object_get_boolean(member(object, key)) != 0;
}

/* A node id, or "-" for nobody. */
static const char *node(struct json_object *object, const char *key, char ret_cell[CELL_BYTES])
{
	struct json_object *value = member(object, key);

	(void)snprintf(ret_cell, CELL_BYTES, "%s", value == NULL ? "-" : json_object_get_string(value));
	return ret_cell;
}

static size_t count(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

static int column_width(struct json_object *array, const char *key, const char *title)
{
	size_t width = strlen(title);

	for (size_t i = 0; i < count(array); i++) {
		size_t length = strlen(text(json_object_array_get_idx(array, i), key));

		width = length > width ? length : width;
	}
	return (int)width;
}

static void node_print(FILE *out, struct json_object *status)
{
	const char *cluster = !flag(status, "connected") ? "not connected to the cluster"
			      : !flag(status, "quorate") ? "no quorum"
			      : !flag(status, "ready")	 ? "joining"
							 : "ready";

	fprintf(out, "node %" PRIu64 ": %s\n", number(status, "node"), cluster);
	if (*text(status, "waits_for") != '\0')
		fprintf(out, "  %s\n", text(status, "waits_for"));
	/* Also while there is nothing to repair: it is easily forgotten. */
	if (flag(status, "repair_paused"))
		fprintf(out, "  repair is paused on this node\n");
}

static void nodes_print(FILE *out, struct json_object *nodes)
{
	char cell[CELL_BYTES];

	if (count(nodes) == 0)
		return;
	fprintf(out, "\n%-6s  %s\n", "NODE", "STATE");
	for (size_t i = 0; i < count(nodes); i++) {
		struct json_object *object = json_object_array_get_idx(nodes, i);

		fprintf(out, "%-6s  %s\n", node(object, "node", cell), text(object, "state"));
	}
}

static void log_print(FILE *out, struct json_object *log, int uuid_width)
{
	char writer[CELL_BYTES], recoverer[CELL_BYTES];

	fprintf(out,
		"%-*s  %-4s  %-8s  %-6s  %7s  %10" PRIu64 "  %8" PRIu64 "  %6" PRIu64
		"  %-6s  %-9s  %4" PRIu64 "\n",
		uuid_width, text(log, "uuid"), flag(log, "disk") ? "disk" : "core",
		*text(log, "device") == '\0' ? "-" : text(log, "device"), text(log, "health"),
		text(log, "synced_percent"), number(log, "region_count"), number(log, "unsynced_regions"),
		number(log, "ghost_regions"), node(log, "writer", writer), node(log, "recoverer", recoverer),
		number(log, "waiting_requests"));
}

static void logs_print(FILE *out, struct json_object *logs)
{
	int width = column_width(logs, "uuid", "LOG");

	if (count(logs) == 0) {
		fprintf(out, "\nno logs\n");
		return;
	}
	fprintf(out, "\n%-*s  %-4s  %-8s  %-6s  %7s  %10s  %8s  %6s  %-6s  %-9s  %4s\n", width, "LOG", "TYPE",
		"DEVICE", "HEALTH", "SYNC%", "REGIONS", "UNSYNCED", "GHOSTS", "WRITER", "RECOVERER", "WAIT");
	for (size_t i = 0; i < count(logs); i++)
		log_print(out, json_object_array_get_idx(logs, i), width);
}

static void members_print(FILE *out, struct json_object *log, int uuid_width)
{
	struct json_object *members = member(log, "members");
	char cell[CELL_BYTES];

	for (size_t i = 0; i < count(members); i++) {
		struct json_object *object = json_object_array_get_idx(members, i);

		fprintf(out, "%-*s  %-6s  %-12s  %9" PRIu64 "  %7" PRIu64 "  %10" PRIu64 "\n", uuid_width,
			text(log, "uuid"), node(object, "node", cell), text(object, "state"),
			number(object, "instances"), number(object, "resumed"), number(object, "marks"));
	}
}

/* What the repair does: whose regions, how far, how fast. */
static void repair_print(FILE *out, struct json_object *log)
{
	uint64_t repaired = number(log, "repaired_regions"), rate = number(log, "repair_rate");
	char cell[CELL_BYTES];

	if (number(log, "ghost_regions") == 0)
		return;
	fprintf(out, "\n%s: %" PRIu64 " regions to be repaired", text(log, "uuid"),
		number(log, "ghost_regions"));
	if (member(log, "repair_region") != NULL)
		fprintf(out, "; node %s is at region %" PRIu64, node(log, "recoverer", cell),
			number(log, "repair_region"));
	fprintf(out, "; %" PRIu64 " repaired by this node", repaired);
	if (rate > 0)
		fprintf(out, ", at most %" PRIu64 " bytes a second", rate);
	fputc('\n', out);
}

static void waits_print(FILE *out, struct json_object *logs)
{
	for (size_t i = 0; i < count(logs); i++) {
		struct json_object *log = json_object_array_get_idx(logs, i);

		if (*text(log, "waits_for") != '\0')
			fprintf(out, "\n%s: %s\n", text(log, "uuid"), text(log, "waits_for"));
		repair_print(out, log);
		if (number(log, "failed_regions") > 0)
			fprintf(out,
				"\n%s: a leg failed under %" PRIu64
				" regions: reload the table with a good leg\n",
				text(log, "uuid"), number(log, "failed_regions"));
	}
}

static void all_members_print(FILE *out, struct json_object *logs)
{
	int width = column_width(logs, "uuid", "LOG");

	if (count(logs) == 0)
		return;
	fprintf(out, "\n%-*s  %-6s  %-12s  %9s  %7s  %10s\n", width, "LOG", "MEMBER", "STATE", "INSTANCES",
		"RESUMED", "MARKS");
	for (size_t i = 0; i < count(logs); i++)
		members_print(out, json_object_array_get_idx(logs, i), width);
}

void status_text_print(FILE *out, struct json_object *status)
{
	struct json_object *logs = member(status, "logs");

	node_print(out, status);
	nodes_print(out, member(status, "nodes"));
	logs_print(out, logs);
	all_members_print(out, logs);
	waits_print(out, logs);
}
