/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First byte even: the replicated state as a checkpoint carries it. Odd: what a node says of a log. Both
 * uncompressed. */
#include "tests/fuzz/fuzz.h"

#include "daemon/core/world.h"

static void check_world(const uint8_t *data, size_t size)
{
	struct world world, again;
	struct bytes_reader reader;
	struct bytes_writer once, twice;

	world_init(&world);
	world_init(&again);
	bytes_writer_init(&once);
	bytes_writer_init(&twice);
	bytes_reader_init(&reader, data, size);
	if (world_decode(&reader, &world) == 0) {
		world_encode(&once, &world);
		bytes_reader_init(&reader, once.bytes, once.size);
		FUZZ_CHECK(world_decode(&reader, &again) == 0);
		FUZZ_CHECK(bytes_reader_left(&reader) == 0);
		world_encode(&twice, &again);
		FUZZ_CHECK(once.size == twice.size && memcmp(once.bytes, twice.bytes, once.size) == 0);
		FUZZ_CHECK(world_digest(&world) == world_digest(&again));
	}
	world_fini(&world);
	world_fini(&again);
	bytes_writer_fini(&once);
	bytes_writer_fini(&twice);
}

static void check_speech(const uint8_t *data, size_t size)
{
	static struct speech speech;
	struct bytes_reader reader;
	struct bytes_writer writer;

	speech_init(&speech);
	bytes_writer_init(&writer);
	bytes_reader_init(&reader, data, size);
	if (speech_decode(&reader, &speech) == 0) {
		speech_encode(&writer, &speech);
		bytes_reader_init(&reader, writer.bytes, writer.size);
		FUZZ_CHECK(speech_decode(&reader, &speech) == 0);
	}
	speech_fini(&speech);
	bytes_writer_fini(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		check_world(data + 1, size - 1);
	else
		check_speech(data + 1, size - 1);
	return 0;
}
