/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster-tests/netns/malformed.h"

#include <errno.h>
#include <linux/connector.h>
#include <linux/dm-log-userspace.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/netns/ulog_wire.h"

#define HEADER_BYTES (sizeof(struct nlmsghdr) + sizeof(struct cn_msg) + sizeof(struct dm_ulog_request))
#define DATA_BYTES   600

struct message {
	struct nlmsghdr netlink;
	struct cn_msg *connector; /* both point into `bytes` */
	struct dm_ulog_request *request;
	_Alignas(8) uint8_t bytes[HEADER_BYTES + DATA_BYTES];
	uint8_t *data;
	size_t size; /* of the datagram; the lengths inside may say otherwise */
};

enum fault {
	FAULT_TRUNCATED,     /* the datagram ends early */
	FAULT_CONNECTOR_LEN, /* cn_msg.len says more than there is */
	FAULT_DATA_SIZE,     /* data_size says more than there is, up to values that overflow a sum */
	FAULT_TYPE, /* a request type that does not exist, in the bits that DM_ULOG_REQUEST_TYPE() takes */
	FAULT_VERSION,
	FAULT_UUID_ENDLESS,
	FAULT_UUID_EMPTY,
	FAULT_DATA_SHORT, /* fewer bytes than the type prescribes */
	FAULT_REGION,	  /* beyond the end of the log */
	FAULT_CONSTRUCTOR,
	FAULT_NOISE, /* random bytes all over */
	FAULTS
};

static unsigned draw(unsigned short random[3], unsigned below)
{
	return (unsigned)nrand48(random) % below;
}

static void message_init(struct message *message, const char *uuid, luid_t luid, uint32_t seq)
{
	memset(message, 0, sizeof(*message));
	message->connector = (struct cn_msg *)(message->bytes + sizeof(struct nlmsghdr));
	message->request = (struct dm_ulog_request *)(message->connector + 1);
	message->data = (uint8_t *)(message->request + 1);
	message->connector->id.idx = CN_IDX_DM;
	message->connector->id.val = CN_VAL_DM_USERSPACE_LOG;
	message->connector->seq = seq;
	message->request->seq = seq;
	message->request->luid = luid;
	message->request->version = 3;
	strncpy(message->request->uuid, uuid, sizeof(message->request->uuid) - 1);
}

static void message_data_set(struct message *message, uint32_t type, const void *data, size_t size)
{
	message->request->request_type = type;
	if (size)
		memcpy(message->data, data, size);
	message->request->data_size = (uint32_t)size;
	message->connector->len = (uint16_t)(sizeof(struct dm_ulog_request) + size);
	message->size = HEADER_BYTES + size;
}

static void region_fault(struct message *message, uint64_t region_count, unsigned short random[3])
{
	static const uint32_t types[] = {DM_ULOG_IN_SYNC, DM_ULOG_IS_CLEAN, DM_ULOG_IS_REMOTE_RECOVERING,
					 DM_ULOG_SET_REGION_SYNC, DM_ULOG_FLUSH};
	uint64_t beyond[] = {region_count, region_count + 1000, UINT64_C(1) << 32, UINT64_MAX, INT64_MIN};
	uint64_t data[2] = {beyond[draw(random, 5)], 1};
	uint32_t type = types[draw(random, 5)];

	message_data_set(message, type, data, type == DM_ULOG_SET_REGION_SYNC ? 16 : 8);
}

static void constructor_fault(struct message *message, unsigned short random[3])
{
	static const char *const texts[] = {"",
					    "1024",
					    "0 clustered-core 8",
					    "1024 clustered-core 7",
					    "1024 clustered-core 0",
					    "18446744073709551616 clustered-core 8",
					    "1024 clustered-disk 8",
					    "1024 clustered-disk 99999:1:2 8",
					    "1024 clustered-other 8",
					    "1024 clustered-core 8 sync nosync what",
					    "-1 clustered-core 8"};
	const char *text = texts[draw(random, sizeof(texts) / sizeof(texts[0]))];

	message_data_set(message, DM_ULOG_CTR, text, strlen(text));
	/* A log of its own: a table that cannot be made must not disturb the one that runs. */
	message->request->luid += 8;
	message->request->uuid[0] = '!';
}

static void fault_apply(struct message *message, enum fault fault, uint64_t region_count,
			unsigned short random[3])
{
	uint64_t region[2] = {0, 0};

	message_data_set(message, DM_ULOG_SET_REGION_SYNC, region, sizeof(region));
	switch (fault) {
	case FAULT_TRUNCATED: message->size = 1 + draw(random, (unsigned)message->size - 1); break;
	case FAULT_CONNECTOR_LEN: message->connector->len = (uint16_t)(0x8000u + draw(random, 0x7fff)); break;
	case FAULT_DATA_SIZE:
		message->request->data_size = draw(random, 2) ? UINT32_MAX - draw(random, 400) : 17;
		break;
	case FAULT_TYPE:
		message->request->request_type = draw(random, 2) ? 0 : 18 + draw(random, 256 - 18);
		break;
	case FAULT_VERSION: message->request->version = draw(random, 2) ? 0 : 4 + draw(random, 10000); break;
	case FAULT_UUID_ENDLESS: memset(message->request->uuid, 'u', sizeof(message->request->uuid)); break;
	case FAULT_UUID_EMPTY: message->request->uuid[0] = 0; break;
	case FAULT_DATA_SHORT:
		message_data_set(message, DM_ULOG_SET_REGION_SYNC, region, draw(random, 16));
		break;
	case FAULT_REGION: region_fault(message, region_count, random); break;
	case FAULT_CONSTRUCTOR: constructor_fault(message, random); break;
	default:
		message->size = 1 + draw(random, sizeof(message->bytes) - 1);
		for (size_t i = 0; i < message->size; i++)
			message->bytes[i] = (uint8_t)draw(random, 256);
		break;
	}
}

int malformed_send(int fd, const char *uuid, luid_t luid, uint64_t region_count, uint64_t seed,
		   unsigned count)
{
	unsigned short random[3] = {(unsigned short)seed, (unsigned short)(seed >> 16), 0x330e};

	for (unsigned i = 0; i < count; i++) {
		struct message message;
		int ret;

		message_init(&message, uuid, luid, MALFORMED_SEQ_FIRST + i);
		fault_apply(&message, (enum fault)(i % FAULTS), region_count, random);
		/* netlink itself refuses an empty datagram; the header is not looked at by it. */
		message.netlink.nlmsg_len = (uint32_t)message.size;
		message.netlink.nlmsg_type = NLMSG_DONE;
		if (i % FAULTS != FAULT_NOISE && message.size >= sizeof(message.netlink))
			memcpy(message.bytes, &message.netlink, sizeof(message.netlink));
		ret = ulog_wire_send_bytes(fd, message.bytes, message.size);
		if (ret && ret != -EINVAL)
			return ret;
	}
	return 0;
}
