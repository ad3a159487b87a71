/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stand-in for the kernel of one node: the model of tests/model/kernel.h in real time, against a real
 * daemon and real block devices.
 *
 * Commands come on stdin, one a line: `ID VERB ARGUMENTS`. Answers and news go to stdout, one JSON object a
 * line: an answer has the command's "id" and "ok", news has "event". The end of stdin ends the process, as a
 * power cut would.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <qb/qbloop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/netns/leg_io.h"
#include "cluster-tests/netns/load.h"
#include "cluster-tests/netns/malformed.h"
#include "cluster-tests/netns/table_line.h"
#include "cluster-tests/netns/ulog_wire.h"

#define NAME_BYTES    64
#define LINE_BYTES    2048
#define PATH_BYTES    512
#define ARGUMENTS_MAX 12
#define PASSES_MAX    64 /* of the kernel before the loop looks at its descriptors again */
#define WAKE_PREFIX   "wake."
#define MS_NS	      UINT64_C(1000000)

struct mirror {
	bool used;
	char name[NAME_BYTES];
	unsigned device;
	luid_t live_luid;
	bool suspended;
	struct table_line *active, *inactive, *loading;
	uint64_t load_command; /* id of the KERNEL_LOAD under way */
	struct leg legs[KERNEL_LEGS_MAX];
	unsigned leg_count;
	struct load load;
	bool load_open;
	FILE *writes; /* when each write was complete, u64 each */
};

/* A command that asks the daemon of each region whether it is clean. */
struct question {
	uint64_t command; /* 0: nothing is asked */
	uint32_t seq_first, regions, answered;
	struct json_object *dirty; /* numbers of regions */
};

struct stand_in {
	struct kernel *kernel;
	qb_loop_t *loop;
	qb_loop_timer_handle timer;
	int netlink, tables_watch;
	unsigned node;
	uint32_t region_sectors;
	const char *tables_dir, *records_dir;
	struct leg_io leg_io;
	struct question question;
	struct mirror mirrors[KERNEL_DEVICES_MAX];
	uint64_t next_bio;
	uint64_t complaints[KERNEL_COMPLAINTS_END];
	uint64_t requests, replies, malformed_replies, malformed_accepted, wakes;
	uint64_t recoveries; /* regions that this kernel copied, or failed to */
	uint64_t speed;	     /* the kernel's own times pass so many times as fast */
	uint64_t begin_ns;
	char input[LINE_BYTES];
	size_t input_bytes;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* The kernel's clock: 15 s, 2 s and 250 ms are long when a test has to wait for them a thousand times. */
static uint64_t kernel_now_ns(const struct stand_in *stand_in)
{
	return stand_in->begin_ns + (now_ns() - stand_in->begin_ns) * stand_in->speed;
}

static uint64_t real_ns(const struct stand_in *stand_in, uint64_t kernel_ns)
{
	if (kernel_ns == KERNEL_NEVER || kernel_ns <= stand_in->begin_ns)
		return kernel_ns;
	/* Rounded up: not asked again before it is due. */
	return stand_in->begin_ns + (kernel_ns - stand_in->begin_ns + stand_in->speed - 1) / stand_in->speed;
}

/* --- output
 * ---------------------------------------------------------------------------------------------------- */

static void object_print(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
	fflush(stdout);
	json_object_put(object);
}

static void number_add(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static struct json_object *answer_new(uint64_t id, int error)
{
	struct json_object *object = json_object_new_object();

	number_add(object, "id", id);
	json_object_object_add(object, "ok", json_object_new_boolean(error == 0));
	if (error)
		json_object_object_add(object, "error", json_object_new_string(strerrorname_np(-error)));
	return object;
}

static struct json_object *event_new(const char *event, const struct mirror *mirror)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "event", json_object_new_string(event));
	number_add(object, "time_ns", now_ns());
	if (mirror)
		json_object_object_add(object, "mirror", json_object_new_string(mirror->name));
	return object;
}

static void load_counts_add(struct json_object *object, const struct load_counts *counts)
{
	number_add(object, "writes", counts->writes);
	number_add(object, "reads", counts->reads);
	number_add(object, "write_errors", counts->write_errors);
	number_add(object, "read_errors", counts->read_errors);
	number_add(object, "bad_reads", counts->bad_reads);
	number_add(object, "write_wait_max_ms", counts->write_wait_max_ns / MS_NS);
}

/* --- tables as device-mapper shows them
 * ------------------------------------------------------------------------- */

