/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ctl/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S   10
#define DEPTH_MAX    16
#define ANSWER_BYTES 65536

static int socket_connect(const char *run_dir, int *ret_fd)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int size =
	    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", run_dir, CONTROL_SOCKET_NAME);
	int fd, error;

	if (size >= (int)sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static int io_error(void)
{
	return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

static int line_send(int fd, const char *line)
{
	size_t size = strlen(line), sent = 0;

	while (sent <= size) {
		/* The newline stands where the NUL was. */
		const char *at = sent < size ? line + sent : "\n";
		ssize_t done = send(fd, at, sent < size ? size - sent : 1, MSG_NOSIGNAL);

		if (done < 0 && errno != EINTR)
			return io_error();
		if (done > 0)
			sent += (size_t)done;
	}
	return 0;
}

/* The parser knows where the object ends; what comes behind it is not for us. */
static int answer_receive(int fd, struct json_object **ret_answer)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
	static char bytes[ANSWER_BYTES];
	struct json_object *object = NULL;
	int error = tokener == NULL ? -ENOMEM : 0;

	while (error == 0 && object == NULL) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			error = io_error();
		else if (got == 0)
			error = -EBADMSG;
		else
			object = json_tokener_parse_ex(tokener, bytes, (int)got);
		if (error == 0 && object == NULL && json_tokener_get_error(tokener) != json_tokener_continue)
			error = -EBADMSG;
	}
	if (tokener != NULL)
		json_tokener_free(tokener);
	if (object != NULL && !json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		return -EBADMSG;
	}
	*ret_answer = object;
	return error;
}

int connection_ask(const char *run_dir, const struct control_request *request,
		   struct json_object **ret_answer)
{
	char *line = control_encode(request);
	int fd = -1, error;

	if (line == NULL)
		return -ENOMEM;
	error = socket_connect(run_dir, &fd);
	if (error == 0) {
		error = line_send(fd, line);
		if (error == 0)
			error = answer_receive(fd, ret_answer);
		close(fd);
	}
	free(line);
	return error;
}
