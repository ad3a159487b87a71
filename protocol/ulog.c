/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/ulog.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <linux/connector.h>
#include <linux/dm-ioctl.h> /* DM_UUID_LEN */
#include <linux/dm-log-userspace.h>
#include <linux/netlink.h>

static_assert(sizeof(struct nlmsghdr) == 16 && NLMSG_HDRLEN == 16, "nlmsghdr");
static_assert(sizeof(struct cn_msg) == 20, "cn_msg");
static_assert(sizeof(struct dm_ulog_request) == 160, "dm_ulog_request");
static_assert(ULOG_HEADER_BYTES == 16 + 20 + 160, "header");
static_assert(LOG_UUID_BYTES == DM_UUID_LEN, "uuid");
static_assert(ULOG_IS_REMOTE_RECOVERING == DM_ULOG_IS_REMOTE_RECOVERING, "types");

/* What the kernel sends with a type, and what it has room for in the answer. */
struct type_shape {
	const char *name;
	uint32_t data_min, data_max, data_unit;
	uint32_t reply_room; /* hazard A1 */
};

static const struct type_shape type_shapes[ULOG_TYPE_END] = {
    [ULOG_CTR] = {"CTR", 1, ULOG_DATA_MAX, 1, 0},
    /* The kernel header promises the constructor string here; the kernel sends nothing. */
    [ULOG_DTR] = {"DTR", 0, ULOG_DATA_MAX, 1, 0},
    [ULOG_PRESUSPEND] = {"PRESUSPEND", 0, 0, 1, 0},
    [ULOG_POSTSUSPEND] = {"POSTSUSPEND", 0, 0, 1, 0},
    [ULOG_RESUME] = {"RESUME", 0, 0, 1, 0},
    [ULOG_GET_REGION_SIZE] = {"GET_REGION_SIZE", 0, 0, 1, 0},
    [ULOG_IS_CLEAN] = {"IS_CLEAN", 8, 8, 8, 8},
    [ULOG_IN_SYNC] = {"IN_SYNC", 8, 8, 8, 8},
    [ULOG_FLUSH] = {"FLUSH", 0, ULOG_DATA_MAX, 8, 0},
    [ULOG_MARK_REGION] = {"MARK_REGION", 8, ULOG_DATA_MAX, 8, 0},
    [ULOG_CLEAR_REGION] = {"CLEAR_REGION", 8, ULOG_DATA_MAX, 8, 0},
    [ULOG_GET_RESYNC_WORK] = {"GET_RESYNC_WORK", 0, 0, 1, 16},
    [ULOG_SET_REGION_SYNC] = {"SET_REGION_SYNC", 16, 16, 16, 0},
    [ULOG_GET_SYNC_COUNT] = {"GET_SYNC_COUNT", 0, 0, 1, 8},
    [ULOG_STATUS_INFO] = {"STATUS_INFO", 0, 0, 1, ULOG_STATUS_BYTES},
    [ULOG_STATUS_TABLE] = {"STATUS_TABLE", 0, 0, 1, 0},
    [ULOG_IS_REMOTE_RECOVERING] = {"IS_REMOTE_RECOVERING", 8, 8, 8, 16},
};

static bool type_is_known(uint32_t type)
{
	return type >= ULOG_CTR && type < ULOG_TYPE_END;
}

/* A length that netlink or an old connector has rounded up: at most three bytes more than it says. */
static bool fits_padded(size_t room, size_t length)
{
	return room >= length && room - length < NLMSG_ALIGNTO;
}

/* nlmsghdr and cn_msg: is it ours, and where does the dm_ulog_request begin? */
static enum ulog_verdict decode_connector(const uint8_t *datagram, size_t size_bytes,
					  struct cn_msg *ret_connector, size_t *ret_room,
					  const char **ret_why)
{
	struct nlmsghdr header;

	if (size_bytes < sizeof(header)) {
		*ret_why = "shorter than a netlink header";
		return ULOG_MALFORMED;
	}
	memcpy(&header, datagram, sizeof(header));
	if (header.nlmsg_type != NLMSG_DONE) { /* what the connector uses for all messages */
		*ret_why = "not a connector message";
		return ULOG_IGNORE;
	}
	if (header.nlmsg_len > size_bytes || header.nlmsg_len < sizeof(header) + sizeof(*ret_connector)) {
		*ret_why = "netlink length out of bounds";
		return ULOG_MALFORMED;
	}
	memcpy(ret_connector, datagram + sizeof(header), sizeof(*ret_connector));
	if (ret_connector->id.idx != CN_IDX_DM || ret_connector->id.val != CN_VAL_DM_USERSPACE_LOG) {
		*ret_why = "of another connector user";
		return ULOG_IGNORE;
	}
	if (ret_connector->len == 0 || ret_connector->ack != 0) {
		*ret_why = "an acknowledgement, not a request";
		return ULOG_IGNORE;
	}
	if (!fits_padded(size_bytes, header.nlmsg_len)) {
		*ret_why = "bytes behind the netlink message";
		return ULOG_REFUSE;
	}
	*ret_room = header.nlmsg_len - sizeof(header) - sizeof(*ret_connector);
	if (!fits_padded(*ret_room, ret_connector->len)) {
		*ret_why = "connector length does not match the netlink length";
		return ULOG_REFUSE;
	}
	return ULOG_OK;
}