static void table_file_write(const struct stand_in *stand_in, const struct mirror *mirror, const char *suffix,
			     const struct table_line *line)
{
	char path[PATH_BYTES], temporary[PATH_BYTES + 8];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s%s", stand_in->tables_dir, mirror->name, suffix);
	if (!line) {
		unlink(path);
		return;
	}
	/* Beside the directory, so that a reader of the directory sees whole files only. */
	snprintf(temporary, sizeof(temporary), "%s.%s", stand_in->tables_dir, mirror->name);
	file = fopen(temporary, "we");
	if (!file) {
		perror(temporary);
		return;
	}
	fprintf(file, "%s\n", line->text);
	if (fclose(file) || rename(temporary, path))
		perror(path);
}

/* Names as daemon/port/device_mapper.h has them. What is new comes before what is old goes. */
static void mirror_files_write(const struct stand_in *stand_in, struct mirror *mirror)
{
	const struct table_line *live = mirror->suspended ? NULL : mirror->active;
	const struct table_line *suspended = mirror->suspended ? mirror->active : NULL;

	table_file_write(stand_in, mirror, live ? "" : ".suspended", live ? live : suspended);
	table_file_write(stand_in, mirror, live ? ".suspended" : "", NULL);
	table_file_write(stand_in, mirror, ".inactive", mirror->inactive);
}

/* Follow the kernel: which of the lines is the live table now. */
static void mirror_tables_sync(const struct stand_in *stand_in, struct mirror *mirror)
{
	struct kernel_device info;

	if (kernel_device_info(stand_in->kernel, mirror->device, &info))
		return;
	if (info.live && info.live_luid != mirror->live_luid) {
		free(mirror->active);
		mirror->active = mirror->inactive;
		mirror->inactive = NULL;
	} else if (!info.live && mirror->active) {
		free(mirror->active);
		mirror->active = NULL;
	} else if (info.suspended == mirror->suspended) {
		return;
	}
	mirror->live_luid = info.live ? info.live_luid : 0;
	mirror->suspended = info.suspended;
	mirror_files_write(stand_in, mirror);
}

static int mirror_legs_open(struct mirror *mirror, const struct table_line *line)
{
	for (unsigned i = 0; i < mirror->leg_count; i++)
		leg_close(&mirror->legs[i]);
	mirror->leg_count = 0;
	for (unsigned i = 0; i < line->table.leg_count; i++) {
		int ret = leg_open(&mirror->legs[i], line->legs[i].name,
				   line->legs[i].offset_sectors * SECTOR_BYTES);

		if (ret)
			return ret;
		mirror->leg_count = i + 1;
	}
	return 0;
}

static void mirror_free(struct stand_in *stand_in, struct mirror *mirror)
{
	free(mirror->active);
	free(mirror->inactive);
	free(mirror->loading);
	mirror->active = mirror->inactive = NULL;
	mirror_files_write(stand_in, mirror);
	for (unsigned i = 0; i < mirror->leg_count; i++)
		leg_close(&mirror->legs[i]);
	if (mirror->load_open)
		load_close(&mirror->load);
	if (mirror->writes)
		fclose(mirror->writes);
	memset(mirror, 0, sizeof(*mirror));
}

static struct mirror *mirror_find(struct stand_in *stand_in, const char *name)
{
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++)
		if (stand_in->mirrors[i].used && !strcmp(stand_in->mirrors[i].name, name))
			return &stand_in->mirrors[i];
	return NULL;
}

static struct mirror *mirror_of(struct stand_in *stand_in, unsigned device)
{
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++)
		if (stand_in->mirrors[i].used && stand_in->mirrors[i].device == device)
			return &stand_in->mirrors[i];
	return NULL;
}

/* --- what the kernel wants
 * -------------------------------------------------------------------------------------- */

static void request_send(struct stand_in *stand_in, const struct kernel_output *output)
{
	struct ulog_request request = {.seq = output->send.seq,
				       .type = output->send.type,
				       .version = output->send.version,
				       .luid = output->luid,
				       .data = output->send.data,
				       .data_bytes = output->send.data_bytes};
	int ret;

	memcpy(request.uuid, output->send.uuid, sizeof(request.uuid));
	stand_in->requests++;
	if (request.type == ULOG_SET_REGION_SYNC && !output->send.resent)
		stand_in->recoveries++;
	ret = ulog_wire_send(stand_in->netlink, &request);
	if (ret)
		kernel_send_failed(stand_in->kernel, output->send.seq, ret);
}

static void leg_operation_add(struct stand_in *stand_in, struct mirror *mirror,
			      const struct kernel_output *output)
{
	uint32_t blocks = stand_in->region_sectors * SECTOR_BYTES / BLOCK_BYTES;

	if (!mirror || output->leg.leg >= mirror->leg_count ||
	    leg_io_add(&stand_in->leg_io, output, &mirror->legs[output->leg.leg], blocks, now_ns()))
		kernel_leg_done(stand_in->kernel, output->leg.op, -EIO, 0);
}

