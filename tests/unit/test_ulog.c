/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>

#include <linux/connector.h>
#include <linux/dm-log-userspace.h>
#include <linux/netlink.h>

#include "protocol/ulog.h"

#define AT_CONNECTOR 16
#define AT_REQUEST   36

/* A datagram under test: made by the encoder, then damaged in one place. */
struct message {
	struct bytes_writer writer;
	uint8_t data[ULOG_DATA_MAX + 64];
};

static void message_init(struct message *message, enum ulog_type type, uint32_t data_bytes)
{
	struct ulog_request request = {
	    .seq = 77,
	    .type = type,
	    .version = 3,
	    .luid = UINT64_C(0xffff888012345678),
	    .uuid = "LVM-abc",
	    .data = message->data,
	    .data_bytes = data_bytes,
	};

	memset(message->data, 0, sizeof(message->data));
	message->data[0] = '8';
	bytes_writer_init(&message->writer);
	ulog_encode_request(&message->writer, &request);
	assert_false(message->writer.failed);
}

static void put_u32(struct message *message, size_t offset, uint32_t value)
{
	memcpy(message->writer.bytes + offset, &value, sizeof(value));
}

static void put_u16(struct message *message, size_t offset, uint16_t value)
{
	memcpy(message->writer.bytes + offset, &value, sizeof(value));
}

/* Decode, compare, free. The decoder gets an exact copy, so that a sanitizer sees each byte too many. */
static void expect(struct message *message, size_t size, enum ulog_verdict verdict, uint32_t seq)
{
	struct ulog_request request;
	const char *why = NULL;
	uint8_t *copy = test_malloc(size > 0 ? size : 1);

	memcpy(copy, message->writer.bytes, size < message->writer.size ? size : message->writer.size);
	assert_int_equal(ulog_decode(copy, size, &request, &why), verdict);
	assert_non_null(why);
	assert_int_equal(*why == 0, verdict == ULOG_OK);
	assert_int_equal(request.seq, seq);
	test_free(copy);
	bytes_writer_fini(&message->writer);
}

static uint32_t data_bytes_of(enum ulog_type type)
{
	switch (type) {
	case ULOG_CTR: return 37;
	case ULOG_IS_CLEAN:
	case ULOG_IN_SYNC:
	case ULOG_IS_REMOTE_RECOVERING: return 8;
	case ULOG_MARK_REGION:
	case ULOG_CLEAR_REGION: return 32 * 8;
	case ULOG_SET_REGION_SYNC: return 16;
	default: return 0;
	}
}

static void test_all_types(void **state)
{
	(void)state;
	for (enum ulog_type type = ULOG_CTR; type < ULOG_TYPE_END; type++) {
		struct message message;
		struct ulog_request request;
		const char *why;
		message_init(&message, type, data_bytes_of(type));
		assert_int_equal(message.writer.size % 4, 0);
		assert_int_equal(ulog_decode(message.writer.bytes, message.writer.size, &request, &why),
				 ULOG_OK);
		assert_string_equal(why, "");
		assert_int_equal(request.seq, 77);
		assert_int_equal(request.type, type);
		assert_int_equal(request.version, 3);
		assert_true(request.luid == UINT64_C(0xffff888012345678));
		assert_string_equal(request.uuid, "LVM-abc");
		assert_int_equal(request.data_bytes, data_bytes_of(type));
		assert_memory_equal(request.data, message.data, request.data_bytes);
		assert_string_not_equal(ulog_type_name(type), "?");
		bytes_writer_fini(&message.writer);
	}
	assert_string_equal(ulog_type_name((enum ulog_type)0), "?");
	assert_string_equal(ulog_type_name(ULOG_TYPE_END), "?");
	assert_string_equal(ulog_type_name(ULOG_SET_REGION_SYNC), "SET_REGION_SYNC");
}

/* Against the kernel's own structures, field by field. */
static void test_layout(void **state)
{
	(void)state;
	struct message message;
	struct nlmsghdr header;
	struct cn_msg connector;
	struct dm_ulog_request raw;

	message_init(&message, ULOG_IN_SYNC, 8);
	assert_int_equal(message.writer.size, 16 + 20 + 160 + 8);
	memcpy(&header, message.writer.bytes, sizeof(header));
	memcpy(&connector, message.writer.bytes + AT_CONNECTOR, sizeof(connector));
	memcpy(&raw, message.writer.bytes + AT_REQUEST, sizeof(raw));
	assert_int_equal(header.nlmsg_len, message.writer.size);
	assert_int_equal(header.nlmsg_type, NLMSG_DONE);
	assert_int_equal(header.nlmsg_pid, 0);
	assert_int_equal(connector.id.idx, CN_IDX_DM);
	assert_int_equal(connector.id.val, CN_VAL_DM_USERSPACE_LOG);
	assert_int_equal(connector.seq, 77);
	assert_int_equal(connector.ack, 0);
	assert_int_equal(connector.len, 160 + 8);
	assert_int_equal(raw.seq, 77);
	assert_int_equal(raw.request_type, DM_ULOG_IN_SYNC);
	assert_int_equal(raw.version, 3);
	assert_int_equal(raw.data_size, 8);
	assert_string_equal(raw.uuid, "LVM-abc");
	bytes_writer_fini(&message.writer);
}

