/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/constructor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REGION_SIZE_MIN UINT64_C(2)	    /* _check_region_size() of dm-log.c */
#define REGION_SIZE_MAX (UINT64_C(1) << 31) /* the largest power of two in the kernel's 32 bits */
#define LENGTH_MAX	(UINT64_C(1) << 54) /* sectors; 2^63 bytes, more than a block device can have */
#define MAJOR_MAX	UINT64_C(0xfff)	    /* dev_t of the kernel: 12 bits, 20 bits */
#define MINOR_MAX	UINT64_C(0xfffff)

/* The rest of the text; words are taken from the front. */
struct words {
	const char *at, *end;
};

struct word {
	const char *text;
	size_t length;
};

/* The next word. Any number of blanks may stand around words: dm_split_args() eats them before the kernel
 * builds its string, and a hand-made table is not worth a refusal. */
static bool words_take(struct words *words, struct word *ret_word)
{
	while (words->at < words->end && *words->at == ' ')
		words->at++;
	ret_word->text = words->at;
	while (words->at < words->end && *words->at != ' ')
		words->at++;
	ret_word->length = (size_t)(words->at - ret_word->text);
	return ret_word->length > 0;
}

static bool word_is(const struct word *word, const char *text)
{
	return word->length == strlen(text) && memcmp(word->text, text, word->length) == 0;
}

