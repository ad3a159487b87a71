/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>

#include "protocol/frame.h"

/* One record of each type, with every field set to something. */
static void record_fill(struct record *record, enum record_type type)
{
	static const uint8_t piece[] = "compressed";

	record_init(record);
	record->type = type;
	record->log = 7;
	record->luid = UINT64_C(0xffff888000001000);
	record->batch = UINT64_C(1) << 40;
	record->node = 3;
	record->boot_id = UINT64_C(0xb007);
	record->region = 99;
	record->flag = true;
	strcpy(record->uuid, "LVM-abc");
	record->shape = (struct log_shape){
	    .disk = true,
	    .sync_mode = SHAPE_NOSYNC,
	    .length_sectors = 204800,
	    .region_size_sectors = 1024,
	    .region_count = 200,
	};
	region_set_add_range(&record->regions, 3, 9);
	region_set_add(&record->regions, 199);
	record->commit_count = 2;
	record->commits[0] = (struct commit_pair){.node = 1, .batch = 5};
	record->commits[1] = (struct commit_pair){.node = 2, .batch = 6};
	record->hello = (struct record_hello){
	    .version_min = 1,
	    .version_max = 2,
	    .boot_id = 11,
	    .incarnation = 12,
	    .next_incarnation = 13,
	    .epoch = 14,
	    .component = 1,
	    .ready = true,
	    .quorate = true,
	    .member_count = 3,
	    .members = {1, 2, 3},
	};
	record->stream = (struct record_stream){
	    .kind = STREAM_SPEAK,
	    .id = 21,
	    .total_bytes = 100,
	    .content_bytes = 1000,
	    .offset_bytes = 90,
	    .size_bytes = sizeof(piece) - 1,
	    .bytes = piece,
	};
}

static void check_hello(const struct record_hello *hello)
{
	assert_int_equal(hello->version_min, 1);
	assert_int_equal(hello->version_max, 2);
	assert_int_equal(hello->boot_id, 11);
	assert_int_equal(hello->incarnation, 12);
	assert_int_equal(hello->next_incarnation, 13);
	assert_int_equal(hello->epoch, 14);
	assert_int_equal(hello->component, 1);
	assert_true(hello->ready && hello->quorate && !hello->was_active);
	assert_int_equal(hello->member_count, 3);
	assert_int_equal(hello->members[2], 3);
}

/* What each type carries comes back; what it does not carry is zero. */
static void check_fields(const struct record *record)
{
	bool has_log = true, has_regions = false;

	switch (record->type) {
	case RECORD_HELLO:
		check_hello(&record->hello);
		has_log = false;
		break;
	case RECORD_STREAM:
		assert_int_equal(record->stream.kind, STREAM_SPEAK);
		assert_int_equal(record->stream.id, 21);
		assert_int_equal(record->stream.total_bytes, 100);
		assert_int_equal(record->stream.content_bytes, 1000);
		assert_int_equal(record->stream.offset_bytes, 90);
		assert_int_equal(record->stream.size_bytes, 10);
		assert_memory_equal(record->stream.bytes, "compressed", 10);
		has_log = false;
		break;
	case RECORD_RESUME:
		assert_string_equal(record->uuid, "LVM-abc");
		assert_true(record->shape.disk);
		assert_int_equal(record->shape.sync_mode, SHAPE_NOSYNC);
		assert_int_equal(record->shape.length_sectors, 204800);
		assert_int_equal(record->shape.region_size_sectors, 1024);
		assert_int_equal(record->shape.region_count, 200);
		assert_true(record->luid == UINT64_C(0xffff888000001000));
		has_log = false;
		break;
	case RECORD_MARK: assert_true(record->batch == UINT64_C(1) << 40); /* fall through */
	case RECORD_CLEAR:
	case RECORD_SYNCED:
	case RECORD_WANT:
	case RECORD_DOUBT:
	case RECORD_DESTROYED: has_regions = true; break;
	case RECORD_COMMIT:
		assert_int_equal(record->commit_count, 2);
		assert_int_equal(record->commits[1].node, 2);
		assert_int_equal(record->commits[1].batch, 6);
		break;
	case RECORD_FAILED:
	case RECORD_CLAIM: assert_int_equal(record->region, 99); break;
	case RECORD_RELEASE: assert_true(record->flag && record->region == 99); break;
	case RECORD_ACK: assert_int_equal(record->node, 3); break;
	case RECORD_NODE_DOWN:
	case RECORD_NODE_DEAD:
		assert_int_equal(record->node, 3);
		assert_int_equal(record->boot_id, 0xb007);
		has_log = false;
		break;
	case RECORD_READY: has_log = false; break;
	default: break;
	}
	assert_int_equal(record->log, has_log ? 7 : 0);
	assert_int_equal(region_set_count(&record->regions), has_regions ? 7 : 0);
}