/* Everything in the dm_ulog_request that does not need the type. */
static const char *check_request(const struct dm_ulog_request *raw, uint32_t connector_bytes)
{
	if (raw->data_size != connector_bytes - sizeof(*raw))
		return "data_size does not match the message";
	if (raw->version < ULOG_VERSION_MIN || raw->version > ULOG_VERSION_MAX)
		return "unknown protocol version";
	if (!memchr(raw->uuid, 0, sizeof(raw->uuid)))
		return "UUID without end";
	if (raw->uuid[0] == 0)
		return "empty UUID";
	if (!type_is_known(DM_ULOG_REQUEST_TYPE(raw->request_type)))
		return "unknown request type";
	return NULL;
}

static const char *check_data(const struct type_shape *shape, uint32_t data_bytes)
{
	if (data_bytes < shape->data_min)
		return "less data than the request type needs";
	if (data_bytes > shape->data_max)
		return "more data than the request type has";
	if (data_bytes % shape->data_unit != 0)
		return "half a region number";
	return NULL;
}

enum ulog_verdict ulog_decode(const void *datagram, size_t size_bytes, struct ulog_request *ret_request,
			      const char **ret_why)
{
	const uint8_t *bytes = datagram;
	struct cn_msg connector;
	struct dm_ulog_request raw;
	size_t room;

	*ret_request = (struct ulog_request){.seq = 0};
	*ret_why = "";
	enum ulog_verdict verdict = decode_connector(bytes, size_bytes, &connector, &room, ret_why);
	if (verdict == ULOG_REFUSE)
		ret_request->seq = connector.seq; /* dm_ulog_sendto_server() gives both headers the same */
	if (verdict != ULOG_OK)
		return verdict;

	ret_request->seq = connector.seq;
	if (connector.len < sizeof(raw)) {
		*ret_why = "shorter than a dm_ulog_request";
		return ULOG_REFUSE;
	}
	memcpy(&raw, bytes + sizeof(struct nlmsghdr) + sizeof(connector), sizeof(raw));
	if (raw.seq != connector.seq) {
		/* An answer to either number could hit a request that somebody else waits for. */
		ret_request->seq = 0;
		*ret_why = "two sequence numbers";
		return ULOG_MALFORMED;
	}
	ret_request->luid = raw.luid;
	*ret_why = check_request(&raw, connector.len);
	if (*ret_why)
		return ULOG_REFUSE;
	ret_request->type = (enum ulog_type)DM_ULOG_REQUEST_TYPE(raw.request_type);
	*ret_why = check_data(&type_shapes[ret_request->type], raw.data_size);
	if (*ret_why)
		return ULOG_REFUSE;
	ret_request->version = raw.version;
	memcpy(ret_request->uuid, raw.uuid, strlen(raw.uuid));
	ret_request->data = bytes + ULOG_HEADER_BYTES;
	ret_request->data_bytes = raw.data_size;
	*ret_why = "";
	return ULOG_OK;
}

static uint64_t host_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

size_t ulog_region_count(const struct ulog_request *request)
{
	switch (request->type) {
	case ULOG_FLUSH:
	case ULOG_MARK_REGION:
	case ULOG_CLEAR_REGION: return request->data_bytes / sizeof(uint64_t);
	case ULOG_IS_CLEAN:
	case ULOG_IN_SYNC:
	case ULOG_SET_REGION_SYNC:
	case ULOG_IS_REMOTE_RECOVERING: return 1;
	default: return 0;
	}
}

uint64_t ulog_region(const struct ulog_request *request, size_t index)
{
	assert(index < ulog_region_count(request));
	return host_u64(request->data + index * sizeof(uint64_t));
}

bool ulog_in_sync(const struct ulog_request *request)
{
	assert(request->type == ULOG_SET_REGION_SYNC);
	return host_u64(request->data + sizeof(uint64_t)) != 0;
}

uint32_t ulog_reply_room(enum ulog_type type)
{
	return type_is_known((uint32_t)type) ? type_shapes[type].reply_room : 0;
}

const char *ulog_type_name(enum ulog_type type)
{
	return type_is_known((uint32_t)type) ? type_shapes[type].name : "?";
}

