/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/control.h"

/* The bytes are copied to a block of their own, so that a sanitizer sees a read beyond the end. */
static int decode(const char *line, size_t size, struct control_request *ret_request, const char **ret_why)
{
	char *exact = malloc(size > 0 ? size : 1);
	int result;

	assert_non_null(exact);
	memcpy(exact, line, size);
	result = control_decode(exact, size, ret_request, ret_why);
	free(exact);
	return result;
}

static void assert_refused(const char *line, const char *why_expected)
{
	struct control_request request = {.type = CONTROL_REQUEST_END, .node = 77}, before = request;
	const char *why = NULL;

	assert_int_equal(decode(line, strlen(line), &request, &why), -EBADMSG);
	assert_non_null(why);
	assert_non_null(strstr(why, why_expected));
	assert_memory_equal(&request, &before, sizeof(request));
}

static void every_request_survives_encoding(void **state)
{
	(void)state;
	for (unsigned type = 0; type < CONTROL_REQUEST_END; type++) {
		struct control_request request = {.type = (enum control_request_type)type}, back;
		const char *why = NULL;
		char *line;

		if (type == CONTROL_REQUEST_CONFIRM_DEAD)
			request.node = UINT32_MAX;
		if (type == CONTROL_REQUEST_FAIL_KEPT)
			(void)strcpy(request.uuid, "LVM-\"quoted\" \\ and long");
		if (type == CONTROL_REQUEST_REPAIR_THROTTLE)
			request.rate = INT64_C(1) << 60;
		line = control_encode(&request);
		assert_non_null(line);
		assert_null(strchr(line, '\n'));
		assert_int_equal(decode(line, strlen(line), &back, &why), 0);
		assert_int_equal(back.type, request.type);
		assert_int_equal(back.node, request.node);
		assert_string_equal(back.uuid, request.uuid);
		free(line);
	}
}

static void uuid_may_be_left_out(void **state)
{
	struct control_request request;
	const char *why = NULL;

	(void)state;
	assert_int_equal(decode("{\"command\":\"fail-kept\"}", 23, &request, &why), 0);
	assert_string_equal(request.uuid, "");
}

static void longest_uuid(void **state)
{
	char line[256], uuid[LOG_UUID_BYTES + 1];
	struct control_request request;
	const char *why = NULL;
	int size;

	(void)state;
	memset(uuid, 'u', sizeof(uuid));
	uuid[LOG_UUID_BYTES - 1] = '\0';
	size = snprintf(line, sizeof(line), "{\"command\":\"fail-kept\",\"uuid\":\"%s\"}", uuid);
	assert_int_equal(decode(line, (size_t)size, &request, &why), 0);
	assert_string_equal(request.uuid, uuid);
	uuid[LOG_UUID_BYTES - 1] = 'u';
	uuid[LOG_UUID_BYTES] = '\0';
	(void)snprintf(line, sizeof(line), "{\"command\":\"fail-kept\",\"uuid\":\"%s\"}", uuid);
	assert_refused(line, "too long");
}

static void what_is_not_one_object_is_refused(void **state)
{
	(void)state;
	assert_refused("", "JSON");
	assert_refused("{", "unfinished");
	assert_refused("{\"command\":\"status\"", "unfinished");
	assert_refused("status", "not JSON");
	assert_refused("[]", "not a JSON object");
	assert_refused("null", "JSON");
	assert_refused("{\"command\":\"status\"}{}", "behind");
	assert_refused("{'command':'status'}", "JSON");
	assert_refused("{\"command\":{\"a\":{\"b\":{\"c\":{\"d\":1}}}}}", "JSON");
	assert_refused("{\"command\":\"stat\xff\"}", "JSON");
}

static void wrong_members_are_refused(void **state)
{
	(void)state;
	assert_refused("{}", "no \"command\"");
	assert_refused("{\"command\":1}", "string");
	assert_refused("{\"command\":null}", "string");
	assert_refused("{\"command\":\"reboot\"}", "unknown command");
	assert_refused("{\"command\":\"status\",\"colour\":1}", "unknown member");
	assert_refused("{\"command\":\"status\",\"node\":1}", "confirm-dead");
	assert_refused("{\"command\":\"status\",\"uuid\":\"x\"}", "fail-kept");
	assert_refused("{\"command\":\"confirm-dead\"}", "confirm-dead");
	assert_refused("{\"command\":\"confirm-dead\",\"node\":0}", "node id");
	assert_refused("{\"command\":\"confirm-dead\",\"node\":-1}", "node id");
	assert_refused("{\"command\":\"confirm-dead\",\"node\":4294967296}", "node id");
	assert_refused("{\"command\":\"confirm-dead\",\"node\":99999999999999999999}", "node id");
	assert_refused("{\"command\":\"confirm-dead\",\"node\":\"1\"}", "node id");
	assert_refused("{\"command\":\"confirm-dead\",\"node\":1.5}", "node id");
	assert_refused("{\"command\":\"fail-kept\",\"uuid\":\"\"}", "empty");
	assert_refused("{\"command\":\"fail-kept\",\"rate\":1}", "repair-throttle");
	assert_refused("{\"command\":\"repair-throttle\"}", "\"rate\" goes with");
	assert_refused("{\"command\":\"repair-throttle\",\"rate\":-1}", "bytes a second");
	assert_refused("{\"command\":\"repair-throttle\",\"rate\":1152921504606846977}", "bytes a second");
	assert_refused("{\"command\":\"repair-throttle\",\"rate\":99999999999999999999}", "bytes a second");
	assert_refused("{\"command\":\"repair-throttle\",\"rate\":\"1M\"}", "bytes a second");
	assert_refused("{\"command\":\"fail-kept\",\"uuid\":\"a\\u0000b\"}", "no text");
	assert_refused("{\"command\":\"fail-kept\",\"uuid\":null}", "string");
}

static void long_lines_are_refused(void **state)
{
	char *line = malloc(CONTROL_LINE_MAX + 1);
	struct control_request request;
	const char *why = NULL;

	(void)state;
	assert_non_null(line);
	memset(line, ' ', CONTROL_LINE_MAX + 1);
	assert_int_equal(control_decode(line, CONTROL_LINE_MAX + 1, &request, &why), -EBADMSG);
	assert_string_equal(why, "line too long");
	assert_int_equal(control_decode(line, CONTROL_LINE_MAX, &request, &why), -EBADMSG);
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_request_survives_encoding),
	    cmocka_unit_test(uuid_may_be_left_out),
	    cmocka_unit_test(longest_uuid),
	    cmocka_unit_test(what_is_not_one_object_is_refused),
	    cmocka_unit_test(wrong_members_are_refused),
	    cmocka_unit_test(long_lines_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
