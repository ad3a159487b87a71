/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/options.h"

#define ARGUMENTS_MAX 16

static enum options_verdict parse(struct options *options, const char *const arguments[])
{
	static char words[ARGUMENTS_MAX][128];
	char *argv[ARGUMENTS_MAX + 1] = {NULL};
	int argc = 0;

	(void)snprintf(words[0], sizeof(words[0]), "mirrorlogd");
	argv[argc++] = words[0];
	for (; *arguments != NULL; arguments++, argc++) {
		assert_in_range(argc, 1, ARGUMENTS_MAX - 1);
		(void)snprintf(words[argc], sizeof(words[argc]), "%s", *arguments);
		argv[argc] = words[argc];
	}
	return options_parse(argc, argv, options);
}

#define PARSE(options, ...) parse(options, (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const char *argument, const char *mentions)
{
	struct options options;

	assert_int_equal(PARSE(&options, argument), OPTIONS_ERROR);
	assert_non_null(strstr(options.error, mentions));
}

static void nothing_given(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, (const char *const[]){NULL}), OPTIONS_RUN);
	assert_false(options.foreground);
	assert_int_equal(options.cluster, CLUSTER_COROSYNC);
	assert_int_equal(options.fencing, FENCING_DLM);
	assert_int_equal(options.linger_ns, UINT64_C(5000000000));
	assert_int_equal(options.linger_regions, 4096);
	assert_string_equal(options.pid_file, "/run/mirrorlogd.pid");
	assert_string_equal(options.run_dir, "/run/mirrorlogd");
	assert_int_equal(options.netlink_peer, 0);
	assert_null(options.dm_tables);
}

static void everything_given(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(PARSE(&options, "-D", "--pidfile=/p", "--run-dir=/r", "--cluster=none",
			       "--fencing=assume", "--linger=0.25", "--linger-regions=7",
			       "--repair-rate=20M"),
			 OPTIONS_RUN);
	assert_true(options.foreground);
	assert_string_equal(options.pid_file, "/p");
	assert_string_equal(options.run_dir, "/r");
	assert_int_equal(options.cluster, CLUSTER_NONE);
	assert_int_equal(options.fencing, FENCING_ASSUME);
	assert_int_equal(options.linger_ns, UINT64_C(250000000));
	assert_int_equal(options.linger_regions, 7);
	assert_int_equal(options.repair_rate, 20 << 20);
}

static void values_as_separate_words(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(PARSE(&options, "--fencing", "none", "--netlink-peer", "4711", "--dm-tables", "/t"),
			 OPTIONS_RUN);
	assert_int_equal(options.fencing, FENCING_NONE);
	assert_int_equal(options.netlink_peer, 4711);
	assert_string_equal(options.dm_tables, "/t");
}

static void foreground_has_three_names(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(PARSE(&options, "-f"), OPTIONS_RUN);
	assert_true(options.foreground);
	assert_int_equal(PARSE(&options, "--foreground"), OPTIONS_RUN);
	assert_true(options.foreground);
}

static void help_and_version(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(PARSE(&options, "-h"), OPTIONS_HELP);
	assert_int_equal(PARSE(&options, "--help"), OPTIONS_HELP);
	assert_int_equal(PARSE(&options, "-V"), OPTIONS_VERSION);
	assert_non_null(strstr(options_help(), "--fencing=KIND"));
	assert_null(strstr(options_help(), "netlink-peer"));
}

static void linger_limits(void **state)
{
	static const char *const bad[] = {"--linger=",
					  "--linger=-1",
					  "--linger= 1",
					  "--linger=1s",
					  "--linger=3601",
					  "--linger=1.",
					  "--linger=3600.1",
					  "--linger=.5",
					  "--linger=nan",
					  "--linger=1e3",
					  "--linger=0.0000000001",
					  "--linger=1.2.3",
					  "--linger=+1",
					  "--linger=99999999999999999999"};
	struct options options;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i], "0 to 3600 seconds");
	assert_int_equal(PARSE(&options, "--linger=0"), OPTIONS_RUN);
	assert_int_equal(options.linger_ns, 0);
	assert_int_equal(PARSE(&options, "--linger=3600.0"), OPTIONS_RUN);
	assert_int_equal(options.linger_ns, UINT64_C(3600000000000));
	assert_int_equal(PARSE(&options, "--linger=0.000000001"), OPTIONS_RUN);
	assert_int_equal(options.linger_ns, 1);
}

static void repair_rates(void **state)
{
	static const char *const bad[] = {"--repair-rate=",   "--repair-rate=-1",
					  "--repair-rate=1m", "--repair-rate=1MB",
					  "--repair-rate=M",  "--repair-rate=1048577T",
					  "--repair-rate= 1", "--repair-rate=99999999999999999999"};
	struct options options;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i], "bytes a second");
	assert_int_equal(PARSE(&options, "--repair-rate=1048576T"), OPTIONS_RUN);
	assert_int_equal(options.repair_rate, UINT64_C(1) << 60);
	assert_int_equal(PARSE(&options, "--repair-rate=0"), OPTIONS_RUN);
	assert_int_equal(options.repair_rate, 0);
	assert_int_equal(PARSE(&options, "--repair-rate=3K"), OPTIONS_RUN);
	assert_int_equal(options.repair_rate, 3072);
}

static void wrong_values_are_named(void **state)
{
	(void)state;
	assert_refused("--cluster=pacemaker", "--cluster=pacemaker: must be corosync or none");
	assert_refused("--fencing=", "must be dlm, none or assume");
	assert_refused("--pidfile=relative", "slash");
	assert_refused("--run-dir=", "slash");
	assert_refused("--linger-regions=16777217", "16777216");
	assert_refused("--netlink-peer=4294967296", "port id");
	assert_refused("--pidfile", "--pidfile needs a value");
	assert_refused("--nonsense", "--nonsense");
	assert_refused("-x", "-x");
	assert_refused("--foreground=yes", "--foreground=yes");
	assert_refused("stray", "stray");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_given),
	    cmocka_unit_test(everything_given),
	    cmocka_unit_test(values_as_separate_words),
	    cmocka_unit_test(foreground_has_three_names),
	    cmocka_unit_test(help_and_version),
	    cmocka_unit_test(linger_limits),
	    cmocka_unit_test(repair_rates),
	    cmocka_unit_test(wrong_values_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
