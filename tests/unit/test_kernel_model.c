/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel model's main stories, with the daemon played by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/model/kernel.h"

#define SECOND_NS UINT64_C(1000000000)
#define REGIONS	  8

/* A host, what it said last, and a daemon that answers from this table. */
struct host {
	struct kernel *kernel;
	uint64_t now_ns;
	int device;
	char trace[4096]; /* what happened, in words */
	bool in_sync[REGIONS];
	int work;    /* next region to recover, -1: none */
	bool deaf;   /* requests reach nobody */
	bool silent; /* requests are heard and not answered */
	bool flushes_fail, discards_fail;
	unsigned bad_leg; /* writes there fail, 0: none */
	uint32_t last_seq;
	luid_t resumed; /* newest table told to resume: the count of others reads 0 (hazard B8) */
	uint64_t tags[2][REGIONS];
	int command_error;
	char status[KERNEL_TEXT_BYTES];
};

static void host_note(struct host *host, const char *text)
{
	size_t used = strlen(host->trace);

	snprintf(host->trace + used, sizeof(host->trace) - used, "%s%s", used ? " " : "", text);
}

static uint64_t first_u64(const struct kernel_output *out)
{
	uint64_t value;

	memcpy(&value, out->send.data, sizeof(value));
	return value;
}

static void host_set_region_sync(struct host *host, const struct kernel_output *out)
{
	uint64_t value;

	memcpy(&value, out->send.data + 8, sizeof(value));
	host->in_sync[first_u64(out)] = value != 0;
}

static void host_answer(struct host *host, const struct kernel_output *out)
{
	uint64_t data[2] = {0, 0};
	size_t bytes = 0;
	int in_sync_count = 0;

	for (int i = 0; i < REGIONS; i++)
		in_sync_count += host->in_sync[i];
	switch (out->send.type) {
	case ULOG_GET_REGION_SIZE: data[0] = 1024, bytes = 8; break;
	case ULOG_IN_SYNC: data[0] = host->in_sync[first_u64(out)], bytes = 8; break;
	case ULOG_GET_SYNC_COUNT:
		data[0] = out->luid == host->resumed ? (uint64_t)in_sync_count : 0, bytes = 8;
		break;
	case ULOG_RESUME: host->resumed = out->luid; break;
	case ULOG_IS_REMOTE_RECOVERING:
		data[0] = !host->in_sync[first_u64(out)], bytes = 16;
		data[1] = in_sync_count == REGIONS ? REGIONS : 0;
		break;
	case ULOG_GET_RESYNC_WORK:
		while (host->work >= 0 && host->work < REGIONS && host->in_sync[host->work])
			host->work++;
		data[0] = host->work >= 0 && host->work < REGIONS, bytes = 16;
		data[1] = data[0] ? (uint64_t)host->work : 0;
		break;
	case ULOG_SET_REGION_SYNC: host_set_region_sync(host, out); break;
	case ULOG_STATUS_INFO: kernel_reply(host->kernel, out->send.seq, 0, "1 clustered-core", 17); return;
	default: break;
	}
	kernel_reply(host->kernel, out->send.seq, 0, data, bytes);
}

static void host_sent(struct host *host, const struct kernel_output *out)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%s:%llx", out->send.resent ? "again-" : "",
		 ulog_type_name(out->send.type), (unsigned long long)out->luid);
	if (out->send.type == ULOG_MARK_REGION || out->send.type == ULOG_CLEAR_REGION)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "(%u)", out->send.data_bytes / 8);
	host_note(host, text);
	host->last_seq = out->send.seq;
	if (host->deaf)
		kernel_send_failed(host->kernel, out->send.seq, -ESRCH);
	else if (!host->silent)
		host_answer(host, out);
}