static void test_round_trip(void **state)
{
	(void)state;
	struct bytes_writer writer;
	struct bytes_reader reader;
	struct record record;
	uint64_t incarnation = 0;

	bytes_writer_init(&writer);
	frame_begin(&writer, PROTOCOL_VERSION_MAX, 0x1234567890);
	for (enum record_type type = RECORD_HELLO; type < RECORD_TYPE_END; type++) {
		record_fill(&record, type);
		record_encode(&writer, &record);
		record_fini(&record);
	}
	assert_false(writer.failed);
	assert_int_equal(frame_check(writer.bytes, writer.size), 0);
	assert_int_equal(frame_open(&reader, writer.bytes, writer.size, &incarnation), 0);
	assert_true(incarnation == 0x1234567890);
	record_init(&record);
	for (enum record_type type = RECORD_HELLO; type < RECORD_TYPE_END; type++) {
		assert_int_equal(frame_next(&reader, &record), 1);
		assert_int_equal(record.type, type);
		assert_string_not_equal(record_type_name(type), "unknown");
		check_fields(&record);
	}
	assert_int_equal(frame_next(&reader, &record), 0);
	record_fini(&record);
	bytes_writer_fini(&writer);
	assert_string_equal(record_type_name((enum record_type)0), "unknown");
	assert_string_equal(record_type_name(RECORD_TYPE_END), "unknown");
}

/* Every prefix of every record, and every length that lies, is refused. */
static void test_cut_and_stretched(void **state)
{
	(void)state;
	for (enum record_type type = RECORD_HELLO; type < RECORD_TYPE_END; type++) {
		struct bytes_writer writer;
		struct record record;
		bytes_writer_init(&writer);
		frame_begin(&writer, PROTOCOL_VERSION_MAX, 1);
		size_t begin = writer.size;
		record_fill(&record, type);
		record_encode(&writer, &record);
		record_fini(&record);
		assert_int_equal(frame_check(writer.bytes, begin), 0); /* no record at all */
		for (size_t size = 0; size < writer.size; size++) {
			if (size == begin)
				continue;
			uint8_t *copy = test_malloc(size + 1);
			memcpy(copy, writer.bytes, size);
			assert_int_equal(frame_check(copy, size), -EPROTO);
			test_free(copy);
		}
		bytes_write_u8(&writer, 0); /* a byte left over: behind the record, then inside it */
		assert_int_equal(frame_check(writer.bytes, writer.size), -EPROTO);
		bytes_put_u32(writer.bytes + begin + 1, (uint32_t)(writer.size - begin - 5));
		assert_int_equal(frame_check(writer.bytes, writer.size), -EPROTO);
		bytes_put_u32(writer.bytes + begin + 1, UINT32_MAX);
		assert_int_equal(frame_check(writer.bytes, writer.size), -EPROTO);
		bytes_writer_fini(&writer);
	}
}

/* frame_check() of one record after `damage` was done to it. */
static int check_damaged(enum record_type type, void (*damage)(struct record *record))
{
	struct bytes_writer writer;
	struct record record;

	bytes_writer_init(&writer);
	frame_begin(&writer, PROTOCOL_VERSION_MAX, 1);
	record_fill(&record, type);
	damage(&record);
	record_encode(&writer, &record);
	record_fini(&record);
	int result = frame_check(writer.bytes, writer.size);
	bytes_writer_fini(&writer);
	return result;
}

static void damage_nothing(struct record *record)
{
	(void)record;
}

static void damage_stream_kind(struct record *record)
{
	record->stream.kind = STREAM_KIND_END;
}

static void damage_stream_end(struct record *record)
{
	record->stream.offset_bytes = 91;
}

static void damage_stream_offset(struct record *record)
{
	record->stream.offset_bytes = UINT32_MAX;
}

static void damage_stream_empty(struct record *record)
{
	record->stream.size_bytes = 0;
}

static void damage_shape_regions(struct record *record)
{
	record->shape.region_count = 0;
}

static void damage_shape_size(struct record *record)
{
	record->shape.region_size_sectors = 0;
}

