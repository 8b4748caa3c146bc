/*
 * Failing allocations on purpose. Every test program is linked with --wrap=malloc and so on, so
 * that oom.c stands between our objects (and cJSON) and the allocator. Arming concerns the calling
 * thread only. To fail each allocation of an operation in turn:
 *
 *      for (unsigned long n = 1; n; n++) {
 *              oom_arm(n);
 *              int rc = operation();
 *              if (!oom_disarm())
 *                      break;          // it took fewer than n allocations: all were failed once
 *              assert_int_equal(rc, -ENOMEM);
 *      }
 */
#ifndef DROVER_TESTS_UNIT_OOM_H
#define DROVER_TESTS_UNIT_OOM_H

#include <stdbool.h>

/* From now on the nth malloc, calloc, realloc or strdup (1: the next) fails with ENOMEM, once. */
void oom_arm(unsigned long nth);
/* As oom_arm, but all later ones fail too. */
void oom_arm_from(unsigned long nth);
/* Ends it; true when an allocation was failed. */
bool oom_disarm(void);
/* Allocations of this thread since it was armed; a large nth counts without failing. */
unsigned long oom_count(void);

#endif
