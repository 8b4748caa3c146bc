/*
 * This node's word in a pool, and a look at those of the others: what core/sharing.h goes by. In
 * the pool there is .drover/words with a file for each node, written in place and always of the
 * same size, so that its opening makes a client of a network file system look anew. The lock that
 * is tried is that of agent/locks.h. Done by a tool, because a mount may hang.
 */
#ifndef DROVER_AGENT_WORDS_H
#define DROVER_AGENT_WORDS_H

#include "core/sharing.h"

/* A line of the tool's: a node and what was seen of it. False when it is none. */
bool words_line(const char *line, size_t len, char node[254], struct sharing_look *out);

/*
 * The verb of `drover-agent tool`: words POOL NODE INSTANCE NUMBER HOLDS(0|1). Writes the word,
 * unless its number is WORDS_NONE, then prints a line for every other node that has written lately.
 */
#define WORDS_NONE INT64_C(0)
int words_tool(char **argv);

#endif
