/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

static const char usage[] =
    "usage: simulate --seed=S [--nodes=N|A..B] [--steps=K] [--faults=LIST] [--trace]\n"
    "       simulate --seeds=A..B [--jobs=J] [--nodes=N|A..B] [--steps=K] [--faults=LIST]\n"
    "       simulate --mutants=SEEDS [--jobs=J]\n"
    "       simulate --shrink --seed=S [--faults=LIST]\n"
    "       simulate --script=FILE\n"
    "\n"
    "  --nodes=A..B   how many nodes: the seed says which of these (1..7; 16 at most)\n"
    "  --steps=K      events before the faults stop (20000)\n"
    "  --faults=LIST  none, all, or of kill pause node partition corosync power device memory life\n"
    "                 leg silent stack, separated by commas (all)\n"
    "  --script=FILE  tell the story of a scenario (golden/)\n"
    "  --trace        one line for each event\n"
    "  --small        one log of two regions\n"
    "  --shrink       look for a short run that breaks what this seed breaks, and tell its end\n"
    "  --mutant=NAME  with a deliberate fault (tests/sim/mutant.c)\n"
    "  --mutants=N    with each deliberate fault in turn: is it found within N seeds?\n"
    "\n"
    "Exit status: 0 all guarantees held, 1 one broke, 2 wrong usage.\n";

/* What a worker process is at, for the one that started it. */
struct progress {
	uint64_t seed, done, steps, failed;
};

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct sim *sim_new(void)
{
	struct sim *sim = malloc(sizeof(*sim));

	if (!sim)
		abort();
	return sim;
}

static int run_one(const struct sim_options *options)
{
	struct sim *sim = sim_new();
	bool good = sim_run(options, sim);

	if (good)
		printf("seed %" PRIu64 ": all guarantees held; %u nodes, %" PRIu64 " events, hash %016" PRIx64
		       "\n",
		       options->seed, sim->node_count, sim->steps, sim->trace_hash);
	else
		printf("seed %" PRIu64 ": guarantee %d broken at %.6f s, event %" PRIu64 ": %s\n",
		       options->seed, sim->failure_guarantee, (double)sim->now_ns / 1e9, sim->steps,
		       sim->failure_text);
	free(sim);
	return good ? 0 : 1;
}

/* Every `jobs`th seed from progress->seed on. */
static void worker(const struct sim_options *options, uint64_t last, unsigned jobs, struct progress *progress)
{
	struct sim *sim = sim_new();
	struct sim_options own = *options;

	for (; progress->seed <= last; progress->seed += jobs) {
		own.seed = progress->seed;
		if (!sim_run(&own, sim)) {
			progress->failed++;
			printf("seed %" PRIu64 ": guarantee %d broken: %s\n", own.seed,
			       sim->failure_guarantee, sim->failure_text);
			fflush(stdout);
		}
		progress->done++;
		progress->steps += sim->steps;
	}
	free(sim);
}

static pid_t worker_start(const struct sim_options *options, uint64_t last, unsigned jobs,
			  struct progress *progress)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	worker(options, last, jobs, progress);
	exit(0); /* not _exit(2): coverage is written at the end of a process */
}

