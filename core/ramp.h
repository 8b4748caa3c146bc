/*
 * How long a guest may be paused at the end of its migration: little at first, more with each pass
 * over its memory that was not the last, up to what the VM allows. Time is passed in.
 */
#ifndef DROVER_CORE_RAMP_H
#define DROVER_CORE_RAMP_H

#include <stdbool.h>
#include <stdint.h>

#define RAMP_START_MS 50
#define RAMP_STEPS    5   /* from the start to the maximum, growing */
#define RAMP_PASSES   2   /* passes at the first step: the first copies everything */
#define RAMP_DWELL_MS 500 /* at least this long on each step: quick passes end by themselves */

struct ramp {
        int64_t max_ms, now_ms;
        int step;
        int64_t pass;     /* at which the step was taken */
        int64_t since_ms; /* when */
};

void ramp_begin(struct ramp *r, int64_t max_ms, int64_t now_ms);
/* pass counts from 1 as libvirt's iteration does. True when now_ms of the ramp has changed. */
bool ramp_step(struct ramp *r, int64_t pass, int64_t now_ms);

#endif
