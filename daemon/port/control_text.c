/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/control_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERCENT_SCALE 10000

/* --- JSON -------------------------------------------------------------------------------------------------
 */

static void hex_add(struct json_object *object, const char *key, uint64_t value)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, value);
	json_object_object_add(object, key, json_object_new_string(text));
}

static void number_add(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void text_add(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, json_object_new_string(text));
}

static void node_add(struct json_object *object, const char *key, node_id_t node)
{
	json_object_object_add(object, key, node == NODE_NONE ? NULL : json_object_new_uint64(node));
}

/* Rounded down: 100 is said when nothing is missing, not before. */
static void percent_add(struct json_object *object, const struct status_log *log)
{
	unsigned __int128 scaled = (unsigned __int128)log->synced_regions * PERCENT_SCALE;
	unsigned hundredths = log->region_count == 0 ? 0 : (unsigned)(scaled / log->region_count);
	char text[16];

	(void)snprintf(text, sizeof(text), "%u.%02u", hundredths / 100, hundredths % 100);
	json_object_object_add(object, "synced_percent", json_object_new_double_s(hundredths / 100.0, text));
}

static struct json_object *member_json(const struct status_member *member)
{
	struct json_object *object = json_object_new_object();

	node_add(object, "node", member->node);
	text_add(object, "state", member->state);
	number_add(object, "instances", member->instances);
	number_add(object, "resumed", member->resumed);
	number_add(object, "marks", member->marks);
	return object;
}

static struct json_object *log_json(const struct status_log *log)
{
	struct json_object *object = json_object_new_object(), *members = json_object_new_array();
	const char health[2] = {log->health, '\0'};

	text_add(object, "uuid", log->uuid);
	json_object_object_add(object, "disk", json_object_new_boolean(log->disk));
	text_add(object, "device", log->device);
	text_add(object, "health", health);
	number_add(object, "region_count", log->region_count);
	number_add(object, "region_size_sectors", log->region_size_sectors);
	percent_add(object, log);
	number_add(object, "synced_regions", log->synced_regions);
	number_add(object, "unsynced_regions", log->unsynced_regions);
	number_add(object, "ghost_regions", log->ghost_regions);
	number_add(object, "failed_regions", log->failed_regions);
	number_add(object, "held_regions", log->held_regions);
	number_add(object, "lingering_regions", log->lingering_regions);
	json_object_object_add(object, "repair_region",
			       log->repair_claimed ? json_object_new_uint64(log->repair_region) : NULL);
	number_add(object, "repaired_regions", log->repaired_regions);
	number_add(object, "repair_rate", log->repair_rate);
	node_add(object, "writer", log->writer);
	node_add(object, "recoverer", log->recoverer);
	number_add(object, "waiting_requests", log->waiting_requests);
	hex_add(object, "digest", log->digest);
	text_add(object, "waits_for", log->waits_for);
	for (size_t i = 0; i < log->member_count; i++)
		json_object_array_add(members, member_json(&log->members[i]));
	json_object_object_add(object, "members", members);
	return object;
}

static struct json_object *node_json(const struct status_node *node)
{
	struct json_object *object = json_object_new_object();

	node_add(object, "node", node->node);
	text_add(object, "state", node->state);
	hex_add(object, "boot_id", node->boot_id);
	return object;
}

static struct json_object *queues_json(const struct core_status *status)
{
	struct json_object *object = json_object_new_object();

	number_add(object, "requests_dropped", status->waiting_dropped);
	number_add(object, "records_waiting", status->records_waiting);
	number_add(object, "records_dropped", status->records_dropped);
	number_add(object, "backlog_bytes", status->backlog_bytes);
	number_add(object, "backlog_overflows", status->backlog_overflows);
	return object;
}

struct json_object *control_status_json(const struct core_status *status)
{
	struct json_object *object = json_object_new_object();
	struct json_object *nodes = json_object_new_array(), *logs = json_object_new_array();