static void bio_done(struct mirror *mirror, const struct kernel_output *output)
{
	struct json_object *answer;
	struct load_end end;

	uint64_t now = now_ns();

	if (!mirror || !load_done(&mirror->load, output, now, &end))
		return;
	if (end.write && !end.error && fwrite(&now, sizeof(now), 1, mirror->writes) != 1)
		perror("writes");
	if (end.bad) {
		struct json_object *event = event_new("bad_read", mirror);

		number_add(event, "bio", output->bio.id);
		object_print(event);
	}
	if (!end.command)
		return;
	answer = answer_new(end.command, end.error);
	number_add(answer, "wait_ms", end.wait_ns / MS_NS);
	if (!end.write && !end.error) {
		json_object_object_add(answer, "bad", json_object_new_boolean(end.bad));
		number_add(answer, "node", end.bad ? 0 : end.tag >> BLOCK_NODE_SHIFT);
		number_add(answer, "write", end.bad ? 0 : end.tag & ((UINT64_C(1) << BLOCK_NODE_SHIFT) - 1));
	}
	object_print(answer);
}

static void command_done(struct stand_in *stand_in, struct mirror *mirror, const struct kernel_output *output)
{
	struct json_object *answer = answer_new(output->command.id, output->command.error);

	json_object_object_add(answer, "text", json_object_new_string(output->command.text));
	if (mirror && mirror->loading && mirror->load_command == output->command.id) {
		if (!output->command.error) {
			free(mirror->inactive);
			mirror->inactive = mirror->loading;
			mirror_files_write(stand_in, mirror);
		} else {
			free(mirror->loading);
		}
		mirror->loading = NULL;
	}
	object_print(answer);
}

static void complaint_print(struct stand_in *stand_in, const struct mirror *mirror,
			    const struct kernel_output *output)
{
	struct json_object *event = event_new("complaint", mirror);

	stand_in->complaints[output->complaint.kind]++;
	json_object_object_add(event, "kind",
			       json_object_new_string(kernel_complaint_name(output->complaint.kind)));
	json_object_object_add(event, "request",
			       json_object_new_string(ulog_type_name(output->complaint.request)));
	number_add(event, "region", output->complaint.region);
	json_object_object_add(event, "error", json_object_new_int(output->complaint.error));
	object_print(event);
}

static void output_handle(struct stand_in *stand_in, const struct kernel_output *output)
{
	struct mirror *mirror = mirror_of(stand_in, output->device);

	switch (output->type) {
	case KERNEL_SEND: request_send(stand_in, output); break;
	case KERNEL_LEG_READ:
	case KERNEL_LEG_WRITE:
	case KERNEL_LEG_FLUSH:
	case KERNEL_LEG_DISCARD: leg_operation_add(stand_in, mirror, output); break;
	case KERNEL_BIO_DONE: bio_done(mirror, output); break;
	case KERNEL_COMMAND_DONE: command_done(stand_in, mirror, output); break;
	case KERNEL_TABLE_EVENT: object_print(event_new("table", mirror)); break;
	case KERNEL_COMPLAINT: complaint_print(stand_in, mirror, output); break;
	}
}

static void load_ended(struct mirror *mirror)
{
	struct json_object *answer = answer_new(mirror->load.plan.command, 0);

	load_counts_add(answer, &mirror->load.counts);
	object_print(answer);
}

/* One round: everything that is due now. Returns when the next thing is due. */
static uint64_t round_run(struct stand_in *stand_in)
{
	uint64_t now = now_ns(), deadline;
	struct kernel_output output;

	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++) {
		struct mirror *mirror = &stand_in->mirrors[i];

		if (mirror->used && mirror->load_open && load_run(&mirror->load, now))
			load_ended(mirror);
	}
	kernel_run(stand_in->kernel, kernel_now_ns(stand_in));
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++)
		if (stand_in->mirrors[i].used)
			mirror_tables_sync(stand_in, &stand_in->mirrors[i]);
	while (kernel_output(stand_in->kernel, &output))
		output_handle(stand_in, &output);
	leg_io_run(&stand_in->leg_io, stand_in->kernel, now_ns());

	deadline = real_ns(stand_in, kernel_deadline_ns(stand_in->kernel));
	if (leg_io_deadline_ns(&stand_in->leg_io) < deadline)
		deadline = leg_io_deadline_ns(&stand_in->leg_io);
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++) {
		struct mirror *mirror = &stand_in->mirrors[i];

		if (mirror->used && mirror->load_open && load_deadline_ns(&mirror->load) < deadline)
			deadline = load_deadline_ns(&mirror->load);
	}
	return deadline;
}

