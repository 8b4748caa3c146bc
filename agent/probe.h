/*
 * One look at a mount, by a child: writes fresh bytes to a small file of this node's, forces them
 * out, reads them back, and tells what is free.
 *
 * It is the verb `probe POOL NODE` of agent/tool.h. Its output is one line: what was found, or
 * "VERDICT SENTENCE".
 */
#ifndef DROVER_AGENT_PROBE_H
#define DROVER_AGENT_PROBE_H

#include "core/health.h"

#define PROBE_WHY_MAX      256
#define PROBE_IDENTITY_MAX 40

struct probe_report {
        enum probe_result verdict;
        char why[PROBE_WHY_MAX]; /* a sentence unless PROBE_OK */
        /* the rest only with PROBE_OK */
        char identity[PROBE_IDENTITY_MAX]; /* of the pool's directory */
        int64_t latency_us;                /* of writing, fsync and reading back */
        int64_t free_bytes, free_inodes;
        bool counts_inodes; /* the file system has a number of them */
};

int probe_tool(char **argv);

/* Reads the tool's output; well: it has exited with 0. */
void probe_read(const char *text, bool well, struct probe_report *out);

#endif