	text_add(object, "version", MIRRORLOGD_VERSION);
	node_add(object, "node", status->node);
	hex_add(object, "boot_id", status->boot_id);
	json_object_object_add(object, "connected", json_object_new_boolean(status->connected));
	json_object_object_add(object, "quorate", json_object_new_boolean(status->quorate));
	json_object_object_add(object, "active", json_object_new_boolean(status->active));
	json_object_object_add(object, "ready", json_object_new_boolean(status->ready));
	number_add(object, "epoch", status->epoch);
	hex_add(object, "digest", status->digest);
	text_add(object, "waits_for", status->waits_for);
	number_add(object, "requests", status->requests);
	number_add(object, "messages_sent", status->messages_sent);
	number_add(object, "messages_delivered", status->messages_delivered);
	number_add(object, "device_writes", status->device_writes);
	number_add(object, "device_write_bytes", status->device_write_bytes);
	json_object_object_add(object, "repair_paused", json_object_new_boolean(status->repair_paused));
	json_object_object_add(object, "queues", queues_json(status));
	for (size_t i = 0; i < status->node_count; i++)
		json_object_array_add(nodes, node_json(&status->nodes[i]));
	json_object_object_add(object, "nodes", nodes);
	for (size_t i = 0; i < status->log_count; i++)
		json_object_array_add(logs, log_json(&status->logs[i]));
	json_object_object_add(object, "logs", logs);
	return object;
}

/* --- Prometheus -------------------------------------------------------------------------------------------
 */

static void metric_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP mirrorlogd_%s %s\n# TYPE mirrorlogd_%s %s\n", name, help, name, type);
}

static void metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	metric_head(out, name, type, help);
	fprintf(out, "mirrorlogd_%s %" PRIu64 "\n", name, value);
}

/* A label's value escapes backslash, quote and newline. */
static void label_write(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '"')
			fprintf(out, "\\%c", *text);
		else if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text, out);
	}
}

struct log_metric {
	const char *name, *help, *type;
	size_t offset; /* of an uint64_t in struct status_log */
};

static const struct log_metric log_metrics[] = {
    {"log_regions", "Regions of the mirror.", "gauge", offsetof(struct status_log, region_count)},
    {"log_synced_regions", "Regions whose legs are equal.", "gauge",
     offsetof(struct status_log, synced_regions)},
    {"log_unsynced_regions", "Regions to be resynced.", "gauge",
     offsetof(struct status_log, unsynced_regions)},
    {"log_ghost_regions", "Regions marked by dead nodes.", "gauge",
     offsetof(struct status_log, ghost_regions)},
    {"log_failed_regions", "Regions a failed leg put out of sync.", "gauge",
     offsetof(struct status_log, failed_regions)},
    {"log_held_regions", "Regions marked by the kernel of this node.", "gauge",
     offsetof(struct status_log, held_regions)},
    {"log_lingering_regions", "Marks kept after the kernel cleared them.", "gauge",
     offsetof(struct status_log, lingering_regions)},
    {"log_repair_rate_bytes", "Repair by this node, bytes a second at most; 0 is no limit.", "gauge",
     offsetof(struct status_log, repair_rate)},
    {"log_repaired_regions_total", "Regions repaired by this daemon.", "counter",
     offsetof(struct status_log, repaired_regions)},
};

static void log_metric_write(FILE *out, const char *name, const struct status_log *log, uint64_t value)
{
	fprintf(out, "mirrorlogd_%s{uuid=\"", name);
	label_write(out, log->uuid);
	fprintf(out, "\"} %" PRIu64 "\n", value);
}