static void stand_in_run(void *data)
{
	struct stand_in *stand_in = data;
	uint64_t deadline = 0, now = now_ns();

	for (unsigned pass = 0; pass < PASSES_MAX && deadline <= now; pass++) {
		deadline = round_run(stand_in);
		now = now_ns();
	}
	if (qb_loop_timer_is_running(stand_in->loop, stand_in->timer))
		qb_loop_timer_del(stand_in->loop, stand_in->timer);
	if (deadline == KERNEL_NEVER)
		return;
	qb_loop_timer_add(stand_in->loop, QB_LOOP_MED, deadline > now ? deadline - now : 0, stand_in,
			  stand_in_run, &stand_in->timer);
}

/* --- descriptors
 * ------------------------------------------------------------------------------------------------ */

static void malformed_reply(struct stand_in *stand_in, const struct ulog_reply *reply)
{
	struct json_object *event;

	stand_in->malformed_replies++;
	if (reply->error)
		return;
	stand_in->malformed_accepted++;
	event = event_new("malformed_accepted", NULL);
	number_add(event, "number", reply->seq - MALFORMED_SEQ_FIRST);
	object_print(event);
}

static void question_end(struct question *question, int error)
{
	struct json_object *answer;

	if (!question->command)
		return;
	answer = answer_new(question->command, error);
	json_object_object_add(answer, "dirty", question->dirty);
	object_print(answer);
	memset(question, 0, sizeof(*question));
}

/* Returns false for the answer to another one. */
static bool question_reply(struct question *question, const struct ulog_reply *reply)
{
	uint32_t region = reply->seq - question->seq_first;
	uint64_t clean;

	if (!question->command || region >= question->regions)
		return false;
	if (reply->bare || reply->error || reply->data_bytes != sizeof(clean)) {
		question_end(question, reply->error ? reply->error : -EBADMSG);
		return true;
	}
	memcpy(&clean, reply->data, sizeof(clean));
	if (!clean)
		json_object_array_add(question->dirty, json_object_new_int64(region));
	if (++question->answered == question->regions)
		question_end(question, 0);
	return true;
}

static int32_t netlink_ready(int32_t fd, int32_t events, void *data)
{
	struct stand_in *stand_in = data;
	uint8_t buffer[8192];
	struct ulog_reply reply;
	int ret;

	(void)events;
	while ((ret = ulog_wire_receive(fd, buffer, sizeof(buffer), &reply))) {
		if (ret < 0) {
			struct json_object *event = event_new("bad_reply", NULL);

			json_object_object_add(event, "error", json_object_new_string(strerrorname_np(-ret)));
			object_print(event);
		} else if (reply.seq >= MALFORMED_SEQ_FIRST) {
			malformed_reply(stand_in, &reply);
		} else if (!question_reply(&stand_in->question, &reply)) {
			stand_in->replies++;
			if (reply.bare)
				kernel_ack(stand_in->kernel, reply.seq, reply.error);
			else
				kernel_reply(stand_in->kernel, reply.seq, reply.error, reply.data,
					     reply.data_bytes);
		}
	}
	stand_in_run(stand_in);
	return 0;
}

/* The daemon asks for a pass of the worker of a log (a read of the mirror, on a real host). */
static void wake(struct stand_in *stand_in, const char *uuid)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/" WAKE_PREFIX "%s", stand_in->tables_dir, uuid);
	unlink(path);
	stand_in->wakes++;
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++) {
		struct mirror *mirror = &stand_in->mirrors[i];

		if (mirror->used && mirror->active && !strcmp(mirror->active->uuid, uuid) &&
		    mirror->load_open)
			load_submit(&mirror->load, false, 0, 0, now_ns());
	}
}

static int32_t tables_changed(int32_t fd, int32_t events, void *data)
{
	struct stand_in *stand_in = data;
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t size;

	(void)events;
	while ((size = read(fd, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + size;) {
			const struct inotify_event *event = (const struct inotify_event *)at;

			if (event->len && !strncmp(event->name, WAKE_PREFIX, strlen(WAKE_PREFIX)))
				wake(stand_in, event->name + strlen(WAKE_PREFIX));
			at += sizeof(*event) + event->len;
		}
	}
	stand_in_run(stand_in);
	return 0;
}

/* --- commands
 * --------------------------------------------------------------------------------------------------- */

struct command {
	uint64_t id;
	unsigned count;
	char *words[ARGUMENTS_MAX]; /* after the verb; the first is the name of the mirror */
	const char *rest;	    /* all after the name */
	struct mirror *mirror;
};

static uint64_t argument(const struct command *command, unsigned index)
{
	return index < command->count ? strtoull(command->words[index], NULL, 10) : 0;
}

/* Each command returns 0 when it has answered or will, or the negative errno to answer with. */
static int create_command(struct stand_in *stand_in, struct command *command)
{
	int device;

	if (command->mirror)
		return -EEXIST;
	device = kernel_device_create(stand_in->kernel);
	if (device < 0)
		return device;
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++) {
		struct mirror *mirror = &stand_in->mirrors[i];

		if (mirror->used)
			continue;
		mirror->used = true;
		mirror->device = (unsigned)device;
		snprintf(mirror->name, sizeof(mirror->name), "%s", command->words[0]);
		object_print(answer_new(command->id, 0));
		return 0;
	}
	return -ENOSPC;
}