static void host_output(struct host *host, const struct kernel_output *out)
{
	char text[64];

	switch (out->type) {
	case KERNEL_SEND: host_sent(host, out); break;
	case KERNEL_LEG_WRITE:
		host->tags[out->leg.leg][out->leg.region] = out->leg.tag;
		snprintf(text, sizeof(text), "write(%u,%u)", out->leg.leg, out->leg.region);
		host_note(host, text);
		kernel_leg_done(host->kernel, out->leg.op,
				host->bad_leg && out->leg.leg == host->bad_leg ? -EIO : 0, 0);
		break;
	case KERNEL_LEG_READ:
		kernel_leg_done(host->kernel, out->leg.op, 0, host->tags[out->leg.leg][out->leg.region]);
		break;
	case KERNEL_LEG_FLUSH:
		kernel_leg_done(host->kernel, out->leg.op, host->flushes_fail && out->leg.leg == 1 ? -EIO : 0,
				0);
		break;
	case KERNEL_LEG_DISCARD:
		snprintf(text, sizeof(text), "discard(%u,%u)", out->leg.leg, out->leg.region);
		host_note(host, text);
		kernel_leg_done(host->kernel, out->leg.op, host->discards_fail ? -EIO : 0, 0);
		break;
	case KERNEL_BIO_DONE: host_note(host, out->bio.error ? "bio-failed" : "bio-done"); break;
	case KERNEL_COMMAND_DONE:
		host->command_error = out->command.error;
		snprintf(host->status, sizeof(host->status), "%s", out->command.text);
		host_note(host, out->command.error ? "command-failed" : "command-done");
		break;
	case KERNEL_COMPLAINT:
		snprintf(text, sizeof(text), "[%s]", kernel_complaint_name(out->complaint.kind));
		host_note(host, text);
		break;
	case KERNEL_TABLE_EVENT: break;
	}
}

/* Let everything happen that can without time passing. */
static void host_settle(struct host *host)
{
	struct kernel_output out;

	for (int rounds = 0; rounds < 10000; rounds++) {
		kernel_run(host->kernel, host->now_ns);
		bool any = false;
		while (kernel_output(host->kernel, &out)) {
			host_output(host, &out);
			any = true;
		}
		if (!any)
			return;
	}
	fail_msg("the kernel never settles: %s", host->trace);
}

static void host_pass(struct host *host, uint64_t ns)
{
	host->now_ns += ns;
	host_settle(host);
}

static const struct kernel_table *host_table(bool integrated_flush)
{
	static struct kernel_table table;

	table = (struct kernel_table){.uuid = "LVM-x",
				      .length_sectors = REGIONS * 1024,
				      .log_args = "clustered-core 1024",
				      .integrated_flush = integrated_flush,
				      .leg_count = 2,
				      .handle_errors = true};
	return &table;
}

static void host_command(struct host *host, enum kernel_command_type type, const struct kernel_table *table)
{
	assert_int_equal(kernel_command(host->kernel, (unsigned)host->device, type, table, 7), 0);
	host_settle(host);
}

static void host_start(struct host *host, bool in_sync, bool integrated_flush)
{
	struct kernel_config config = {.version = 3, .first_luid = 0x100, .blocks_per_region = 1};

	memset(host, 0, sizeof(*host));
	for (int i = 0; i < REGIONS; i++)
		host->in_sync[i] = in_sync;
	host->work = -1;
	host->kernel = kernel_new(&config);
	assert_non_null(host->kernel);
	host->device = kernel_device_create(host->kernel);
	assert_int_equal(host->device, 0);
	host_command(host, KERNEL_LOAD, host_table(integrated_flush));
	host_command(host, KERNEL_RESUME, NULL);
	assert_int_equal(host->command_error, 0);
}

static void host_write(struct host *host, region_t region, uint64_t tag)
{
	struct kernel_bio bio = {.id = tag, .type = KERNEL_WRITE, .region = region, .tag = tag};

	assert_int_equal(kernel_submit(host->kernel, (unsigned)host->device, &bio), 0);
	host_settle(host);
}

static void test_life(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	assert_string_equal(
	    host.trace, "CTR:100 GET_REGION_SIZE:100 command-done GET_SYNC_COUNT:100 RESUME:100 command-done "
			"GET_RESYNC_WORK:100 GET_SYNC_COUNT:100");
	host.trace[0] = '\0';
	host_command(&host, KERNEL_REMOVE, NULL);
	assert_string_equal(host.trace, "PRESUSPEND:100 POSTSUSPEND:100 DTR:100 command-done");
	kernel_free(host.kernel);
}