static void log_metrics_write(FILE *out, const struct core_status *status)
{
	for (size_t m = 0; m < sizeof(log_metrics) / sizeof(log_metrics[0]); m++) {
		metric_head(out, log_metrics[m].name, log_metrics[m].type, log_metrics[m].help);
		for (size_t i = 0; i < status->log_count; i++) {
			uint64_t value;

			memcpy(&value, (const char *)&status->logs[i] + log_metrics[m].offset, sizeof(value));
			log_metric_write(out, log_metrics[m].name, &status->logs[i], value);
		}
	}
	metric_head(out, "log_waiting_requests", "gauge",
		    "Requests of the kernel that are not answered yet.");
	for (size_t i = 0; i < status->log_count; i++)
		log_metric_write(out, "log_waiting_requests", &status->logs[i],
				 status->logs[i].waiting_requests);
	metric_head(out, "log_device_dead", "gauge", "No member can write the log device.");
	for (size_t i = 0; i < status->log_count; i++)
		log_metric_write(out, "log_device_dead", &status->logs[i], status->logs[i].health == 'D');
}

static void queue_metrics_write(FILE *out, const struct core_status *status, uint64_t clients_dropped)
{
	metric(out, "requests_dropped_total", "counter",
	       "Requests of the kernel that made room for younger ones: the kernel asks again.",
	       status->waiting_dropped);
	metric(out, "records_waiting", "gauge", "Records that wait to be sent.", status->records_waiting);
	metric(out, "records_dropped_total", "counter", "Records for which there was no room.",
	       status->records_dropped);
	metric(out, "backlog_bytes", "gauge", "Messages kept until the checkpoint is complete.",
	       status->backlog_bytes);
	metric(out, "backlog_overflows_total", "counter",
	       "Checkpoints asked for again because too much came meanwhile.", status->backlog_overflows);
	metric(out, "control_clients_dropped_total", "counter",
	       "Clients of the control socket that made room for others.", clients_dropped);
}

static void node_metrics_write(FILE *out, const struct core_status *status,
			       const struct netlink_counts *counts)
{
	metric(out, "connected", "gauge", "Connected to the cluster.", status->connected);
	metric(out, "quorate", "gauge", "The cluster has quorum as this node sees it.", status->quorate);
	metric(out, "ready", "gauge", "This node knows the replicated state.", status->ready);
	metric(out, "repair_paused", "gauge", "Repair by this node is paused.", status->repair_paused);
	metric(out, "nodes", "gauge", "Nodes that are known.", status->node_count);
	metric(out, "logs", "gauge", "Logs that are known.", status->log_count);
	metric(out, "requests_total", "counter", "Requests of the kernel answered.", status->requests);
	metric(out, "messages_sent_total", "counter", "Multicasts sent.", status->messages_sent);
	metric(out, "messages_delivered_total", "counter", "Multicasts delivered.",
	       status->messages_delivered);
	metric(out, "device_writes_total", "counter", "Writes of log devices.", status->device_writes);
	metric(out, "device_write_bytes_total", "counter", "Bytes written to log devices.",
	       status->device_write_bytes);
	metric(out, "netlink_requests_total", "counter", "Datagrams taken from the kernel.",
	       counts->requests);
	metric(out, "netlink_replies_total", "counter", "Datagrams sent to the kernel.", counts->replies);
	metric(out, "netlink_malformed_total", "counter", "Malformed datagrams.",
	       counts->refused + counts->malformed);
	metric(out, "netlink_overflows_total", "counter", "Overflows of the receive buffer.", counts->lost);
	metric(out, "netlink_former_total", "counter",
	       "Requests of the daemon before this one that the kernel was told to repeat.", counts->former);
	metric(out, "netlink_dropped_total", "counter", "Answers that could not be sent.", counts->dropped);
}

char *control_metrics_text(const struct core_status *status, const struct netlink_counts *counts,
			   uint64_t clients_dropped)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool failed;

	if (out == NULL)
		return NULL;
	node_metrics_write(out, status, counts);
	queue_metrics_write(out, status, clients_dropped);
	log_metrics_write(out, status);
	failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
