/* The migrator's metrics. */
#ifndef DROVER_MIGRATOR_METRICS_H
#define DROVER_MIGRATOR_METRICS_H

#include "core/migration.h"

void metrics_register(void);
/* A VM came (before NULL), changed, or went (after NULL). */
void metrics_vm_phase(const struct vm *before, const struct vm *after);
/* An image came to its end: it is there, or was refused. */
void metrics_image(bool ready);
/* A snapshot came to its end: it is taken, or failed. */
void metrics_snapshot(bool ready);
/* A migration that we brought to its end. */
void metrics_migration(const struct migration *m);

#endif
