/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A constructor string. */
#include "tests/fuzz/fuzz.h"

#include "protocol/constructor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct constructor constructor, again;
	bool terminated;
	const char *why = NULL;
	char text[CONSTRUCTOR_BYTES], text_again[CONSTRUCTOR_BYTES], status[CONSTRUCTOR_STATUS_BYTES];

	if (constructor_parse(data, size, &constructor, &terminated, &why) != 0) {
		FUZZ_CHECK(why != NULL && *why != 0);
		return 0;
	}
	FUZZ_CHECK(constructor.region_count >= 1 && constructor.region_count <= LOG_REGIONS_MAX);
	FUZZ_CHECK((constructor.region_count - 1) * constructor.region_size_sectors <
		   constructor.length_sectors);
	FUZZ_CHECK(constructor.region_count * constructor.region_size_sectors >= constructor.length_sectors);
	int length = constructor_format(&constructor, text, sizeof(text));
	FUZZ_CHECK(length > 0);
	FUZZ_CHECK(constructor_parse(text, (size_t)length, &again, &terminated, &why) == 0 && !terminated);
	FUZZ_CHECK(constructor_format(&again, text_again, sizeof(text_again)) == length);
	FUZZ_CHECK(strcmp(text, text_again) == 0);
	FUZZ_CHECK(constructor_status_info(&constructor, 'A', status, sizeof(status)) > 0);
	FUZZ_CHECK(constructor_status_table(&constructor, status, sizeof(status)) > 0);
	return 0;
}
