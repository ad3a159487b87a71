/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The status of a daemon as text for people. */
#ifndef DAEMON_CTL_STATUS_TEXT_H
#define DAEMON_CTL_STATUS_TEXT_H

#include <stdio.h>

#include <json-c/json.h>

/* `status` is the object that `mirrorlogctl status --json` prints. What is missing in it is left out. */
void status_text_print(FILE *out, struct json_object *status);

#endif