static void test_regions(void **state)
{
	(void)state;
	uint64_t regions[3] = {1, UINT64_C(0x100000000), 7};
	uint64_t sync[2] = {42, 1};
	struct ulog_request request = {
	    .type = ULOG_MARK_REGION,
	    .data = (const uint8_t *)regions,
	    .data_bytes = sizeof(regions),
	};

	assert_int_equal(ulog_region_count(&request), 3);
	assert_true(ulog_region(&request, 1) == UINT64_C(0x100000000));
	request.type = ULOG_CLEAR_REGION;
	assert_int_equal(ulog_region_count(&request), 3);
	request.type = ULOG_FLUSH;
	assert_int_equal(ulog_region_count(&request), 3);
	request.data_bytes = 0;
	assert_int_equal(ulog_region_count(&request), 0);
	request = (struct ulog_request){
	    .type = ULOG_SET_REGION_SYNC, .data = (const uint8_t *)sync, .data_bytes = sizeof(sync)};
	assert_int_equal(ulog_region_count(&request), 1);
	assert_true(ulog_region(&request, 0) == 42);
	assert_true(ulog_in_sync(&request));
	sync[1] = 0;
	assert_false(ulog_in_sync(&request));
	request.type = ULOG_CTR;
	assert_int_equal(ulog_region_count(&request), 0);
}

/* Nobody to answer, or not for us. */
static void test_ignored(void **state)
{
	(void)state;
	struct message message;

	message_init(&message, ULOG_FLUSH, 0);
	expect(&message, 0, ULOG_MALFORMED, 0);
	message_init(&message, ULOG_FLUSH, 0);
	expect(&message, 15, ULOG_MALFORMED, 0);
	message_init(&message, ULOG_FLUSH, 0);
	expect(&message, 35, ULOG_MALFORMED, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u16(&message, 4, NLMSG_ERROR);
	expect(&message, message.writer.size, ULOG_IGNORE, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, AT_CONNECTOR, CN_IDX_PROC);
	expect(&message, message.writer.size, ULOG_IGNORE, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, AT_CONNECTOR + 4, 2);
	expect(&message, message.writer.size, ULOG_IGNORE, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, AT_CONNECTOR + 12, 1);
	expect(&message, message.writer.size, ULOG_IGNORE, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u16(&message, AT_CONNECTOR + 16, 0);
	expect(&message, message.writer.size, ULOG_IGNORE, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, 0, 35); /* nlmsg_len too small for a cn_msg */
	expect(&message, message.writer.size, ULOG_MALFORMED, 0);
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, AT_REQUEST + 148, 78); /* an answer to either seq could be wrong */
	expect(&message, message.writer.size, ULOG_MALFORMED, 0);
}

/* A datagram cut anywhere is never taken for a whole one. */
static void test_cut(void **state)
{
	(void)state;
	for (size_t size = 0; size < ULOG_HEADER_BYTES + 16; size++) {
		struct message message;
		message_init(&message, ULOG_SET_REGION_SYNC, 16);
		expect(&message, size, ULOG_MALFORMED, 0);
	}
}

static void test_lengths_refused(void **state)
{
	(void)state;
	struct message message;

	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	put_u32(&message, 0, ULOG_HEADER_BYTES); /* netlink says less than the connector */
	expect(&message, ULOG_HEADER_BYTES, ULOG_REFUSE, 77);
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	put_u16(&message, AT_CONNECTOR + 16, 160 + 15); /* connector one short of data_size */
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	put_u16(&message, AT_CONNECTOR + 16, 160 + 17); /* connector longer than the message */
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	put_u16(&message, AT_CONNECTOR + 16, 159); /* no room for a request */
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, 0, AT_REQUEST + 100); /* both lengths agree, too short */
	put_u16(&message, AT_CONNECTOR + 16, 100);
	expect(&message, AT_REQUEST + 100, ULOG_REFUSE, 77);
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	put_u32(&message, AT_REQUEST + 156, 17); /* data_size beyond the message */
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	put_u32(&message, AT_REQUEST + 156, UINT32_MAX - 100); /* a sum that overflows */
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	expect(&message, message.writer.size + 4, ULOG_REFUSE, 77); /* bytes behind the message */
	message_init(&message, ULOG_SET_REGION_SYNC, 16);
	expect(&message, message.writer.size + 3, ULOG_OK, 77); /* netlink's padding */
}

