/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster-tests/netns/ulog_wire.h"

#include <errno.h>
#include <linux/connector.h>
#include <linux/dm-log-userspace.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_BYTES 8192
#define HEADER_BYTES   (sizeof(struct nlmsghdr) + sizeof(struct cn_msg) + sizeof(struct dm_ulog_request))

int ulog_wire_open(uint32_t port)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_pid = port};
	int room_bytes = 4 << 20;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room_bytes, sizeof(room_bytes)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

int ulog_wire_listened(void)
{
	FILE *file = fopen("/proc/self/net/netlink", "re");
	char line[256];
	int ret = 0;

	if (!file)
		return -errno;
	while (!ret && fgets(line, sizeof(line), file)) {
		unsigned protocol, groups;

		/* sk Eth Pid Groups ...; bit n - 1 of Groups is group n. */
		if (sscanf(line, "%*s %u %*u %x", &protocol, &groups) != 2)
			continue;
		ret = protocol == NETLINK_CONNECTOR && (groups >> (CN_IDX_DM - 1) & 1u);
	}
	fclose(file);
	return ret;
}

int ulog_wire_send_bytes(int fd, const void *bytes, size_t size_bytes)
{
	struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1u << (CN_IDX_DM - 1)};
	ssize_t sent = sendto(fd, bytes, size_bytes, 0, (struct sockaddr *)&group, sizeof(group));

	/* The broadcast is done; the unicast to port 0 that follows it finds nobody in this namespace. */
	if (sent < 0 && errno != ECONNREFUSED)
		return -errno;
	return 0;
}

int ulog_wire_send(int fd, const struct ulog_request *request)
{
	struct nlmsghdr netlink = {.nlmsg_type = NLMSG_DONE, .nlmsg_seq = request->seq};
	struct cn_msg connector = {.id = {CN_IDX_DM, CN_VAL_DM_USERSPACE_LOG}, .seq = request->seq};
	struct dm_ulog_request header = {.luid = request->luid,
					 .version = request->version,
					 .seq = request->seq,
					 .request_type = (uint32_t)request->type,
					 .data_size = request->data_bytes};
	uint8_t message[DATAGRAM_BYTES];
	uint8_t *at = message;
	int listened = ulog_wire_listened();

	if (listened < 0)
		return listened;
	if (!listened)
		return -ESRCH;
	if (request->data_bytes > sizeof(message) - HEADER_BYTES)
		return -EMSGSIZE;
	netlink.nlmsg_len = (uint32_t)(HEADER_BYTES + request->data_bytes);
	connector.len = (uint16_t)(sizeof(header) + request->data_bytes);
	memcpy(header.uuid, request->uuid, sizeof(header.uuid));
	at = mempcpy(at, &netlink, sizeof(netlink));
	at = mempcpy(at, &connector, sizeof(connector));
	at = mempcpy(at, &header, sizeof(header));
	if (request->data_bytes)
		memcpy(at, request->data, request->data_bytes);
	return ulog_wire_send_bytes(fd, message, netlink.nlmsg_len);
}

int ulog_wire_receive(int fd, uint8_t *buffer, size_t room, struct ulog_reply *ret_reply)
{
	const size_t netlink_bytes = sizeof(struct nlmsghdr), connector_bytes = sizeof(struct cn_msg);
	struct dm_ulog_request request;
	struct cn_msg connector;
	ssize_t size = recv(fd, buffer, room, MSG_DONTWAIT);

	if (size < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if ((size_t)size < netlink_bytes + connector_bytes)
		return -EBADMSG;
	memcpy(&connector, buffer + netlink_bytes, connector_bytes);
	memset(ret_reply, 0, sizeof(*ret_reply));
	if (connector.id.idx != CN_IDX_DM || connector.id.val != CN_VAL_DM_USERSPACE_LOG)
		return -EBADMSG;
	if (connector.len == 0) {
		ret_reply->bare = true;
		ret_reply->seq = connector.seq;
		ret_reply->error = -(int)connector.ack;
		return 1;
	}
	if (connector.len < sizeof(request) || (size_t)size < HEADER_BYTES)
		return -EBADMSG;
	memcpy(&request, buffer + netlink_bytes + connector_bytes, sizeof(request));
	if (request.data_size > (size_t)size - HEADER_BYTES)
		return -EBADMSG;
	ret_reply->seq = request.seq;
	ret_reply->error = request.error;
	ret_reply->data = buffer + HEADER_BYTES;
	ret_reply->data_bytes = request.data_size;
	return 1;
}