static void test_single_write(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host_write(&host, 3, 55);
	assert_string_equal(host.trace,
			    "IN_SYNC:100 IN_SYNC:100 MARK_REGION:100(1) FLUSH:100 write(0,3) write(1,3) "
			    "bio-done CLEAR_REGION:100(1) FLUSH:100");
	assert_int_equal(host.tags[0][3], 55);
	assert_int_equal(host.tags[1][3], 55);
	kernel_free(host.kernel);
}

static void test_integrated_flush(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, true);
	host.trace[0] = '\0';
	host_write(&host, 3, 55);
	assert_string_equal(
	    host.trace,
	    "IN_SYNC:100 IN_SYNC:100 FLUSH:100 write(0,3) write(1,3) bio-done CLEAR_REGION:100(1)");
	host.trace[0] = '\0';
	host_pass(&host, 3 * SECOND_NS);
	assert_string_equal(host.trace, "FLUSH:100");
	kernel_free(host.kernel);
}

static void test_marks_are_grouped(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	for (region_t region = 0; region < 3; region++) {
		struct kernel_bio bio = {.id = region, .type = KERNEL_WRITE, .region = region, .tag = 1};
		assert_int_equal(kernel_submit(host.kernel, 0, &bio), 0);
	}
	host_settle(&host);
	assert_non_null(strstr(host.trace, "MARK_REGION:100(3) FLUSH:100 write(0,0)"));
	assert_non_null(strstr(host.trace, "CLEAR_REGION:100(3) FLUSH:100"));
	kernel_free(host.kernel);
}

static void test_recovery(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, false, false);
	for (int i = 0; i < REGIONS; i++)
		host.tags[0][i] = (uint64_t)i + 100;
	host.work = 0;
	host.trace[0] = '\0';
	host_command(&host, KERNEL_SUSPEND, NULL);
	host_command(&host, KERNEL_RESUME, NULL);
	for (int i = 0; i < REGIONS; i++) {
		assert_true(host.in_sync[i]);
		assert_int_equal(host.tags[1][i], i + 100);
	}
	assert_non_null(strstr(host.trace, "GET_RESYNC_WORK:100 IN_SYNC:100 GET_SYNC_COUNT:100 write(1,0) "
					   "SET_REGION_SYNC:100 CLEAR_REGION:100(1) FLUSH:100"));
	kernel_free(host.kernel);
}

/* A write to a region that somebody recovers is put back, and asked for again no sooner than the limit
 * allows. */
static void test_remote_recovering(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, false, false);
	host.trace[0] = '\0';
	host_write(&host, 1, 9);
	assert_string_equal(host.trace, "GET_RESYNC_WORK:100 GET_SYNC_COUNT:100 IS_REMOTE_RECOVERING:100");
	host.trace[0] = '\0';
	host_pass(&host, KERNEL_DELAYED_WAKE_NS); /* 200 ms: the limit says "recovering" without a question */
	assert_null(strstr(host.trace, "IS_REMOTE_RECOVERING"));
	for (int i = 0; i < REGIONS; i++)
		host.in_sync[i] = true;
	host_pass(&host, KERNEL_DELAYED_WAKE_NS);
	assert_non_null(strstr(host.trace, "bio-done"));
	kernel_free(host.kernel);
}

static void test_resend(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host.silent = true;
	host_write(&host, 3, 55);
	uint32_t old = host.last_seq;
	host_pass(&host, 15 * SECOND_NS);
	assert_string_equal(host.trace, "IN_SYNC:100 [timeout] again-IN_SYNC:100");
	assert_int_not_equal(host.last_seq, old);
	uint64_t yes = 1;
	kernel_reply(host.kernel, old, 0, &yes, sizeof(yes));
	host_settle(&host);
	assert_non_null(strstr(host.trace, "[late-reply]"));
	host.silent = false;
	kernel_reply(host.kernel, host.last_seq, 0, &yes, sizeof(yes));
	host_settle(&host);
	assert_non_null(strstr(host.trace, "bio-done"));
	kernel_free(host.kernel);
}

