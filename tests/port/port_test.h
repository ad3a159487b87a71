/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A loop for tests of ports: collects events, runs until enough have come, and never for ever. */
#ifndef TESTS_PORT_PORT_TEST_H
#define TESTS_PORT_PORT_TEST_H

#include "tests/unit/unit.h"

#include "daemon/port/port.h"

#define PORT_TEST_EVENTS_MAX 512
#define PORT_TEST_TIMEOUT_NS UINT64_C(20000000000)
#define EXIT_SKIPPED	     77 /* meson: could not be tried here */

struct seen_event {
	struct event event; /* borrowed parts are gone, but for those below */
	uint8_t *bytes;	    /* EVENT_DEVICE_READ */
	size_t table_count; /* EVENT_TABLES */
	struct table tables[16];
	char uuids[16][LOG_UUID_BYTES];
};

struct port_test {
	struct port_config config;
	char dir[64]; /* of this test alone; removed at the end */
	struct seen_event *events;
	size_t event_count, wanted;
	unsigned calls; /* other callbacks, see port_test_called() */
	unsigned calls_wanted;
	bool timed_out;
};

/* For cmocka: *state is a struct port_test. */
int port_test_setup(void **state);
int port_test_teardown(void **state);

/* Run the loop until at least so many events were seen since the setup; fails the test when they do not come.
 * More may have come: what several jobs finished while this thread did not run is posted at once. */
void port_test_run(struct port_test *test, size_t event_count);

/* A callback without event for ports that have one (context: the port_test), and waiting for so many. */
void port_test_called(void *context);
void port_test_run_calls(struct port_test *test, unsigned calls);

/* Let the loop do what it has to do for a moment: to see that nothing comes. */
void port_test_run_for(struct port_test *test, unsigned milliseconds);

/* Path of a file in the directory of the test; valid until the next but 7 call. */
const char *port_test_path(const struct port_test *test, const char *name);
void port_test_write(const struct port_test *test, const char *name, const void *bytes, size_t size);
void port_test_read(const struct port_test *test, const char *name, void *ret_bytes, size_t size);

/* Open descriptors of this process whose link begins with `target`. */
unsigned port_test_open_count(const char *target);

/* A close began at `begin_ns` (port_test_now_ns()) and has returned: so many descriptors have to be left. It
 * waits no longer than `wait_ms`; where it has used that up, because the machine is busy, they have to be
 * gone soon. */
uint64_t port_test_now_ns(void);
void port_test_closed(const char *target, unsigned count, uint64_t begin_ns, unsigned wait_ms);

/* --- loop devices; gone with the last descriptor, also when the test dies --- */

struct loop_device {
	int fd;
	uint32_t major, minor;
	char path[32];
};

/* Over a file of the test's directory, which is made `size_bytes` long. Returns 0 or a negative errno. */
int loop_device_make(const struct port_test *test, const char *name, uint64_t size_bytes,
		     struct loop_device *ret_device);
void loop_device_free(struct loop_device *device);

/* True when this process can make loop devices. */
bool loop_device_possible(void);

#endif