static void damage_shape_mode(struct record *record)
{
	record->shape.sync_mode = SHAPE_SYNC_END;
}

static void test_contents_refused(void **state)
{
	(void)state;
	assert_int_equal(check_damaged(RECORD_STREAM, damage_nothing), 0);
	assert_int_equal(check_damaged(RECORD_STREAM, damage_stream_kind), -EPROTO);
	assert_int_equal(check_damaged(RECORD_STREAM, damage_stream_end), -EPROTO);
	assert_int_equal(check_damaged(RECORD_STREAM, damage_stream_offset), -EPROTO);
	assert_int_equal(check_damaged(RECORD_STREAM, damage_stream_empty), -EPROTO);
	assert_int_equal(check_damaged(RECORD_RESUME, damage_nothing), 0);
	assert_int_equal(check_damaged(RECORD_RESUME, damage_shape_regions), -EPROTO);
	assert_int_equal(check_damaged(RECORD_RESUME, damage_shape_size), -EPROTO);
	assert_int_equal(check_damaged(RECORD_RESUME, damage_shape_mode), -EPROTO);
}

static void test_header(void **state)
{
	(void)state;
	struct bytes_writer writer;
	struct bytes_reader reader;
	uint64_t incarnation = 77;

	bytes_writer_init(&writer);
	frame_begin(&writer, PROTOCOL_VERSION_MAX, 1);
	for (size_t size = 0; size < writer.size; size++)
		assert_int_equal(frame_open(&reader, writer.bytes, size, &incarnation), -EPROTO);
	bytes_put_u16(writer.bytes + 4, PROTOCOL_VERSION_MAX + 1);
	assert_int_equal(frame_open(&reader, writer.bytes, writer.size, &incarnation), -EPROTONOSUPPORT);
	bytes_put_u16(writer.bytes + 4, 0); /* a HELLO can be read in every version */
	assert_int_equal(frame_open(&reader, writer.bytes, writer.size, &incarnation), 0);
	bytes_put_u16(writer.bytes + 6, 1);
	assert_int_equal(frame_open(&reader, writer.bytes, writer.size, &incarnation), -EPROTO);
	bytes_put_u16(writer.bytes + 6, 0);
	writer.bytes[0] ^= 1;
	assert_int_equal(frame_open(&reader, writer.bytes, writer.size, &incarnation), -EPROTO);
	writer.bytes[0] ^= 1;
	bytes_write_zeroes(&writer, FRAME_MAX_BYTES);
	assert_int_equal(frame_open(&reader, writer.bytes, writer.size, &incarnation), -EPROTO);
	bytes_writer_fini(&writer);
}

static void test_record_types_refused(void **state)
{
	(void)state;
	static const uint8_t types[] = {0, RECORD_TYPE_END, 255};

	for (size_t i = 0; i < sizeof(types); i++) {
		struct bytes_writer writer;
		bytes_writer_init(&writer);
		frame_begin(&writer, PROTOCOL_VERSION_MAX, 1);
		bytes_write_u8(&writer, types[i]);
		bytes_write_u32(&writer, 0);
		assert_int_equal(frame_check(writer.bytes, writer.size), -EPROTO);
		bytes_writer_fini(&writer);
	}
}

/* Texts: not longer than the place for them, no NUL inside. */
static void test_text(void **state)
{
	(void)state;
	static const uint8_t with_nul[] = {3, 0, 'a', 0, 'b'};
	struct bytes_writer writer;
	struct bytes_reader reader;
	char text[4];

	bytes_writer_init(&writer);
	text_encode(&writer, "abc");
	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(text_decode(&reader, text, sizeof(text)), 0);
	assert_string_equal(text, "abc");
	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(text_decode(&reader, text, 3), -EPROTO);
	bytes_reader_init(&reader, writer.bytes, writer.size - 1);
	assert_int_equal(text_decode(&reader, text, sizeof(text)), -EPROTO);
	bytes_reader_init(&reader, with_nul, sizeof(with_nul));
	assert_int_equal(text_decode(&reader, text, sizeof(text)), -EPROTO);
	bytes_writer_clear(&writer);
	text_encode(&writer, "");
	bytes_reader_init(&reader, writer.bytes, writer.size);
	assert_int_equal(text_decode(&reader, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	bytes_writer_fini(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),		 cmocka_unit_test(test_cut_and_stretched),
	    cmocka_unit_test(test_contents_refused),	 cmocka_unit_test(test_header),
	    cmocka_unit_test(test_record_types_refused), cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