static void test_reconnect(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host.deaf = true;
	host_write(&host, 3, 55);
	host_pass(&host, 2 * SECOND_NS);
	host.deaf = false;
	host_pass(&host, 2 * SECOND_NS);
	assert_string_equal(host.trace,
			    "IN_SYNC:100 [server-lost] CTR:100 CTR:100 RESUME:100 [reconnected] IN_SYNC:100 "
			    "IN_SYNC:100 MARK_REGION:100(1) FLUSH:100 write(0,3) write(1,3) bio-done "
			    "CLEAR_REGION:100(1) FLUSH:100");
	kernel_free(host.kernel);
}

/* Hazard A1: an -ESRCH reply without data leaves no room for the good answer, and the write goes to one leg.
 */
static void test_room_shrinks(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host.silent = true;
	host_write(&host, 3, 55);
	kernel_reply(host.kernel, host.last_seq, -ESRCH, NULL, 0);
	host.silent = false;
	host_settle(&host);
	host_pass(&host, 2 * SECOND_NS);
	assert_non_null(strstr(host.trace, "[no-room] [answer-lost]"));
	assert_non_null(strstr(host.trace, "[write-one-leg]"));
	kernel_free(host.kernel);
}

/* Hazard A2: the RESUME of the loop fails, the request gets -ESRCH. */
static void test_resume_fails(void **state)
{
	struct host host;
	uint64_t none = 0;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host.silent = true;
	host_write(&host, 3, 55);
	kernel_reply(host.kernel, host.last_seq, -ESRCH, &none, sizeof(none));
	host_settle(&host);
	host_pass(&host, 2 * SECOND_NS);
	kernel_reply(host.kernel, host.last_seq, 0, NULL, 0);
	host_settle(&host);
	kernel_send_failed(host.kernel, host.last_seq, -ESRCH);
	host_settle(&host);
	assert_non_null(strstr(host.trace, "[resume-failed] [answer-lost]"));
	kernel_free(host.kernel);
}

static void test_reload(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host_command(&host, KERNEL_LOAD, host_table(false));
	host_command(&host, KERNEL_SUSPEND_NOFLUSH, NULL);
	host_write(&host, 3, 55); /* kept */
	host_command(&host, KERNEL_RESUME, NULL);
	assert_string_equal(
	    host.trace,
	    "CTR:140 GET_REGION_SIZE:140 command-done GET_SYNC_COUNT:140 PRESUSPEND:100 POSTSUSPEND:100 "
	    "command-done RESUME:140 DTR:100 GET_RESYNC_WORK:140 GET_SYNC_COUNT:140 command-done IN_SYNC:140 "
	    "IN_SYNC:140 MARK_REGION:140(1) "
	    "FLUSH:140 write(0,3) write(1,3) bio-done CLEAR_REGION:140(1) FLUSH:140");
	kernel_free(host.kernel);
}

/* A leg fails on this node: the log is told, the write is held until the table is reloaded without flushing.
 */
static void test_leg_failure(void **state)
{
	struct host host;
	struct kernel_output out;
	struct kernel_bio bio = {.id = 1, .type = KERNEL_WRITE, .region = 2, .tag = 77};

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	assert_int_equal(kernel_submit(host.kernel, 0, &bio), 0);
	for (int rounds = 0; rounds < 20; rounds++) {
		kernel_run(host.kernel, host.now_ns);
		while (kernel_output(host.kernel, &out))
			if (out.type == KERNEL_LEG_WRITE && out.leg.leg == 1)
				kernel_leg_done(host.kernel, out.leg.op, -EIO, 0);
			else
				host_output(&host, &out);
	}
	assert_false(host.in_sync[2]);
	assert_null(strstr(host.trace, "bio-"));
	host_command(&host, KERNEL_STATUS, NULL);
	assert_string_equal(host.status, "0 8192 mirror 2 leg0 leg1 7/8 1 AD 1 clustered-core");
	host.in_sync[2] = true;
	host_command(&host, KERNEL_LOAD, host_table(false));
	host_command(&host, KERNEL_SUSPEND_NOFLUSH, NULL);
	assert_null(strstr(host.trace, "bio-"));
	host_command(&host, KERNEL_RESUME, NULL);
	assert_non_null(strstr(host.trace, "bio-done"));
	kernel_free(host.kernel);
}