/* Decimal digits only, the whole word, at most `max`. */
static bool word_number(const struct word *word, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (word->length == 0)
		return false;
	for (size_t i = 0; i < word->length; i++) {
		unsigned digit = (unsigned)(word->text[i] - '0');
		if (word->text[i] < '0' || digit > 9)
			return false;
		if (value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*ret_value = value;
	return true;
}

static bool word_device(const struct word *word, uint32_t *ret_major, uint32_t *ret_minor)
{
	const char *colon = memchr(word->text, ':', word->length);
	uint64_t major, minor;

	if (!colon)
		return false;
	struct word left = {.text = word->text, .length = (size_t)(colon - word->text)};
	struct word right = {.text = colon + 1, .length = word->length - left.length - 1};
	if (!word_number(&left, MAJOR_MAX, &major) || !word_number(&right, MINOR_MAX, &minor))
		return false;
	*ret_major = (uint32_t)major;
	*ret_minor = (uint32_t)minor;
	return true;
}

static const char *parse_options(struct words *words, struct constructor *constructor)
{
	bool sync_seen = false;
	struct word word;

	while (words_take(words, &word)) {
		if (word_is(&word, "sync") || word_is(&word, "nosync")) {
			if (sync_seen)
				return "sync or nosync twice";
			sync_seen = true;
			constructor->sync_mode = word_is(&word, "sync") ? SYNC_FORCE : SYNC_NOSYNC;
		} else if (word_is(&word, "block_on_error")) {
			if (constructor->block_on_error)
				return "block_on_error twice";
			constructor->block_on_error = true;
		} else {
			return "unknown word after the region size";
		}
	}
	return NULL;
}

static const char *parse_words(struct words *words, struct constructor *constructor)
{
	struct word word;

	if (!words_take(words, &word) || !word_number(&word, LENGTH_MAX, &constructor->length_sectors) ||
	    constructor->length_sectors == 0)
		return "the length of the mirror is not a number of sectors";
	if (!words_take(words, &word))
		return "no log type";
	constructor->disk = word_is(&word, "clustered-disk");
	if (!constructor->disk && !word_is(&word, "clustered-core"))
		return "unknown log type";
	if (constructor->disk &&
	    (!words_take(words, &word) || !word_device(&word, &constructor->major, &constructor->minor)))
		return "the log device is not MAJOR:MINOR";
	if (!words_take(words, &word) ||
	    !word_number(&word, REGION_SIZE_MAX, &constructor->region_size_sectors))
		return "the region size is not a number of sectors";
	if (constructor->region_size_sectors < REGION_SIZE_MIN ||
	    (constructor->region_size_sectors & (constructor->region_size_sectors - 1)) != 0)
		return "the region size is not a power of two from 2 on";
	constructor->region_count =
	    constructor_region_count(constructor->length_sectors, constructor->region_size_sectors);
	if (constructor->region_count > LOG_REGIONS_MAX)
		return "too many regions";
	return parse_options(words, constructor);
}

int constructor_parse(const void *data, size_t data_bytes, struct constructor *ret_constructor,
		      bool *ret_terminated, const char **ret_why)
{
	const char *text = data;
	const char *nul = data_bytes > 0 ? memchr(text, 0, data_bytes) : NULL;
	size_t length = nul ? (size_t)(nul - text) : data_bytes;
	struct constructor constructor = {.sync_mode = SYNC_DEFAULT};

	*ret_why = "";
	if (nul && length != data_bytes - 1) {
		*ret_why = "a NUL inside the constructor string";
		return -EINVAL;
	}
	if (length >= CONSTRUCTOR_BYTES) {
		*ret_why = "the constructor string is too long";
		return -EINVAL;
	}
	struct words words = {.at = text, .end = length > 0 ? text + length : text};
	const char *why = parse_words(&words, &constructor);
	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	*ret_constructor = constructor;
	*ret_terminated = nul != NULL;
	return 0;
}

/* snprintf() that fails instead of cutting. */
__attribute__((format(printf, 3, 4))) static int print_fitting(char *ret_text, size_t room,
							       const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(ret_text, room, format, arguments);
	va_end(arguments);
	return length < 0 || (size_t)length >= room ? -ENOSPC : length;
}

static const char *sync_word(const struct constructor *constructor)
{
	switch (constructor->sync_mode) {
	case SYNC_FORCE: return "sync";
	case SYNC_NOSYNC: return "nosync";
	default: return "";
	}
}

int constructor_device(const struct constructor *constructor, char *ret_text, size_t room)
{
	if (!constructor->disk)
		return print_fitting(ret_text, room, "%s", "");
	return print_fitting(ret_text, room, "%" PRIu32 ":%" PRIu32, constructor->major, constructor->minor);
}

int constructor_format(const struct constructor *constructor, char *ret_text, size_t room)
{
	char device[32];
	const char *sync = sync_word(constructor);
	int result = constructor_device(constructor, device, sizeof(device));

	if (result < 0)
		return result;
	return print_fitting(ret_text, room, "%" PRIu64 " clustered-%s%s%s %" PRIu64 "%s%s%s",
			     constructor->length_sectors, constructor->disk ? "disk" : "core",
			     result > 0 ? " " : "", device, constructor->region_size_sectors,
			     *sync ? " " : "", sync, constructor->block_on_error ? " block_on_error" : "");
}

int constructor_status_info(const struct constructor *constructor, char health, char *ret_text, size_t room)
{
	if (!constructor->disk)
		return print_fitting(ret_text, room, "1 clustered-core");
	return print_fitting(ret_text, room, "3 clustered-disk %" PRIu32 ":%" PRIu32 " %c",
			     constructor->major, constructor->minor, health);
}

int constructor_status_table(const struct constructor *constructor, char *ret_text, size_t room)
{
	char device[32];
	const char *sync = sync_word(constructor);
	int result = constructor_device(constructor, device, sizeof(device));

	if (result < 0)
		return result;
	return print_fitting(ret_text, room, "clustered-%s %s%s%" PRIu64 " %s%s%s",
			     constructor->disk ? "disk" : "core", device, result > 0 ? " " : "",
			     constructor->region_size_sectors, sync, *sync ? " " : "",
			     constructor->block_on_error ? "block_on_error " : "");
}

uint64_t constructor_region_count(uint64_t length_sectors, uint64_t region_size_sectors)
{
	if (length_sectors == 0 || region_size_sectors == 0)
		return 0;
	return (length_sectors - 1) / region_size_sectors + 1;
}
