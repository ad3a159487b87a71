/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/port/port_test.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/port/worker.h"

struct number_job {
	struct job job;
	struct port_test *test;
	int wait_fd; /* read one byte first; -1: do not */
	unsigned number;
	unsigned *order; /* [calls]: numbers as they were finished */
	bool ran;
};

static void number_run(struct job *job)
{
	struct number_job *number_job = (struct number_job *)job;
	char byte;

	if (number_job->wait_fd >= 0)
		(void)!read(number_job->wait_fd, &byte, 1);
	number_job->ran = true;
}

static void number_finish(struct job *job)
{
	struct number_job *number_job = (struct number_job *)job;

	number_job->order[number_job->test->calls] = number_job->number;
	port_test_called(number_job->test);
	free(number_job);
}

static unsigned discarded;

static void number_discard(struct job *job)
{
	discarded++;
	free((struct number_job *)job);
}

static struct job *number_job_new(struct port_test *test, unsigned number, int wait_fd, unsigned *order)
{
	struct number_job *job = port_alloc(sizeof(*job));

	*job = (struct number_job){
	    .job = {.run_fn = number_run, .finish_fn = number_finish},
	    .test = test,
	    .wait_fd = wait_fd,
	    .number = number,
	    .order = order,
	};
	return &job->job;
}

static void test_jobs_finish_in_order(void **state)
{
	struct port_test *test = *state;
	struct worker_hub *hub;
	struct worker *worker;
	unsigned order[50];

	assert_int_equal(worker_hub_open(test->config.loop, &hub), 0);
	assert_int_equal(worker_start(hub, "test", &worker), 0);
	for (unsigned i = 0; i < 50; i++)
		worker_submit(worker, number_job_new(test, i, -1, order));
	port_test_run_calls(test, 50);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(order[i], i);
	worker_stop(worker);
	worker_hub_close(hub, number_discard);
}

static void test_hung_worker_holds_nobody_else(void **state)
{
	struct port_test *test = *state;
	struct worker_hub *hub;
	struct worker *hung, *quick;
	unsigned order[3];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(worker_hub_open(test->config.loop, &hub), 0);
	assert_int_equal(worker_start(hub, "hung", &hung), 0);
	assert_int_equal(worker_start(hub, "quick", &quick), 0);
	worker_submit(hung, number_job_new(test, 1, ends[0], order));
	worker_submit(quick, number_job_new(test, 2, -1, order));
	port_test_run_calls(test, 1);
	assert_int_equal(order[0], 2);
	assert_false(worker_wait_idle(hung, 20));
	assert_true(worker_wait_idle(quick, 10000));
	worker_stop(hung); /* returns although it hangs */
	assert_int_equal(write(ends[1], "x", 1), 1);
	port_test_run_calls(test, 2);
	assert_int_equal(order[1], 1);
	worker_stop(quick);
	worker_hub_close(hub, number_discard);
	close(ends[0]);
	close(ends[1]);
}

static void test_close_waits_and_discards(void **state)
{
	struct port_test *test = *state;
	struct worker_hub *hub;
	struct worker *worker;
	unsigned order[2];

	discarded = 0;
	assert_int_equal(worker_hub_open(test->config.loop, &hub), 0);
	assert_int_equal(worker_start(hub, "test", &worker), 0);
	worker_submit(worker, number_job_new(test, 0, -1, order));
	worker_submit(worker, number_job_new(test, 1, -1, order));
	worker_stop(worker);
	worker_hub_close(hub, number_discard);
	assert_int_equal(discarded, 2);
	assert_int_equal(test->calls, 0);
}

static void test_post_finishes_from_the_loop(void **state)
{
	struct port_test *test = *state;
	struct worker_hub *hub;
	unsigned order[1];

	assert_int_equal(worker_hub_open(test->config.loop, &hub), 0);
	worker_hub_post(hub, number_job_new(test, 7, -1, order));
	assert_int_equal(test->calls, 0);
	port_test_run_calls(test, 1);
	assert_int_equal(order[0], 7);
	worker_hub_close(hub, number_discard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_jobs_finish_in_order, port_test_setup, port_test_teardown),
	    cmocka_unit_test_setup_teardown(test_hung_worker_holds_nobody_else, port_test_setup,
					    port_test_teardown),
	    cmocka_unit_test_setup_teardown(test_close_waits_and_discards, port_test_setup,
					    port_test_teardown),
	    cmocka_unit_test_setup_teardown(test_post_finishes_from_the_loop, port_test_setup,
					    port_test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
