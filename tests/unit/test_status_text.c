/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `mirrorlogctl status` prints of the daemon's JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "daemon/ctl/status_text.h"

static void assert_prints(const char *json, const char *expected)
{
	struct json_object *status = json_tokener_parse(json);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(status);
	assert_non_null(out);
	status_text_print(out, status);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, expected);
	free(text);
	json_object_put(status);
}

static void test_no_logs(void **state)
{
	(void)state;
	assert_prints(
	    "{\"node\": 1, \"connected\": true, \"quorate\": true, \"ready\": true, \"waits_for\": \"\","
	    " \"nodes\": [{\"node\": 1, \"state\": \"ready\"}], \"logs\": []}",
	    "node 1: ready\n"
	    "\n"
	    "NODE    STATE\n"
	    "1       ready\n"
	    "\n"
	    "no logs\n");
}

static void test_node_states(void **state)
{
	(void)state;
	assert_prints(
	    "{\"node\": 2, \"connected\": false, \"quorate\": true, \"waits_for\": \"waits for corosync\"}",
	    "node 2: not connected to the cluster\n  waits for corosync\n\nno logs\n");
	assert_prints("{\"node\": 2, \"connected\": true, \"quorate\": false}",
		      "node 2: no quorum\n\nno logs\n");
	assert_prints("{\"node\": 2, \"connected\": true, \"quorate\": true}",
		      "node 2: joining\n\nno logs\n");
	/* Said while there is nothing to repair too. */
	assert_prints(
	    "{\"node\": 2, \"connected\": true, \"quorate\": true, \"ready\": true, \"repair_paused\": true}",
	    "node 2: ready\n  repair is paused on this node\n\nno logs\n");
}

static void test_log(void **state)
{
	(void)state;
	assert_prints(
	    "{\"node\": 1, \"connected\": true, \"quorate\": true, \"ready\": true, \"logs\": ["
	    "{\"uuid\": \"LVM-short\", \"disk\": true, \"device\": \"253:2\", \"health\": \"A\", "
	    "\"synced_percent\": 99.99,"
	    " \"region_count\": 20000, \"unsynced_regions\": 1, \"ghost_regions\": 3, \"failed_regions\": 1,"
	    " \"writer\": 1, \"recoverer\": 2, \"waiting_requests\": 4, \"repair_region\": 17, "
	    "\"repair_rate\": 1024,"
	    " \"repaired_regions\": 5, \"waits_for\": \"waits for something\","
	    " \"members\": [{\"node\": 1, \"state\": \"member\", \"instances\": 2, \"resumed\": 1, "
	    "\"marks\": 6},"
	    " {\"node\": 2, \"state\": \"undecided\", \"instances\": 1, \"resumed\": 1, \"marks\": 3}]},"
	    "{\"uuid\": \"a-log-with-a-long-name\", \"disk\": false, \"device\": \"\", \"health\": \"A\","
	    " \"synced_percent\": 100.00, \"region_count\": 8, \"writer\": null, \"members\": []}]}",
	    "node 1: ready\n"
	    "\n"
	    "LOG                     TYPE  DEVICE    HEALTH    SYNC%     REGIONS  UNSYNCED  GHOSTS  WRITER  "
	    "RECOVERER  WAIT\n"
	    "LVM-short               disk  253:2     A         99.99       20000         1       3  1       "
	    "2             4\n"
	    "a-log-with-a-long-name  core  -         A        100.00           8         0       0  -       "
	    "-             0\n"
	    "\n"
	    "LOG                     MEMBER  STATE         INSTANCES  RESUMED       MARKS\n"
	    "LVM-short               1       member                2        1           6\n"
	    "LVM-short               2       undecided             1        1           3\n"
	    "\n"
	    "LVM-short: waits for something\n"
	    "\n"
	    "LVM-short: 3 regions to be repaired; node 2 is at region 17; 5 repaired by this node, at most "
	    "1024 bytes a"
	    " second\n"
	    "\n"
	    "LVM-short: a leg failed under 1 regions: reload the table with a good leg\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_logs),
	    cmocka_unit_test(test_node_states),
	    cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