static int records_prepare(struct stand_in *stand_in, struct mirror *mirror, const struct table_line *line)
{
	char path[PATH_BYTES];
	int ret;

	if (mirror->load_open)
		return 0;
	mirror->load.kernel = stand_in->kernel;
	mirror->load.device = mirror->device;
	mirror->load.node = stand_in->node;
	mirror->load.next_bio = &stand_in->next_bio;
	mirror->load.blocks_per_region = stand_in->region_sectors * SECTOR_BYTES / BLOCK_BYTES;
	snprintf(path, sizeof(path), "%s/%s.n%u", stand_in->records_dir, mirror->name, stand_in->node);
	ret = load_open(&mirror->load, path, line->table.length_sectors * SECTOR_BYTES / BLOCK_BYTES);
	if (ret)
		return ret;
	mirror->load_open = true;
	snprintf(path, sizeof(path), "%s/%s.n%u.writes", stand_in->records_dir, mirror->name, stand_in->node);
	mirror->writes = fopen(path, "ae");
	return mirror->writes ? 0 : -errno;
}

static int load_command(struct stand_in *stand_in, struct command *command)
{
	struct mirror *mirror = command->mirror;
	struct table_line *line;
	int ret;

	if (mirror->loading)
		return -EBUSY;
	line = calloc(1, sizeof(*line));
	if (!line)
		return -ENOMEM;
	ret = table_line_parse(line, command->rest);
	if (!ret)
		ret = records_prepare(stand_in, mirror, line);
	/* A reload keeps the descriptors of its legs: writes may be under way. */
	if (!ret && !mirror->leg_count)
		ret = mirror_legs_open(mirror, line);
	if (!ret) {
		ret =
		    kernel_command(stand_in->kernel, mirror->device, KERNEL_LOAD, &line->table, command->id);
		mirror->loading = line;
		mirror->load_command = command->id;
	}
	if (ret) {
		mirror->loading = NULL;
		free(line);
	}
	return ret;
}

static int kernel_command_pass(struct stand_in *stand_in, struct command *command,
			       enum kernel_command_type type)
{
	return kernel_command(stand_in->kernel, command->mirror->device, type, NULL, command->id);
}

static int clear_command(struct stand_in *stand_in, struct command *command)
{
	int ret = kernel_command_pass(stand_in, command, KERNEL_CLEAR);

	if (!ret) {
		free(command->mirror->inactive);
		command->mirror->inactive = NULL;
		mirror_files_write(stand_in, command->mirror);
	}
	return ret;
}

static int suspend_command(struct stand_in *stand_in, struct command *command)
{
	bool noflush = command->count > 1 && !strcmp(command->words[1], "noflush");

	return kernel_command_pass(stand_in, command, noflush ? KERNEL_SUSPEND_NOFLUSH : KERNEL_SUSPEND);
}

static int resume_command(struct stand_in *stand_in, struct command *command)
{
	return kernel_command_pass(stand_in, command, KERNEL_RESUME);
}

static int remove_command(struct stand_in *stand_in, struct command *command)
{
	return kernel_command_pass(stand_in, command, KERNEL_REMOVE);
}

static int status_command(struct stand_in *stand_in, struct command *command)
{
	return kernel_command_pass(stand_in, command, KERNEL_STATUS);
}

/* After remove: the name is free again. */
static int forget_command(struct stand_in *stand_in, struct command *command)
{
	for (unsigned i = 0; i < command->mirror->leg_count; i++)
		if (leg_io_busy(&stand_in->leg_io, &command->mirror->legs[i]))
			return -EBUSY;
	mirror_free(stand_in, command->mirror);
	object_print(answer_new(command->id, 0));
	return 0;
}

static int write_command(struct stand_in *stand_in, struct command *command)
{
	(void)stand_in;
	return load_submit(&command->mirror->load, true, argument(command, 1), command->id, now_ns());
}

static int read_command(struct stand_in *stand_in, struct command *command)
{
	(void)stand_in;
	return load_submit(&command->mirror->load, false, argument(command, 1), command->id, now_ns());
}

