/* How long the names of nodes take to look up: connections between nodes are made by them. */
#ifndef DROVER_AGENT_NAMES_H
#define DROVER_AGENT_NAMES_H

#include <stdint.h>

#define NAMES_UNRESOLVED_MS 1000 /* what a name that does not resolve counts as, at least */

/*
 * Milliseconds. A busy machine makes one look-up slow, a bad resolver each of them: the quickest of
 * a few. Blocks for as long as the resolver does.
 */
int64_t names_lookup_ms(const char *name);

#endif
