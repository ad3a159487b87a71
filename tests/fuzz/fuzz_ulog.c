/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A datagram of the kernel, and the same bytes as an answer to it. */
#include "tests/fuzz/fuzz.h"

#include "protocol/ulog.h"

static void check_accepted(const struct ulog_request *request)
{
	struct bytes_writer writer;
	struct ulog_request again;
	const char *why;
	uint64_t sum = 0;

	FUZZ_CHECK(request->type >= ULOG_CTR && request->type < ULOG_TYPE_END);
	FUZZ_CHECK(strlen(request->uuid) > 0 && strlen(request->uuid) < LOG_UUID_BYTES);
	for (size_t i = 0; i < ulog_region_count(request); i++)
		sum += ulog_region(request, i);
	if (request->type == ULOG_SET_REGION_SYNC)
		sum += ulog_in_sync(request);
	for (uint32_t i = 0; i < request->data_bytes; i++)
		sum += request->data[i];
	if (sum == 42) /* the sum is used, or the reads above could be left out */
		fputs("", stderr);

	bytes_writer_init(&writer);
	ulog_encode_request(&writer, request);
	FUZZ_CHECK(ulog_decode(writer.bytes, writer.size, &again, &why) == ULOG_OK);
	FUZZ_CHECK(again.seq == request->seq && again.type == request->type && again.luid == request->luid &&
		   again.version == request->version && again.data_bytes == request->data_bytes);
	FUZZ_CHECK(strcmp(again.uuid, request->uuid) == 0);
	FUZZ_CHECK(memcmp(again.data, request->data, request->data_bytes) == 0);
	bytes_writer_fini(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ulog_request request;
	struct ulog_reply reply;
	const char *why = NULL;
	enum ulog_verdict verdict = ulog_decode(data, size, &request, &why);

	FUZZ_CHECK(why != NULL && (verdict == ULOG_OK) == (*why == 0));
	if (verdict == ULOG_OK)
		check_accepted(&request);
	if (verdict == ULOG_IGNORE || verdict == ULOG_MALFORMED)
		FUZZ_CHECK(request.seq == 0);
	if (ulog_decode_reply(data, size, &reply) == 0 && !reply.bare)
		FUZZ_CHECK(reply.data >= data && reply.data + reply.data_bytes <= data + size);
	return 0;
}
