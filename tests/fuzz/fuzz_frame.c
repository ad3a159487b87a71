/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A message of another daemon. */
#include "tests/fuzz/fuzz.h"

#include "protocol/frame.h"

/* All records of a frame that was found good, encoded again. */
static void encode_again(const uint8_t *data, size_t size, struct bytes_writer *writer)
{
	static struct record record;
	struct bytes_reader reader;
	uint64_t incarnation;
	int result;

	record_init(&record);
	FUZZ_CHECK(frame_open(&reader, data, size, &incarnation) == 0);
	frame_begin(writer, PROTOCOL_VERSION_MAX, incarnation);
	while ((result = frame_next(&reader, &record)) == 1) {
		FUZZ_CHECK(strcmp(record_type_name(record.type), "unknown") != 0);
		record_encode(writer, &record);
	}
	FUZZ_CHECK(result == 0 && !writer->failed);
	record_fini(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_writer once, twice;

	if (frame_check(data, size) != 0)
		return 0;
	bytes_writer_init(&once);
	bytes_writer_init(&twice);
	encode_again(data, size, &once);
	FUZZ_CHECK(frame_check(once.bytes, once.size) == 0);
	encode_again(once.bytes, once.size, &twice);
	FUZZ_CHECK(once.size == twice.size && memcmp(once.bytes, twice.bytes, once.size) == 0);
	bytes_writer_fini(&once);
	bytes_writer_fini(&twice);
	return 0;
}