/* start NAME SEED IO_PER_SECOND DURATION_MS FIRST_BLOCK BLOCK_COUNT STEP DEPTH READ_PERCENT */
static int start_command(struct stand_in *stand_in, struct command *command)
{
	uint64_t rate = argument(command, 2);
	struct load_plan plan = {.seed = argument(command, 1),
				 .interval_ns = rate ? UINT64_C(1000000000) / rate : 0,
				 .duration_ns = argument(command, 3) * MS_NS,
				 .first_block = argument(command, 4),
				 .block_count = argument(command, 5),
				 .step = argument(command, 6),
				 .depth = (unsigned)argument(command, 7),
				 .read_percent = (unsigned)argument(command, 8),
				 .command = command->id};

	(void)stand_in;
	if (command->count < 9 || !rate)
		return -EINVAL;
	return load_start(&command->mirror->load, &plan, now_ns());
}

static int stop_command(struct stand_in *stand_in, struct command *command)
{
	(void)stand_in;
	load_stop(&command->mirror->load, now_ns());
	object_print(answer_new(command->id, 0));
	return 0;
}

/* leg NAME LEG 0|1: that leg fails from now on, or works again. */
static int leg_command(struct stand_in *stand_in, struct command *command)
{
	uint64_t leg = argument(command, 1);

	(void)stand_in;
	if (leg >= command->mirror->leg_count)
		return -EINVAL;
	command->mirror->legs[leg].failing = argument(command, 2);
	object_print(answer_new(command->id, 0));
	return 0;
}

/* hold NAME 0|1: the I/O of all legs stands still, or goes on. What the kernel asks the daemon goes on. */
static int hold_command(struct stand_in *stand_in, struct command *command)
{
	stand_in->leg_io.held = argument(command, 1);
	object_print(answer_new(command->id, 0));
	return 0;
}

/* dirty NAME: the regions that the daemon does not call clean. The kernel itself never asks this. */
static int dirty_command(struct stand_in *stand_in, struct command *command)
{
	struct question *question = &stand_in->question;
	struct ulog_request request = {.type = ULOG_IS_CLEAN, .version = 3};
	struct kernel_device info;
	int ret = kernel_device_info(stand_in->kernel, command->mirror->device, &info);

	if (ret || !info.live_uuid)
		return ret ? ret : -ENODEV;
	question_end(question, -EINTR);
	*question =
	    (struct question){.command = command->id,
			      .seq_first = kernel_seqs_take(stand_in->kernel, (uint32_t)info.region_count),
			      .regions = (uint32_t)info.region_count,
			      .dirty = json_object_new_array()};
	request.luid = info.live_luid;
	snprintf(request.uuid, sizeof(request.uuid), "%s", info.live_uuid);
	for (uint64_t region = 0; region < info.region_count && !ret; region++) {
		request.seq = question->seq_first + (uint32_t)region;
		request.data = (const uint8_t *)&region;
		request.data_bytes = sizeof(region);
		ret = ulog_wire_send(stand_in->netlink, &request);
	}
	if (ret)
		question_end(question, ret);
	return 0;
}

/* malformed NAME SEED COUNT */
static int malformed_command(struct stand_in *stand_in, struct command *command)
{
	struct kernel_device info;
	int ret = kernel_device_info(stand_in->kernel, command->mirror->device, &info);

	if (ret || !info.live_uuid)
		return ret ? ret : -ENODEV;
	ret = malformed_send(stand_in->netlink, info.live_uuid, info.live_luid, info.region_count,
			     argument(command, 1), (unsigned)argument(command, 2));
	if (!ret)
		object_print(answer_new(command->id, 0));
	return ret;
}

static struct json_object *complaints_object(const struct stand_in *stand_in)
{
	struct json_object *object = json_object_new_object();

	for (unsigned i = 0; i < KERNEL_COMPLAINTS_END; i++)
		if (stand_in->complaints[i])
			number_add(object, kernel_complaint_name((enum kernel_complaint)i),
				   stand_in->complaints[i]);
	return object;
}

/* info NAME: all counters, and the times of all writes up to now are in their file. info NAME reset: and the
 * longest wait starts from zero. */
