/* How findings are told: a table for people, JSON for programs. */
#ifndef DROVER_KUBECTL_REPORT_H
#define DROVER_KUBECTL_REPORT_H

#include "base/buf.h"
#include "core/doctor.h"

/* By check, the worst verdict first, what is alike together, then by node. */
void report_sort(struct findings *f);
/*
 * One line for what is right of each check, one and its remedy for each thing that is not; alike
 * ones of several nodes together. Whatever a node says, no control character reaches the terminal.
 * f is sorted. 0 or the buffer's error.
 */
int report_table(const struct findings *f, bool colour, struct buf *b);
/* {"verdict", "faults", "warnings", "findings": [...]}. 0, -ENOMEM or the buffer's error. */
int report_json(const struct findings *f, struct buf *b);

#endif
