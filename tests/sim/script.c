/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/script.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/internal.h"
#include "protocol/frame.h"
#include "tests/sim/sim.h"

/* --- what is told
 * ----------------------------------------------------------------------------------------------------------
 */

static bool told_now(const struct sim *sim)
{
	if (!sim->script)
		return sim->options.story && sim->steps >= sim->options.story_from;
	return sim->now_ns >= sim->script->from_ns && sim->now_ns <= sim->script->until_ns;
}

static void story_begin(const struct sim *sim, unsigned node)
{
	printf("%9.4f  ", (double)sim->now_ns / 1e9);
	if (node)
		printf("node %u  ", node);
	else
		printf("        ");
}

void story(struct sim *sim, unsigned node, const char *format, ...)
{
	va_list arguments;

	if (!told_now(sim))
		return;
	story_begin(sim, node);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static void print_mask(uint64_t mask)
{
	const char *comma = "";

	putchar('{');
	for (unsigned first = 0; first < 64; first++) {
		unsigned last = first;
		if (!(mask >> first & 1))
			continue;
		while (last < 63 && (mask >> (last + 1) & 1))
			last++;
		printf(first == last ? "%s%u" : "%s%u-%u", comma, first, last);
		comma = ",";
		first = last;
	}
	putchar('}');
}

static void print_set(const struct region_set *set)
{
	uint64_t mask = 0;

	for (region_t region = 0; region < SIM_REGIONS; region++)
		if (region_set_contains(set, region))
			mask |= UINT64_C(1) << region;
	if (mask)
		putchar(' '), print_mask(mask);
}

/* Questions that are answered at once are told with their answer. */
static bool is_question(enum ulog_type type)
{
	return type == ULOG_IN_SYNC || type == ULOG_GET_RESYNC_WORK || type == ULOG_IS_REMOTE_RECOVERING ||
	       type == ULOG_GET_SYNC_COUNT || type == ULOG_GET_REGION_SIZE;
}

void story_request(struct sim *sim, unsigned node, const struct kernel_output *out)
{
	uint64_t mask = 0;

	if (!told_now(sim) || is_question(out->send.type))
		return;
	story_begin(sim, node);
	printf("kernel: %s", ulog_type_name(out->send.type));
	if (out->send.type == ULOG_SET_REGION_SYNC)
		printf(" %" PRIu64 " %u", bytes_get_u64(out->send.data), out->send.data[8]);
	else if (out->send.type != ULOG_CTR && out->send.data_bytes >= 8) {
		for (uint32_t at = 0; at + 8 <= out->send.data_bytes; at += 8)
			mask |= UINT64_C(1) << bytes_get_u64(out->send.data + at);
		putchar(' ');
		print_mask(mask);
	}
	if (out->send.type == ULOG_CTR || out->send.type == ULOG_DTR || out->send.type == ULOG_RESUME ||
	    out->send.type == ULOG_PRESUSPEND || out->send.type == ULOG_POSTSUSPEND)
		printf(" luid %" PRIx64, (uint64_t)out->luid);
	putchar('\n');
}

void story_reply(struct sim *sim, unsigned node, const struct effect *effect)
{
	const struct asked *asked =
	    effect->reply.seq < sim->nodes[node].seq_count ? &sim->nodes[node].seqs[effect->reply.seq] : NULL;
	uint64_t first = effect->reply.data_bytes >= 8 ? bytes_get_u64(effect->reply.data) : 0;
	uint64_t second = effect->reply.data_bytes >= 16 ? bytes_get_u64(effect->reply.data + 8) : 0;

	if (!told_now(sim) || !asked)
		return;
	if (asked->type == ULOG_GET_SYNC_COUNT || asked->type == ULOG_GET_REGION_SIZE)
		return;
	story_begin(sim, node);
	if (effect->reply.error)
		printf("daemon: %s is answered: error %d", ulog_type_name(asked->type), -effect->reply.error);
	else if (asked->type == ULOG_IN_SYNC)
		printf("kernel asks: IN_SYNC %" PRIu64 "? %s", (uint64_t)asked->region, first ? "yes" : "no");
	else if (asked->type == ULOG_GET_RESYNC_WORK && first)
		printf("kernel asks: GET_RESYNC_WORK? region %" PRIu64, second);
	else if (asked->type == ULOG_GET_RESYNC_WORK)
		printf("kernel asks: GET_RESYNC_WORK? none");
	else if (asked->type == ULOG_IS_REMOTE_RECOVERING)
		printf("kernel asks: IS_REMOTE_RECOVERING %" PRIu64 "? %s, in_sync_hint %" PRIu64,
		       (uint64_t)asked->region, first ? "yes" : "no", second);
	else
		printf("daemon: %s is answered", ulog_type_name(asked->type));
	putchar('\n');
}

static void print_record(const struct record *record)
{
	static const char *const streams[] = {[STREAM_CHECKPOINT] = "checkpoint",
					      [STREAM_SPEAK] = "what it remembers",
					      [STREAM_DEVICE] = "device"};

	printf(" %s", record_type_name(record->type));
	switch (record->type) {
	case RECORD_STREAM: printf(" (%s)", streams[record->stream.kind]); break;
	case RECORD_FAILED:
	case RECORD_CLAIM: printf(" %u", (unsigned)record->region); break;
	case RECORD_RELEASE: printf(" %u%s", (unsigned)record->region, record->flag ? " copied" : ""); break;
	case RECORD_MARK: printf(" batch %" PRIu64, record->batch); break;
	case RECORD_ACK: printf(" node %u batch %" PRIu64, (unsigned)record->node, record->batch); break;
	case RECORD_NODE_DOWN:
	case RECORD_NODE_DEAD: printf(" %u", (unsigned)record->node); break;
	case RECORD_COMMIT:
		for (uint32_t i = 0; i < record->commit_count; i++)
			printf(" node %u batch %" PRIu64, (unsigned)record->commits[i].node,
			       record->commits[i].batch);
		break;
	case RECORD_RESUME:
	case RECORD_LEAVING:
	case RECORD_SUSPENDED:
	case RECORD_DESTROYED: printf(" luid %" PRIx64, (uint64_t)record->luid); break;
	default: break;
	}
	print_set(&record->regions);
}

void story_message(struct sim *sim, unsigned sender, const uint8_t *bytes, uint64_t size)
{
	struct bytes_reader reader;
	struct record record;
	const char *comma = "";
	uint64_t incarnation;

	if (!told_now(sim) || frame_open(&reader, bytes, size, &incarnation))
		return;
	story_begin(sim, sender);
	printf("=> in order:");
	record_init(&record);
	while (frame_next(&reader, &record) == 1) {
		printf("%s", comma);
		print_record(&record);
		comma = ",";
	}
	record_fini(&record);
	putchar('\n');
}

void story_device(struct sim *sim, unsigned node, unsigned number, bool done)
{
	const struct sim_log *log = &sim->logs[number];
	uint64_t dirty = 0;

	if (!told_now(sim))
		return;
	story_begin(sim, node);
	if (!done) {
		printf("log device: write begins\n");
		return;
	}
	for (unsigned region = 0; region < log->region_count; region++)
		if (!log_device_is_clean(log->image, region))
			dirty |= UINT64_C(1) << region;
	printf("log device: written, dirty ");
	print_mask(dirty);
	putchar('\n');
}

/* --- the script
 * ----------------------------------------------------------------------------------------------------------
 */

static int line_read(struct script *script, const char *line)
{
	double seconds, until;
	int at = 0;

	if (sscanf(line, "nodes %u", &script->nodes) == 1 || sscanf(line, "log %63[^\n]", script->log) == 1)
		return 0;
	if (sscanf(line, "fence %lf", &seconds) == 1) {
		script->fence_ns = (uint64_t)(seconds * 1e9);
		return 0;
	}
	if (sscanf(line, "tell %lf %lf", &seconds, &until) == 2) {
		script->from_ns = (uint64_t)(seconds * 1e9);
		script->until_ns = (uint64_t)(until * 1e9);
		return 0;
	}
	if (script->count == SCRIPT_LINES || sscanf(line, "%lf %n", &seconds, &at) != 1 || !at)
		return -EINVAL;
	script->lines[script->count].at_ns = (uint64_t)(seconds * 1e9);
	snprintf(script->lines[script->count].words, sizeof(script->lines[0].words), "%s", line + at);
	script->lines[script->count].words[strcspn(script->lines[script->count].words, "\n")] = '\0';
	script->count++;
	return 0;
}

int script_read(struct script *script, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[256];
	int error = 0;

	*script = (struct script){.nodes = 1, .fence_ns = SECOND, .until_ns = UINT64_MAX};
	if (!file)
		return -errno;
	while (!error && fgets(line, sizeof(line), file) && (line[0] == '#' || line[0] == '>')) {
		fputs(line, stdout);
		if (line[0] == '>')
			error = line_read(script, line + 1 + strspn(line + 1, " "));
	}
	fclose(file);
	return error ? error : script->count ? 0 : -EINVAL;
}

void script_setup(struct sim *sim)
{
	sim->node_count = sim->script->nodes;
	sim->fence_delay_ns = sim->script->fence_ns;
	for (unsigned i = 0; i < sim->script->count; i++)
		sim_plan(sim, SIM_SCRIPT, 0, sim->script->lines[i].at_ns - sim->now_ns)->a = i;
}

static void split(struct sim *sim, uint64_t nodes)
{
	for (unsigned node = 1; node <= sim->node_count; node++)
		sim->nodes[node].component = nodes >> node & 1;
	group_reform_soon(sim, 100 * MS);
}

/* VERB NODE ARGUMENT */
void script_do(struct sim *sim, const struct sim_event *event)
{
	const char *words = sim->script->lines[event->a].words;
	char verb[24] = "";
	unsigned node = 0, argument = 0;

	sscanf(words, "%23s %u %u", verb, &node, &argument);
	if (!strcmp(verb, "end")) {
		sim->settling = true;
		sim->settle_until_ns = 0;
		return;
	}
	if (node > sim->node_count)
		sim_fail(sim, 0, "script: %s", words);
	story(sim, 0, "---- %s", words);
	if (!strcmp(verb, "boot"))
		host_boot(sim, node);
	else if (!strcmp(verb, "write") || !strcmp(verb, "read"))
		work_io(sim, node, 0, argument, verb[0] == 'w');
	else if (!strcmp(verb, "write-and-die")) {
		sim->nodes[node].die_at_write = true;
		work_io(sim, node, 0, argument, true);
	} else if (!strcmp(verb, "die"))
		host_die(sim, node);
	else if (!strcmp(verb, "kill"))
		host_daemon_kill(sim, node);
	else if (!strcmp(verb, "deaf"))
		sim->nodes[node].deaf = true;
	else if (!strcmp(verb, "slow"))
		sim->nodes[node].slow = true;
	else if (!strcmp(verb, "bare"))
		sim->nodes[node].bare = true;
	else if (!strcmp(verb, "start"))
		host_daemon_start(sim, node);
	else if (!strcmp(verb, "reload"))
		sim->nodes[node].devices[0].reload_wanted = true;
	else if (!strcmp(verb, "split"))
		split(sim, UINT64_C(1) << node | (argument ? UINT64_C(1) << argument : 0));
	else if (!strcmp(verb, "heal"))
		split(sim, 0);
	else
		sim_fail(sim, 0, "script: %s", words);
}

int script_run(const struct script *script)
{
	struct sim_options options = {.seed = 1, .steps = UINT64_MAX};
	struct sim *sim = malloc(sizeof(*sim));
	bool good;

	if (!sim)
		return 2;
	options.script = script;
	good = sim_run(&options, sim);
	if (!good)
		printf("GUARANTEE %d BROKEN: %s\n", sim->failure_guarantee, sim->failure_text);
	free(sim);
	return good ? 0 : 1;
}