static int info_command(struct stand_in *stand_in, struct command *command)
{
	struct mirror *mirror = command->mirror;
	struct json_object *answer = answer_new(command->id, 0);
	struct kernel_device info;

	fflush(mirror->writes);
	load_counts_add(answer, &mirror->load.counts);
	number_add(answer, "oldest_wait_ms", load_oldest_wait_ns(&mirror->load, now_ns()) / MS_NS);
	number_add(answer, "in_flight", mirror->load.in_flight);
	number_add(answer, "requests", stand_in->requests);
	number_add(answer, "replies", stand_in->replies);
	number_add(answer, "malformed_replies", stand_in->malformed_replies);
	number_add(answer, "malformed_accepted", stand_in->malformed_accepted);
	number_add(answer, "wakes", stand_in->wakes);
	number_add(answer, "recoveries", stand_in->recoveries);
	number_add(answer, "requests_waiting", kernel_requests_waiting(stand_in->kernel));
	json_object_object_add(answer, "complaints", complaints_object(stand_in));
	if (!kernel_device_info(stand_in->kernel, mirror->device, &info)) {
		number_add(answer, "region_count", info.region_count);
		number_add(answer, "in_sync_hint", info.in_sync_hint);
		number_add(answer, "bios", info.bios);
		json_object_object_add(answer, "live", json_object_new_boolean(info.live));
		json_object_object_add(answer, "suspended", json_object_new_boolean(info.suspended));
		json_object_object_add(answer, "log_failure", json_object_new_boolean(info.log_failure));
		json_object_object_add(answer, "in_sync", json_object_new_boolean(info.in_sync));
		json_object_object_add(answer, "legs", json_object_new_string(info.leg_status));
	}
	if (command->count > 1 && !strcmp(command->words[1], "reset"))
		mirror->load.counts.write_wait_max_ns = 0;
	object_print(answer);
	return 0;
}

static const struct {
	const char *verb;
	int (*run)(struct stand_in *stand_in, struct command *command);
	bool needs_table; /* once loaded: block counts are known */
} verbs[] = {
    {"create", create_command, false},
    {"load", load_command, false},
    {"clear", clear_command, true},
    {"suspend", suspend_command, true},
    {"resume", resume_command, true},
    {"remove", remove_command, true},
    {"status", status_command, true},
    {"forget", forget_command, false},
    {"write", write_command, true},
    {"read", read_command, true},
    {"start", start_command, true},
    {"stop", stop_command, true},
    {"leg", leg_command, true},
    {"hold", hold_command, true},
    {"dirty", dirty_command, true},
    {"info", info_command, true},
    {"malformed", malformed_command, true},
};

static int command_find_run(struct stand_in *stand_in, struct command *command, const char *verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verb, verbs[i].verb))
			continue;
		if (!command->count)
			return -EINVAL;
		command->mirror = mirror_find(stand_in, command->words[0]);
		if (!command->mirror && strcmp(verb, "create"))
			return -ENODEV;
		if (verbs[i].needs_table && !command->mirror->load_open)
			return -ENODATA;
		return verbs[i].run(stand_in, command);
	}
	return -ENOSYS;
}

static void line_handle(struct stand_in *stand_in, char *line)
{
	char copy[LINE_BYTES];
	struct command command = {.rest = ""};
	const char *verb;
	char *save = NULL, *word;
	int ret;

	snprintf(copy, sizeof(copy), "%s", line);
	word = strtok_r(copy, " ", &save);
	if (!word)
		return;
	command.id = strtoull(word, NULL, 10);
	verb = strtok_r(NULL, " ", &save);
	if (!verb)
		return;
	while (command.count < ARGUMENTS_MAX && (word = strtok_r(NULL, " ", &save))) {
		if (command.count == 1)
			command.rest = line + (word - copy);
		command.words[command.count++] = word;
	}
	ret = command_find_run(stand_in, &command, verb);
	if (ret)
		object_print(answer_new(command.id, ret));
}

static int32_t input_ready(int32_t fd, int32_t events, void *data)
{
	struct stand_in *stand_in = data;
	ssize_t got = read(fd, stand_in->input + stand_in->input_bytes,
			   sizeof(stand_in->input) - 1 - stand_in->input_bytes);
	char *newline;

	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		qb_loop_stop(stand_in->loop);
		return -1;
	}
	stand_in->input_bytes += (size_t)got;
	stand_in->input[stand_in->input_bytes] = 0;
	while ((newline = strchr(stand_in->input, '\n'))) {
		*newline = 0;
		line_handle(stand_in, stand_in->input);
		stand_in->input_bytes -= (size_t)(newline + 1 - stand_in->input);
		memmove(stand_in->input, newline + 1, stand_in->input_bytes + 1);
	}
	if (stand_in->input_bytes == sizeof(stand_in->input) - 1)
		stand_in->input_bytes = 0; /* a line that cannot be a command */
	stand_in_run(stand_in);
	return 0;
}

/* With the names of all complaints, for who looks for one of them. */
static void ready_print(void)
{
	struct json_object *event = event_new("ready", NULL), *kinds = json_object_new_array();

	for (unsigned i = 0; i < KERNEL_COMPLAINTS_END; i++)
		json_object_array_add(
		    kinds, json_object_new_string(kernel_complaint_name((enum kernel_complaint)i)));
	json_object_object_add(event, "complaints", kinds);
	object_print(event);
}

