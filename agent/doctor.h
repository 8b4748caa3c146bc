/*
 * `drover-agent doctor`: examines this node (core/doctor.h) and prints what it finds, a JSON object
 * a line: {"finding": ...}. For `kubectl drover doctor`, which runs it by `kubectl exec`, it then
 * takes part in the test across nodes:
 *
 *   drover-agent doctor RUN PEER,... BRIDGE,...     "-" for none; RUN is fresh hexadecimal
 *     -> {"finding": ...}            any number of them, at any time
 *     -> {"left": POOL}              this node's token and lock are in the pool, for others to see
 *     -> {"waiting": true}           for the line that says what the others have left
 *     <- go POOL=NODE POOL=NODE ...
 *     -> {"clock": MICROSECONDS}     at once: this node's clock
 *     -> {"done": true}              after what was found there; token and lock stay
 *     <- end of input                now they are removed, however it came about
 *
 * Without RUN there is no second part. Whatever may hang is done by a child with a deadline.
 */
#ifndef DROVER_AGENT_DOCTOR_H
#define DROVER_AGENT_DOCTOR_H

#include "agent/config.h"
#include "core/doctor.h"

/* argv[0] is the first word past "doctor". The exit code: 0 unless it cannot be done at all. */
int agent_doctor(int argc, char **argv);

/* --- the parts of it */

#define DOCTOR_RUN_MAX 32 /* what kubectl drover doctor makes it of */
/* The name under which this node's files of a run lie in a pool's .drover folder. */
#define DOCTOR_NAME_MAX 320
void doctor_name(char out[DOCTOR_NAME_MAX], const char *run, const char *node);

/* Prints the findings and empties the list. */
void doctor_tell(struct findings *f);

/* The children: `drover-agent doctor part VERB ARGUMENT...`. */
int doctor_part(const struct agent_config *c, int argc, char **argv);

/* The test across nodes; usable[i] tells for each pool of c whether it may be written to. */
void doctor_share(const struct agent_config *c, const char *run, const bool *usable,
                  struct findings *f);

#endif
