/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scripted run: nothing is random, each thing takes its typical time, and what happens is told in the words
 * of the protocol. Golden traces are made of it (golden/).
 */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#define SCRIPT_LINES 64

struct sim;
struct kernel_output;
struct effect;
struct sim_event;

struct script {
	unsigned nodes;
	char log[64];		    /* "disk 8 nosync", "core 4" */
	uint64_t from_ns, until_ns; /* what is told */
	uint64_t fence_ns;	    /* how long fencing takes */
	struct {
		uint64_t at_ns;
		char words[80];
	} lines[SCRIPT_LINES];
	unsigned count;
};

/* Read a scenario: lines that begin with "> ". Copies the lines before the trace to stdout. 0, or -errno. */
int script_read(struct script *script, const char *path);

/* Print the story of a run. Returns the exit status. */
int script_run(const struct script *script);

/* Called by the rest of the simulator. */
void script_setup(struct sim *sim);
void script_do(struct sim *sim, const struct sim_event *event);

/* What is told; each prints nothing when no script runs. `node` 0: nobody's. */
void story(struct sim *sim, unsigned node, const char *format, ...) __attribute__((format(printf, 3, 4)));
void story_request(struct sim *sim, unsigned node, const struct kernel_output *out);
void story_reply(struct sim *sim, unsigned node, const struct effect *effect);
void story_message(struct sim *sim, unsigned sender, const uint8_t *bytes, uint64_t size);
void story_device(struct sim *sim, unsigned node, unsigned log, bool done);

#endif