static void host_submit(struct host *host, enum kernel_bio_type type, region_t region, uint64_t id)
{
	struct kernel_bio bio = {.id = id, .type = type, .region = region, .tag = id};

	assert_int_equal(kernel_submit(host->kernel, (unsigned)host->device, &bio), 0);
	host_settle(host);
}

/* A cache flush fails: the log hears nothing, a region written since is never cleared, and once
 * GET_SYNC_COUNT was full it is written on one leg alone, by this table also after a suspend (hazard A7). */
static void test_flush_failure(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.flushes_fail = true;
	host.trace[0] = '\0';
	host_submit(&host, KERNEL_FLUSH, 0, 1);
	assert_string_equal(host.trace, "[leg-failure]"); /* held, as handle_errors says */
	host.flushes_fail = false;
	host.trace[0] = '\0';
	host_write(&host, 3, 55);
	assert_string_equal(
	    host.trace, "GET_SYNC_COUNT:100 IN_SYNC:100 IN_SYNC:100 MARK_REGION:100(1) FLUSH:100 write(0,3) "
			"write(1,3) [flush-failure] bio-done");
	host.trace[0] = '\0';
	host_write(&host, 3, 56);
	assert_string_equal(host.trace, "[write-one-leg] write(0,3) bio-done");
	host_command(&host, KERNEL_SUSPEND, NULL);
	host_command(&host, KERNEL_RESUME, NULL);
	host.trace[0] = '\0';
	host_write(&host, 3, 57);
	assert_string_equal(
	    host.trace, "GET_RESYNC_WORK:100 IS_REMOTE_RECOVERING:100 [write-one-leg] write(0,3) bio-done");
	kernel_free(host.kernel);
}

/* A discard goes to all legs and asks nothing; one that fails is the user's to know, and fails no leg (hazard
 * B15). */
static void test_discard(void **state)
{
	struct host host;

	(void)state;
	host_start(&host, true, false);
	host.trace[0] = '\0';
	host_submit(&host, KERNEL_DISCARD, 2, 1);
	assert_string_equal(host.trace, "discard(0,2) discard(1,2) bio-done");
	host.discards_fail = true;
	host.trace[0] = '\0';
	host_submit(&host, KERNEL_DISCARD, 2, 2);
	assert_string_equal(host.trace, "discard(0,2) discard(1,2) bio-failed");
	kernel_free(host.kernel);
}

/* With keep_log a write that one leg has is acknowledged, the log is told, and later ones go to the default
 * leg. */
static void test_keep_log(void **state)
{
	struct host host;
	struct kernel_table table = *host_table(false);

	(void)state;
	host_start(&host, true, false);
	table.keep_log = true;
	host_command(&host, KERNEL_LOAD, &table);
	host_command(&host, KERNEL_RESUME, NULL);
	host.bad_leg = 1;
	host.trace[0] = '\0';
	host_write(&host, 3, 55);
	assert_false(host.in_sync[3]);
	assert_non_null(strstr(host.trace, "SET_REGION_SYNC"));
	assert_non_null(strstr(host.trace, "bio-done"));
	host.in_sync[3] = true; /* as far as this log lets writes pass */
	host.trace[0] = '\0';
	host_write(&host, 3, 56);
	assert_non_null(strstr(host.trace, "[write-one-leg] write(0,3) bio-done"));
	kernel_free(host.kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_life),
	    cmocka_unit_test(test_single_write),
	    cmocka_unit_test(test_integrated_flush),
	    cmocka_unit_test(test_marks_are_grouped),
	    cmocka_unit_test(test_recovery),
	    cmocka_unit_test(test_remote_recovering),
	    cmocka_unit_test(test_resend),
	    cmocka_unit_test(test_reconnect),
	    cmocka_unit_test(test_room_shrinks),
	    cmocka_unit_test(test_resume_fails),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_leg_failure),
	    cmocka_unit_test(test_flush_failure),
	    cmocka_unit_test(test_discard),
	    cmocka_unit_test(test_keep_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