/* nlmsghdr and cn_msg in front of `payload_bytes`. */
static void encode_connector(struct bytes_writer *writer, uint32_t seq, uint32_t ack, size_t payload_bytes)
{
	struct cn_msg connector = {
	    .id = {.idx = CN_IDX_DM, .val = CN_VAL_DM_USERSPACE_LOG},
	    .seq = seq,
	    .ack = ack,
	    .len = (uint16_t)payload_bytes,
	};
	struct nlmsghdr header = {
	    .nlmsg_len = (uint32_t)(sizeof(header) + sizeof(connector) + payload_bytes),
	    .nlmsg_type = NLMSG_DONE,
	    .nlmsg_seq = seq,
	};

	bytes_write_span(writer, &header, sizeof(header));
	bytes_write_span(writer, &connector, sizeof(connector));
}

/* The kernel pads with nlmsg_put(); cn_rx_skb() takes a datagram with or without. */
static void encode_padding(struct bytes_writer *writer, size_t payload_bytes)
{
	bytes_write_zeroes(writer, NLMSG_ALIGN(payload_bytes) - payload_bytes);
}

void ulog_encode_reply(struct bytes_writer *writer, uint32_t seq, luid_t luid, int error, const void *data,
		       uint32_t data_bytes)
{
	assert(error <= 0 && data_bytes <= ULOG_REPLY_DATA_MAX);
	struct dm_ulog_request raw = {
	    .luid = luid,
	    .version = ULOG_VERSION_MIN, /* what the answer needs; the kernel does not look */
	    .error = error,
	    .seq = seq,
	    .data_size = data_bytes,
	};

	encode_connector(writer, seq, 0, sizeof(raw) + data_bytes);
	bytes_write_span(writer, &raw, sizeof(raw));
	if (data)
		bytes_write_span(writer, data, data_bytes);
	else
		bytes_write_zeroes(writer, data_bytes);
	encode_padding(writer, data_bytes);
}

void ulog_encode_bare_reply(struct bytes_writer *writer, uint32_t seq, int error)
{
	assert(error <= 0);
	encode_connector(writer, seq, (uint32_t)-error, 0);
}

void ulog_data_u64(uint8_t ret_data[8], uint64_t value)
{
	memcpy(ret_data, &value, sizeof(value));
}

void ulog_data_two_u64(uint8_t ret_data[16], uint64_t first, uint64_t second)
{
	ulog_data_u64(ret_data, first);
	ulog_data_u64(ret_data + 8, second);
}

void ulog_encode_request(struct bytes_writer *writer, const struct ulog_request *request)
{
	struct dm_ulog_request raw = {
	    .luid = request->luid,
	    .version = request->version,
	    .seq = request->seq,
	    .request_type = (uint32_t)request->type & DM_ULOG_REQUEST_MASK,
	    .data_size = request->data_bytes,
	};

	memcpy(raw.uuid, request->uuid, sizeof(raw.uuid));
	encode_connector(writer, request->seq, 0, sizeof(raw) + request->data_bytes);
	bytes_write_span(writer, &raw, sizeof(raw));
	bytes_write_span(writer, request->data, request->data_bytes);
	encode_padding(writer, request->data_bytes);
}

/* cn_rx_skb(), cn_call_callback(): lengths and address. */
static bool connector_accepts(const struct nlmsghdr *header, const struct cn_msg *connector,
			      size_t size_bytes)
{
	if (header->nlmsg_len < sizeof(*header) + sizeof(*connector) || header->nlmsg_len > size_bytes ||
	    header->nlmsg_len - sizeof(*header) > CONNECTOR_MAX_MSG_SIZE)
		return false;
	return header->nlmsg_len >= sizeof(*header) + sizeof(*connector) + connector->len &&
	       connector->id.idx == CN_IDX_DM && connector->id.val == CN_VAL_DM_USERSPACE_LOG;
}

int ulog_decode_reply(const void *datagram, size_t size_bytes, struct ulog_reply *ret_reply)
{
	const uint8_t *bytes = datagram;
	struct nlmsghdr header;
	struct cn_msg connector;
	struct dm_ulog_request raw;

	*ret_reply = (struct ulog_reply){.seq = 0};
	if (size_bytes < sizeof(header) + sizeof(connector))
		return -EBADMSG;
	memcpy(&header, bytes, sizeof(header));
	memcpy(&connector, bytes + sizeof(header), sizeof(connector));
	if (!connector_accepts(&header, &connector, size_bytes))
		return -EBADMSG;
	if (connector.len == 0) {
		*ret_reply = (struct ulog_reply){
		    .seq = connector.seq,
		    .error = (int)-connector.ack,
		    .bare = true,
		};
		return 0;
	}
	if (connector.len < sizeof(raw))
		return -EBADMSG;
	memcpy(&raw, bytes + sizeof(header) + sizeof(connector), sizeof(raw));
	/* fill_pkg() believes data_size; here it must be true, or a stand-in would read beyond the datagram.
	 */
	if (raw.data_size > connector.len - sizeof(raw))
		return -EBADMSG;
	*ret_reply = (struct ulog_reply){
	    .seq = raw.seq,
	    .error = raw.error,
	    .data = bytes + ULOG_HEADER_BYTES,
	    .data_bytes = raw.data_size,
	};
	return 0;
}
