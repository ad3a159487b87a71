/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line of the control socket. */
#include "tests/fuzz/fuzz.h"

#include "protocol/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request request, again;
	const char *why = NULL;

	if (control_decode((const char *)data, size, &request, &why) != 0) {
		FUZZ_CHECK(why != NULL && *why != 0);
		return 0;
	}
	FUZZ_CHECK(request.type < CONTROL_REQUEST_END);
	FUZZ_CHECK((request.node != NODE_NONE) == (request.type == CONTROL_REQUEST_CONFIRM_DEAD));
	FUZZ_CHECK(memchr(request.uuid, 0, sizeof(request.uuid)) != NULL);
	char *line = control_encode(&request);
	FUZZ_CHECK(line != NULL);
	FUZZ_CHECK(control_decode(line, strlen(line), &again, &why) == 0);
	FUZZ_CHECK(again.type == request.type && again.node == request.node &&
		   strcmp(again.uuid, request.uuid) == 0);
	free(line);
	return 0;
}