static void test_fields_refused(void **state)
{
	(void)state;
	struct message message;

	for (uint32_t version = 0; version < 6; version++) {
		message_init(&message, ULOG_FLUSH, 0);
		put_u32(&message, AT_REQUEST + 140, version);
		expect(&message, message.writer.size, version == 2 || version == 3 ? ULOG_OK : ULOG_REFUSE,
		       77);
	}
	static const uint32_t bad_types[] = {0, 18, 255};
	for (size_t i = 0; i < 3; i++) {
		message_init(&message, ULOG_FLUSH, 0);
		put_u32(&message, AT_REQUEST + 152, bad_types[i]);
		expect(&message, message.writer.size, ULOG_REFUSE, 77);
	}
	message_init(&message, ULOG_FLUSH, 0);
	put_u32(&message, AT_REQUEST + 152,
		0x12345600 | DM_ULOG_FLUSH); /* reserved bits: DM_ULOG_REQUEST_TYPE() */
	expect(&message, message.writer.size, ULOG_OK, 77);
	message_init(&message, ULOG_FLUSH, 0);
	memset(message.writer.bytes + AT_REQUEST + 8, 'x', LOG_UUID_BYTES); /* unterminated */
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
	message_init(&message, ULOG_FLUSH, 0);
	memset(message.writer.bytes + AT_REQUEST + 8, 'x', LOG_UUID_BYTES - 1); /* the longest there is */
	expect(&message, message.writer.size, ULOG_OK, 77);
	message_init(&message, ULOG_FLUSH, 0);
	message.writer.bytes[AT_REQUEST + 8] = 0;
	expect(&message, message.writer.size, ULOG_REFUSE, 77);
}