/* A worker that crashed goes on behind the seed it crashed at. */
static void worker_crashed(struct progress *progress, unsigned jobs, int status)
{
	printf("seed %" PRIu64 ": crashed, %s %d\n", progress->seed,
	       WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	progress->failed++;
	progress->done++;
	progress->seed += jobs;
}

#define PROGRESS_SECONDS 10

static void on_alarm(int number)
{
	(void)number; /* wait(2) is interrupted, that is all */
}

/* To stderr: what a script keeps of stdout is failures and the sum. */
static void progress_print(const struct progress *progress, unsigned jobs, uint64_t all, double seconds)
{
	uint64_t done = 0, failed = 0;

	for (unsigned i = 0; i < jobs; i++) {
		done += progress[i].done;
		failed += progress[i].failed;
	}
	fprintf(stderr, "%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed, %.0f s, about %.0f s to go\n",
		done, all, failed, seconds, done ? seconds / (double)done * (double)(all - done) : 0.0);
}

static int run_many(const struct sim_options *options, uint64_t first, uint64_t last, unsigned jobs)
{
	struct progress *progress =
	    mmap(NULL, jobs * sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[64];
	uint64_t done = 0, steps = 0, failed = 0;
	unsigned running = jobs;
	double start = now_seconds();
	const struct sigaction alarmed = {.sa_handler = on_alarm}; /* without SA_RESTART */

	if (progress == MAP_FAILED || sigaction(SIGALRM, &alarmed, NULL))
		return 2;
	for (unsigned i = 0; i < jobs; i++) {
		progress[i].seed = first + i;
		pids[i] = worker_start(options, last, jobs, &progress[i]);
	}
	while (running) {
		int status;

		alarm(PROGRESS_SECONDS);
		pid_t pid = wait(&status);
		if (pid < 0) {
			progress_print(progress, jobs, last - first + 1, now_seconds() - start);
			continue;
		}
		for (unsigned i = 0; i < jobs; i++) {
			if (pids[i] != pid)
				continue;
			running--;
			if (WIFEXITED(status) && !WEXITSTATUS(status))
				break;
			worker_crashed(&progress[i], jobs, status);
			pids[i] = worker_start(options, last, jobs, &progress[i]);
			running++;
		}
	}
	alarm(0);
	for (unsigned i = 0; i < jobs; i++) {
		done += progress[i].done;
		steps += progress[i].steps;
		failed += progress[i].failed;
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " events, %.0f events/s, %" PRIu64 " failed\n", done, steps,
	       (double)steps / (now_seconds() - start), failed);
	munmap(progress, jobs * sizeof(*progress));
	return failed ? 1 : 0;
}

/* What became of a mutant: found by guarantee `guarantee` at the `seed`th seed, or crashed, or not found (0).
 */
struct verdict {
	uint64_t seed;
	int guarantee;
	char text[160];
};

static void mutant_hunt(const struct sim_options *options, enum mutant mutant, uint64_t seeds,
			struct verdict *verdict)
{
	struct sim_options own = *options;
	struct sim *sim = sim_new();

	own.mutant = mutant;
	if (fault_parse(mutant_infos[mutant].faults, &own.faults))
		abort();
	for (own.seed = 1; own.seed <= seeds; own.seed++) {
		verdict->seed = own.seed;
		if (sim_run(&own, sim))
			continue;
		verdict->guarantee = sim->failure_guarantee;
		snprintf(verdict->text, sizeof(verdict->text), "%.150s", sim->failure_text);
		free(sim);
		return;
	}
	verdict->seed = 0;
	free(sim);
}

static bool mutant_report(enum mutant mutant, const struct verdict *verdict, int status)
{
	const struct mutant_info *info = &mutant_infos[mutant];

	printf("%-18s %-6s ", info->name, info->hazard);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		printf("seed %-5" PRIu64 " crashed\n", verdict->seed);
	else if (verdict->seed)
		printf("seed %-5" PRIu64 " guarantee %-2d %s\n", verdict->seed, verdict->guarantee,
		       verdict->text);
	else
		printf("NOT FOUND: %s\n", info->text);
	fflush(stdout);
	return verdict->seed != 0;
}

/* Each mutant in a process of its own, `jobs` at a time. */
static int run_mutants(const struct sim_options *options, uint64_t seeds, unsigned jobs)
{
	struct verdict *verdicts = mmap(NULL, MUTANTS_END * sizeof(*verdicts), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[MUTANTS_END] = {0};
	unsigned running = 0, missed = 0;
	int next = MUTANT_NONE + 1;

	if (verdicts == MAP_FAILED)
		return 2;
	while (next < MUTANTS_END || running) {
		int status;

		if (next < MUTANTS_END && running < jobs) {
			fflush(stdout);
			pids[next] = fork();
			if (!pids[next]) {
				mutant_hunt(options, (enum mutant)next, seeds, &verdicts[next]);
				_exit(0);
			}
			next++;
			running++;
			continue;
		}
		pid_t pid = wait(&status);
		for (int i = MUTANT_NONE + 1; i < next; i++)
			if (pids[i] == pid && !mutant_report((enum mutant)i, &verdicts[i], status))
				missed++;
		running--;
	}
	printf("%d mutants, %u not found within %" PRIu64 " seeds\n", MUTANTS_END - 1, missed, seeds);
	munmap(verdicts, MUTANTS_END * sizeof(*verdicts));
	return missed ? 1 : 0;
}

#define SHRINK_SEEDS 300

/* The shortest run of this configuration, over some seeds, that breaks the guarantee. Returns false when none
 * is shorter than `best_steps`. */
static bool shrink_try(struct sim *sim, struct sim_options *options, int guarantee, uint64_t *best_steps)
{
	struct sim_options own = *options;
	bool found = false;

	for (uint64_t i = 0; i < SHRINK_SEEDS; i++) {
		own.seed = options->seed + i;
		own.limit = *best_steps;
		if (sim_run(&own, sim) || sim->failure_guarantee != guarantee || sim->steps > *best_steps)
			continue;
		*best_steps = sim->steps;
		options->seed = own.seed;
		found = true;
	}
	return found;
}

static void fault_print(uint32_t mask)
{
	const char *comma = "";

	for (unsigned kind = 0; kind < FAULT_KINDS; kind++)
		if (mask & (1u << kind)) {
			printf("%s%s", comma, fault_name((enum fault_kind)kind));
			comma = ",";
		}
	if (!mask)
		printf("none");
}

#define SHRINK_STORY 400 /* events */

/* The command that shows the run, and the end of its story. */
static void shrink_print(struct sim *sim, struct sim_options *best, int guarantee, uint64_t steps)
{
	printf("guarantee %d, %" PRIu64 " events: simulate --trace --seed=%" PRIu64 " --steps=%" PRIu64
	       " --faults=",
	       guarantee, steps, best->seed, best->steps);
	fault_print(best->faults);
	printf(" --nodes=%u..%u", best->nodes_min, best->nodes_max);
	if (best->small)
		printf(" --small");
	if (best->mutant)
		printf(" --mutant=%s", mutant_infos[best->mutant].name);
	putchar('\n');
	best->story = true;
	best->story_from = steps > SHRINK_STORY ? steps - SHRINK_STORY : 0;
	(void)sim_run(best, sim);
	printf("%9.4f  guarantee %d is broken: %s\n", (double)sim->now_ns / 1e9, sim->failure_guarantee,
	       sim->failure_text);
}

/* One small log, fewer kinds of faults, fewer nodes: whatever breaks the same guarantee sooner is kept. */
static int run_shrink(const struct sim_options *options)
{
	struct sim *sim = sim_new();
	struct sim_options best = *options, less;
	uint64_t steps;
	int guarantee;

	if (sim_run(&best, sim)) {
		printf("seed %" PRIu64 " breaks nothing\n", best.seed);
		free(sim);
		return 0;
	}
	guarantee = sim->failure_guarantee;
	steps = sim->steps;
	less = best;
	less.small = true;
	if (shrink_try(sim, &less, guarantee, &steps))
		best = less;
	for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
		less = best;
		less.faults &= ~(1u << kind);
		if (less.faults != best.faults && shrink_try(sim, &less, guarantee, &steps))
			best = less;
	}
	for (unsigned nodes = 1; nodes < 4; nodes++) {
		less = best;
		less.nodes_min = less.nodes_max = nodes;
		if (nodes < best.nodes_max && shrink_try(sim, &less, guarantee, &steps))
			best = less;
	}
	shrink_print(sim, &best, guarantee, steps);
	free(sim);
	return 1;
}

static int run_script(const char *path)
{
	struct script script;
	int error = script_read(&script, path);

	if (!error)
		return script_run(&script);
	fprintf(stderr, "%s: %s\n", path, strerror(-error));
	return 2;
}

static int usage_error(void)
{
	fputs(usage, stderr);
	return 2;
}

/* "N" or "A..B". */
static bool nodes_parse(const char *text, struct sim_options *options)
{
	int length = 0;

	if (sscanf(text, "%u..%u%n", &options->nodes_min, &options->nodes_max, &length) != 2 ||
	    text[length]) {
		if (sscanf(text, "%u%n", &options->nodes_min, &length) != 1 || text[length])
			return false;
		options->nodes_max = options->nodes_min;
	}
	return options->nodes_min && options->nodes_min <= options->nodes_max &&
	       options->nodes_max <= SIM_NODES;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 'S'},
	    {"nodes", required_argument, NULL, 'n'},   {"steps", required_argument, NULL, 'k'},
	    {"faults", required_argument, NULL, 'f'},  {"trace", no_argument, NULL, 't'},
	    {"jobs", required_argument, NULL, 'j'},    {"shrink", no_argument, NULL, 'x'},
	    {"small", no_argument, NULL, '1'},	       {"mutant", required_argument, NULL, 'm'},
	    {"mutants", required_argument, NULL, 'M'}, {"script", required_argument, NULL, 'r'},
	    {"help", no_argument, NULL, 'h'},	       {NULL, 0, NULL, 0},
	};
	struct sim_options options = {
	    .seed = 1, .steps = 20000, .nodes_min = 1, .nodes_max = 7, .faults = (1u << FAULT_KINDS) - 1};
	uint64_t first = 0, last = 0, mutant_seeds = 0;
	unsigned jobs = 1;
	bool many = false, shrink = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		switch (option) {
		case 's': options.seed = strtoull(optarg, NULL, 0); break;
		case 'S':
			many = true;
			if (sscanf(optarg, "%" SCNu64 "..%" SCNu64, &first, &last) != 2 || first > last)
				return usage_error();
			break;
		case 'n':
			if (!nodes_parse(optarg, &options))
				return usage_error();
			break;
		case 'k': options.steps = strtoull(optarg, NULL, 0); break;
		case 'f':
			if (fault_parse(optarg, &options.faults))
				return usage_error();
			break;
		case 't': options.trace = true; break;
		case 'm':
			if (mutant_find(optarg) < 0)
				return usage_error();
			options.mutant = (enum mutant)mutant_find(optarg);
			break;
		case '1': options.small = true; break;
		case 'x': shrink = true; break;
		case 'r': return run_script(optarg);
		case 'M': mutant_seeds = strtoull(optarg, NULL, 0); break;
		case 'j': jobs = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'h': fputs(usage, stdout); return 0;
		default: return usage_error();
		}
	if (optind != argc || !jobs || jobs > 64)
		return usage_error();
	if (shrink)
		return run_shrink(&options);
	if (mutant_seeds)
		return run_mutants(&options, mutant_seeds, jobs);
	return many ? run_many(&options, first, last, jobs) : run_one(&options);
}
