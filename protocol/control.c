/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol/control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <json-c/json.h>

#include "common/rate.h"

static const char *const names[CONTROL_REQUEST_END] = {
    [CONTROL_REQUEST_STATUS] = "status",
    [CONTROL_REQUEST_DUMP] = "dump",
    [CONTROL_REQUEST_METRICS] = "metrics",
    [CONTROL_REQUEST_CONFIRM_DEAD] = "confirm-dead",
    [CONTROL_REQUEST_FAIL_KEPT] = "fail-kept",
    [CONTROL_REQUEST_REPAIR_PAUSE] = "repair-pause",
    [CONTROL_REQUEST_REPAIR_RESUME] = "repair-resume",
    [CONTROL_REQUEST_REPAIR_THROTTLE] = "repair-throttle",
};

static const char *command_take(struct json_object *value, struct control_request *request)
{
	const char *word = json_object_get_string(value);

	if (!json_object_is_type(value, json_type_string))
		return "\"command\" must be a string";
	for (unsigned type = 0; type < CONTROL_REQUEST_END; type++) {
		if (strcmp(word, names[type]) == 0) {
			request->type = (enum control_request_type)type;
			return NULL;
		}
	}
	return "unknown command";
}

static const char *node_take(struct json_object *value, struct control_request *request)
{
	int64_t number = json_object_get_int64(value);

	if (!json_object_is_type(value, json_type_int) || number < 1 || number > UINT32_MAX)
		return "\"node\" must be a node id, 1 to 4294967295";
	request->node = (node_id_t)number;
	return NULL;
}

static const char *uuid_take(struct json_object *value, struct control_request *request)
{
	const char *text = json_object_get_string(value);
	size_t size = (size_t)json_object_get_string_len(value);

	if (!json_object_is_type(value, json_type_string))
		return "\"uuid\" must be a string";
	if (size == 0 || size >= sizeof(request->uuid) || memchr(text, '\0', size) != NULL)
		return "\"uuid\" is empty, too long, or no text";
	memcpy(request->uuid, text, size + 1);
	return NULL;
}

static const char *rate_take(struct json_object *value, struct control_request *request)
{
	int64_t number = json_object_get_int64(value);

	/* json-c gives the greatest number it has for one that is greater. */
	if (!json_object_is_type(value, json_type_int) || number < 0 || number > RATE_MAX)
		return "\"rate\" must be bytes a second, 0 to 2^60";
	request->rate = number;
	return NULL;
}

/* Returns what is wrong, or NULL. */
static const char *members_take(struct json_object *object, struct control_request *request)
{
	bool command = false;
	const char *why = NULL;

	json_object_object_foreach(object, key, value)
	{
		if (strcmp(key, "command") == 0) {
			command = true;
			why = command_take(value, request);
		} else if (strcmp(key, "node") == 0) {
			why = node_take(value, request);
		} else if (strcmp(key, "uuid") == 0) {
			why = uuid_take(value, request);
		} else if (strcmp(key, "rate") == 0) {
			why = rate_take(value, request);
		} else {
			why = "unknown member";
		}
		if (why != NULL)
			return why;
	}
	if (!command)
		return "no \"command\"";
	if ((request->node != NODE_NONE) != (request->type == CONTROL_REQUEST_CONFIRM_DEAD))
		return "\"node\" goes with confirm-dead, and only with it";
	if ((request->rate != CONTROL_RATE_NONE) != (request->type == CONTROL_REQUEST_REPAIR_THROTTLE))
		return "\"rate\" goes with repair-throttle, and only with it";
	if (request->uuid[0] != '\0' && request->type != CONTROL_REQUEST_FAIL_KEPT &&
	    request->type != CONTROL_REQUEST_REPAIR_THROTTLE)
		return "\"uuid\" goes with fail-kept and repair-throttle only";
	return NULL;
}

static struct json_object *object_parse(struct json_tokener *tokener, const char *line, size_t size,
					const char **ret_why)
{
	struct json_object *object = json_tokener_parse_ex(tokener, line, (int)size);
	enum json_tokener_error error = json_tokener_get_error(tokener);

	if (object == NULL || error != json_tokener_success) {
		*ret_why = error == json_tokener_continue ? "unfinished JSON" : "not JSON";
	} else if (!json_object_is_type(object, json_type_object)) {
		*ret_why = "not a JSON object";
	} else if (json_tokener_get_parse_end(tokener) != size) {
		*ret_why = "something stands behind the JSON object";
	} else {
		return object;
	}
	json_object_put(object);
	return NULL;
}

int control_decode(const char *line, size_t size_bytes, struct control_request *ret_request,
		   const char **ret_why)
{
	struct control_request request = {.type = CONTROL_REQUEST_END, .rate = CONTROL_RATE_NONE};
	struct json_tokener *tokener;
	struct json_object *object;

	if (size_bytes > CONTROL_LINE_MAX) {
		*ret_why = "line too long";
		return -EBADMSG;
	}
	tokener = json_tokener_new_ex(CONTROL_DEPTH_MAX);
	if (tokener == NULL)
		return -ENOMEM;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS |
					    JSON_TOKENER_VALIDATE_UTF8);
	object = object_parse(tokener, line, size_bytes, ret_why);
	json_tokener_free(tokener);
	if (object == NULL)
		return -EBADMSG;
	*ret_why = members_take(object, &request);
	json_object_put(object);
	if (*ret_why != NULL)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

static bool member_add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value != NULL && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

char *control_encode(const struct control_request *request)
{
	struct json_object *object = json_object_new_object();
	const char *text = NULL;
	char *line;
	bool good;

	if (object == NULL)
		return NULL;
	good = member_add(object, "command", json_object_new_string(names[request->type]));
	if (request->node != NODE_NONE)
		good = good && member_add(object, "node", json_object_new_int64(request->node));
	if (request->uuid[0] != '\0')
		good = good && member_add(object, "uuid", json_object_new_string(request->uuid));
	if (request->type == CONTROL_REQUEST_REPAIR_THROTTLE)
		good = good && member_add(object, "rate", json_object_new_int64(request->rate));
	if (good)
		text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	line = text == NULL ? NULL : strdup(text);
	json_object_put(object);
	return line;
}
