/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/port/device_mapper.h"

static const struct table *table_of(const struct seen_event *seen, const char *uuid, bool live)
{
	for (size_t i = 0; i < seen->table_count; i++) {
		if (!strcmp(seen->tables[i].uuid, uuid) && seen->tables[i].live == live)
			return &seen->tables[i];
	}
	return NULL;
}

static void table_write(const struct port_test *test, const char *name, const char *uuid)
{
	char line[256], path[64];
	int size =
	    snprintf(line, sizeof(line), "0 64 mirror userspace 3 %s clustered-core 2 2 8:0 0 8:1 0\n", uuid);

	snprintf(path, sizeof(path), "tables/%s", name);
	port_test_write(test, path, line, (size_t)size);
}

static struct device_mapper *mapper_open(struct port_test *test)
{
	struct device_mapper *mapper;

	test->config.tables_dir = port_test_path(test, "tables");
	assert_int_equal(device_mapper_open(&test->config, &mapper), 0);
	return mapper;
}

static void test_tables(void **state)
{
	struct port_test *test = *state;
	struct device_mapper *mapper = mapper_open(test);
	const struct seen_event *seen = &test->events[0];

	assert_int_equal(mkdir(port_test_path(test, "tables"), 0700), 0);
	table_write(test, "a", "uuid-a");
	table_write(test, "a.inactive", "uuid-a");
	table_write(test, "b.suspended", "uuid-b");
	table_write(test, "wake.uuid-c", "uuid-c");
	port_test_write(test, "tables/linear", "0 8 linear 8:0 0\n", 17);
	port_test_write(test, "tables/bad", "0 8 mirror userspace 3 u\n", 25);
	device_mapper_ask(mapper);
	assert_int_equal(test->event_count, 0); /* never from inside */
	port_test_run(test, 1);
	assert_int_equal(seen->event.type, EVENT_TABLES);
	assert_int_equal(seen->table_count, 3);
	assert_false(table_of(seen, "uuid-a", true)->suspended);
	assert_false(table_of(seen, "uuid-a", false)->suspended);
	assert_true(table_of(seen, "uuid-b", true)->suspended);
	device_mapper_close(mapper);
}

/* No answer is better than "no tables", and it comes as soon as there is one. */
static void test_asked_until_it_works(void **state)
{
	struct port_test *test = *state;
	struct device_mapper *mapper = mapper_open(test);

	device_mapper_ask(mapper);
	port_test_run_for(test, 50);
	assert_int_equal(test->event_count, 0);
	assert_int_equal(mkdir(port_test_path(test, "tables"), 0700), 0);
	table_write(test, "a", "uuid-a");
	port_test_run(test, 1);
	assert_int_equal(test->events[0].table_count, 1);
	device_mapper_close(mapper);
	device_mapper_close(NULL);
}

struct found {
	struct port_test *test;
	int error;
	struct mirror_table table;
};

static void found_take(void *context, int error, const struct mirror_table *table)
{
	struct found *found = context;

	found->error = error;
	if (table)
		found->table = *table;
	port_test_called(found->test);
}

static void test_find(void **state)
{
	struct found found = {.test = *state};
	struct device_mapper *mapper = mapper_open(*state);

	assert_int_equal(mkdir(port_test_path(*state, "tables"), 0700), 0);
	table_write(*state, "a.inactive", "uuid-a");
	device_mapper_find(mapper, "uuid-a", found_take, &found);
	port_test_run_calls(*state, 1);
	assert_int_equal(found.error, -ENODEV); /* only the live one counts */
	table_write(*state, "a", "uuid-a");
	device_mapper_find(mapper, "uuid-a", found_take, &found);
	port_test_run_calls(*state, 2);
	assert_int_equal(found.error, 0);
	assert_int_equal(found.table.leg_count, 2);
	assert_int_equal(found.table.length_sectors, 64);
	device_mapper_close(mapper);
}

/* The real one, whatever it has: no table of ours, and an answer. */
static void test_host(void **state)
{
	struct port_test *test = *state;
	struct found found = {.test = test};
	struct device_mapper *mapper;

	if (geteuid() != 0)
		skip();
	assert_int_equal(device_mapper_open(&test->config, &mapper), 0);
	device_mapper_ask(mapper);
	port_test_run(test, 1);
	assert_int_equal(test->events[0].event.type, EVENT_TABLES);
	device_mapper_find(mapper, "no such log", found_take, &found);
	port_test_run_calls(test, 1);
	assert_int_equal(found.error, -ENODEV);
	device_mapper_close(mapper);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, port_test_setup, port_test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_tables),
	    TEST(test_asked_until_it_works),
	    TEST(test_find),
	    TEST(test_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
