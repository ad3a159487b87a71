/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The content of a log device: three bytes of region count, one of sync mode, then the device. */
#include "tests/fuzz/fuzz.h"

#include "protocol/log_device.h"

#define ARGUMENT_BYTES 4

/* What was read is written and read again: nothing may be cleaner than before. */
static void check_round_trip(uint64_t region_count, const struct region_set *dirty)
{
	struct region_set again = REGION_SET_EMPTY;
	uint64_t size = log_device_image_bytes(region_count, 512), header_regions;
	uint8_t *image = malloc(size);

	FUZZ_CHECK(image != NULL);
	log_device_encode(0, size, region_count, dirty, image);
	FUZZ_CHECK(log_device_decode(image, size, region_count, SYNC_DEFAULT, &again, &header_regions) ==
		   LOG_DEVICE_LOG);
	FUZZ_CHECK(header_regions == region_count);
	FUZZ_CHECK(region_set_equal(dirty, &again));
	free(image);
	region_set_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct region_set dirty = REGION_SET_EMPTY;
	region_t last;

	if (size < ARGUMENT_BYTES)
		return 0;
	uint64_t region_count = 1 + data[0] + 256u * data[1] + 65536u * (data[2] & 7);
	enum sync_mode mode = (enum sync_mode)(data[3] % 3);
	uint64_t header_regions;
	enum log_device_found found = log_device_decode(data + ARGUMENT_BYTES, size - ARGUMENT_BYTES,
							region_count, mode, &dirty, &header_regions);
	if (region_set_last(&dirty, &last))
		FUZZ_CHECK(last < region_count);
	if (found == LOG_DEVICE_SHORT || found == LOG_DEVICE_FOREIGN ||
	    (found == LOG_DEVICE_LOG && mode == SYNC_FORCE))
		FUZZ_CHECK(region_set_count(&dirty) == region_count);
	if (found == LOG_DEVICE_LOG && mode == SYNC_DEFAULT && header_regions < region_count)
		FUZZ_CHECK(region_set_contains_range(&dirty, header_regions, region_count));
	check_round_trip(region_count, &dirty);
	region_set_fini(&dirty);
	return 0;
}