/* --- start and end
 * ---------------------------------------------------------------------------------------------- */

struct options {
	struct kernel_config kernel;
	uint32_t port;
	uint64_t leg_delay_us, seed;
};

static int options_parse(struct stand_in *stand_in, struct options *options, int argc, char **argv)
{
	static const struct option names[] = {
	    {"node", required_argument, NULL, 'n'},	    {"port", required_argument, NULL, 'p'},
	    {"tables", required_argument, NULL, 't'},	    {"records", required_argument, NULL, 'r'},
	    {"version", required_argument, NULL, 'v'},	    {"region-sectors", required_argument, NULL, 's'},
	    {"leg-delay-us", required_argument, NULL, 'd'}, {"seed", required_argument, NULL, 'S'},
	    {"speed", required_argument, NULL, 'x'},	    {0}};
	int letter;

	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (letter) {
		case 'n': stand_in->node = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'p': options->port = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 't': stand_in->tables_dir = optarg; break;
		case 'r': stand_in->records_dir = optarg; break;
		case 'v': options->kernel.version = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 's': stand_in->region_sectors = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'd': options->leg_delay_us = strtoull(optarg, NULL, 10); break;
		case 'S': options->seed = strtoull(optarg, NULL, 10); break;
		case 'x': stand_in->speed = strtoull(optarg, NULL, 10); break;
		default: return -EINVAL;
		}
	}
	if (!stand_in->node || !stand_in->speed || !options->port || !stand_in->tables_dir ||
	    !stand_in->records_dir || stand_in->region_sectors < BLOCK_BYTES / SECTOR_BYTES)
		return -EINVAL;
	/* Like a pointer: unique on the node, another one after each boot. */
	options->kernel.first_luid = UINT64_C(0xffff888000000000) + ((uint64_t)stand_in->node << 32) +
				     (options->seed & 0xffff) * 0x1000;
	options->kernel.blocks_per_region = stand_in->region_sectors * SECTOR_BYTES / BLOCK_BYTES;
	return 0;
}

static int stand_in_open(struct stand_in *stand_in, const struct options *options)
{
	int ret = leg_io_init(&stand_in->leg_io, options->seed, options->leg_delay_us * 1000);

	if (ret)
		return ret;
	stand_in->kernel = kernel_new(&options->kernel);
	stand_in->loop = qb_loop_create();
	if (!stand_in->kernel || !stand_in->loop)
		return -ENOMEM;
	stand_in->netlink = ulog_wire_open(options->port);
	if (stand_in->netlink < 0)
		return stand_in->netlink;
	stand_in->tables_watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (stand_in->tables_watch < 0 || inotify_add_watch(stand_in->tables_watch, stand_in->tables_dir,
							    IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
		return -errno;
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	ret =
	    qb_loop_poll_add(stand_in->loop, QB_LOOP_MED, stand_in->netlink, POLLIN, stand_in, netlink_ready);
	if (!ret)
		ret = qb_loop_poll_add(stand_in->loop, QB_LOOP_MED, STDIN_FILENO, POLLIN, stand_in,
				       input_ready);
	if (!ret)
		ret = qb_loop_poll_add(stand_in->loop, QB_LOOP_LOW, stand_in->tables_watch, POLLIN, stand_in,
				       tables_changed);
	return ret;
}

static void stand_in_close(struct stand_in *stand_in)
{
	for (unsigned i = 0; i < KERNEL_DEVICES_MAX; i++)
		if (stand_in->mirrors[i].used)
			mirror_free(stand_in, &stand_in->mirrors[i]);
	if (stand_in->netlink > 0)
		close(stand_in->netlink);
	if (stand_in->tables_watch > 0)
		close(stand_in->tables_watch);
	kernel_free(stand_in->kernel);
	leg_io_deinit(&stand_in->leg_io);
	if (stand_in->loop)
		qb_loop_destroy(stand_in->loop);
}

int main(int argc, char **argv)
{
	static struct stand_in stand_in = {.speed = 1};
	struct options options = {.kernel = {.version = 3}};
	int ret = options_parse(&stand_in, &options, argc, argv);

	stand_in.begin_ns = now_ns();
	if (ret) {
		fprintf(stderr,
			"usage: %s --node=N --port=P --tables=DIR --records=DIR --region-sectors=N "
			"[--version=2|3] [--leg-delay-us=N] [--seed=N] [--speed=N]\n",
			argv[0]);
		return EXIT_FAILURE;
	}
	ret = stand_in_open(&stand_in, &options);
	if (!ret) {
		ready_print();
		qb_loop_run(stand_in.loop);
	} else {
		fprintf(stderr, "%s: %s\n", argv[0], strerror(-ret));
	}
	stand_in_close(&stand_in);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
