/*
 * What the agent does on a pool's mount, each as a run of the agent's own binary in a child process
 * (`drover-agent tool VERB POOL ARGUMENT...`), because a mount may hang. The verbs print their
 * result as one line, or one sentence about what went wrong and exit with 1. POOL is the path at
 * which the pool is mounted; a verb runs within it (agent/pool.h), and paths are relative to it:
 * nothing is ever done in a bare directory.
 *
 *   probe                      agent/probe.h
 *   have, blank, clone, copy, claim, seed, remove, retain   agent/disktool.h
 *   snap-take, snap-drop, snap-has, snap-apply, marked, mark   agent/snaptool.h
 *   fetch                      agent/fetch.h
 *   place, drop, unplace       agent/place.h
 *   hold, refused              agent/locks.h
 *   offer, seen                agent/offers.h
 *   words                      agent/words.h
 */
#ifndef DROVER_AGENT_TOOL_H
#define DROVER_AGENT_TOOL_H

/* argv[0] is the verb. The exit code. */
int agent_tool(int argc, char **argv);

/* The file to run for a tool: /proc/self/exe; argv[1] must lead to agent_tool there. */
#define AGENT_SELF "/proc/self/exe"

#endif