static void test_data_sizes(void **state)
{
	(void)state;
	static const struct {
		enum ulog_type type;
		uint32_t data_bytes;
		enum ulog_verdict verdict;
	} cases[] = {
	    {ULOG_CTR, 0, ULOG_REFUSE},
	    {ULOG_CTR, 1, ULOG_OK},
	    {ULOG_CTR, ULOG_DATA_MAX, ULOG_OK},
	    {ULOG_CTR, ULOG_DATA_MAX + 1, ULOG_REFUSE},
	    {ULOG_DTR, 0, ULOG_OK},
	    {ULOG_DTR, 30, ULOG_OK},
	    {ULOG_RESUME, 8, ULOG_REFUSE},
	    {ULOG_IN_SYNC, 0, ULOG_REFUSE},
	    {ULOG_IN_SYNC, 4, ULOG_REFUSE},
	    {ULOG_IN_SYNC, 16, ULOG_REFUSE},
	    {ULOG_FLUSH, 8, ULOG_OK},
	    {ULOG_FLUSH, 12, ULOG_REFUSE},
	    {ULOG_MARK_REGION, 0, ULOG_REFUSE},
	    {ULOG_MARK_REGION, 15, ULOG_REFUSE},
	    {ULOG_CLEAR_REGION, 512, ULOG_OK},
	    {ULOG_SET_REGION_SYNC, 8, ULOG_REFUSE},
	    {ULOG_SET_REGION_SYNC, 24, ULOG_REFUSE},
	    {ULOG_IS_REMOTE_RECOVERING, 9, ULOG_REFUSE},
	    {ULOG_STATUS_INFO, 1, ULOG_REFUSE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct message message;
		message_init(&message, cases[i].type, cases[i].data_bytes);
		expect(&message, message.writer.size, cases[i].verdict, 77);
	}
}

/* Hazard A1. */
static void test_reply_room(void **state)
{
	(void)state;
	for (enum ulog_type type = (enum ulog_type)0; type <= ULOG_TYPE_END; type++) {
		uint32_t expected = 0;
		if (type == ULOG_IN_SYNC || type == ULOG_IS_CLEAN || type == ULOG_GET_SYNC_COUNT)
			expected = 8;
		else if (type == ULOG_GET_RESYNC_WORK || type == ULOG_IS_REMOTE_RECOVERING)
			expected = 16;
		else if (type == ULOG_STATUS_INFO)
			expected = ULOG_STATUS_BYTES;
		assert_int_equal(ulog_reply_room(type), expected);
	}
	/* 4095:1048575 are the largest numbers of a device; status strings are sent with their NUL. */
	assert_true(sizeof("3 clustered-disk 4095:1048575 A") <= ULOG_STATUS_BYTES);
}

static void test_replies(void **state)
{
	(void)state;
	struct bytes_writer writer;
	struct ulog_reply reply;
	uint8_t data[16];

	bytes_writer_init(&writer);
	ulog_data_two_u64(data, 1, UINT64_C(0x123456789));
	ulog_encode_reply(&writer, 9, 0x55, 0, data, sizeof(data));
	assert_int_equal(writer.size, ULOG_HEADER_BYTES + 16);
	assert_int_equal(ulog_decode_reply(writer.bytes, writer.size, &reply), 0);
	assert_int_equal(reply.seq, 9);
	assert_int_equal(reply.error, 0);
	assert_false(reply.bare);
	assert_int_equal(reply.data_bytes, 16);
	assert_memory_equal(reply.data, data, 16);
	/* A daemon that hears an answer does not take it for a request that wants one. */
	struct ulog_request request;
	const char *why;
	assert_int_equal(ulog_decode(writer.bytes, writer.size, &request, &why), ULOG_REFUSE);

	bytes_writer_clear(&writer);
	ulog_encode_reply(&writer, 10, 0x55, -ESRCH, NULL, 8); /* room of zeroes */
	assert_int_equal(ulog_decode_reply(writer.bytes, writer.size, &reply), 0);
	assert_int_equal(reply.error, -ESRCH);
	assert_int_equal(reply.data_bytes, 8);
	memset(data, 0, sizeof(data));
	assert_memory_equal(reply.data, data, 8);

	bytes_writer_clear(&writer);
	ulog_encode_reply(&writer, 10, 0x55, 0, "253:4", 6); /* padded, and the padding is not counted */
	assert_int_equal(writer.size, ULOG_HEADER_BYTES + 8);
	assert_int_equal(ulog_decode_reply(writer.bytes, writer.size, &reply), 0);
	assert_int_equal(reply.data_bytes, 6);

	bytes_writer_clear(&writer);
	ulog_encode_bare_reply(&writer, 11, -EAGAIN);
	assert_int_equal(writer.size, 36);
	assert_int_equal(ulog_decode_reply(writer.bytes, writer.size, &reply), 0);
	assert_int_equal(reply.seq, 11);
	assert_int_equal(reply.error, -EAGAIN);
	assert_true(reply.bare);
	assert_int_equal(ulog_decode(writer.bytes, writer.size, &request, &why), ULOG_IGNORE);
	bytes_writer_fini(&writer);
}

static void test_replies_dropped(void **state)
{
	(void)state;
	struct message message = {.data = {0}};
	struct ulog_reply reply;

	bytes_writer_init(&message.writer);
	ulog_encode_reply(&message.writer, 9, 0x55, 0, "12345678", 8);
	for (size_t size = 0; size < message.writer.size; size++) {
		uint8_t *copy = test_malloc(size > 0 ? size : 1);
		memcpy(copy, message.writer.bytes, size);
		assert_int_equal(ulog_decode_reply(copy, size, &reply), -EBADMSG);
		test_free(copy);
	}
	put_u32(&message, AT_REQUEST + 156, 9); /* data_size */
	assert_int_equal(ulog_decode_reply(message.writer.bytes, message.writer.size, &reply), -EBADMSG);
	put_u32(&message, AT_REQUEST + 156, 8);
	put_u16(&message, AT_CONNECTOR + 16, 159);
	assert_int_equal(ulog_decode_reply(message.writer.bytes, message.writer.size, &reply), -EBADMSG);
	put_u16(&message, AT_CONNECTOR + 16, 168);
	put_u32(&message, AT_CONNECTOR, 1);
	assert_int_equal(ulog_decode_reply(message.writer.bytes, message.writer.size, &reply), -EBADMSG);
	bytes_writer_fini(&message.writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_types),
	    cmocka_unit_test(test_layout),
	    cmocka_unit_test(test_regions),
	    cmocka_unit_test(test_ignored),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_lengths_refused),
	    cmocka_unit_test(test_fields_refused),
	    cmocka_unit_test(test_data_sizes),
	    cmocka_unit_test(test_reply_room),
	    cmocka_unit_test(test_replies),
	    cmocka_unit_test(test_replies_dropped),
	};

	return cmocka_run_group_tests_name("ulog", tests, NULL, NULL);
}
