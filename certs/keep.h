/* Keeps the certificates as they should be, once or for as long as the process runs. */
#ifndef DROVER_CERTS_KEEP_H
#define DROVER_CERTS_KEEP_H

#include "certs/ensure.h"

#include <signal.h>

/* The signals that keep_run waits for; to be called while there is one thread. */
void keep_block_signals(sigset_t *signals);

/* One run of ensure_all by the clock of now, logged. */
must_check int keep_once(struct kube_client *c, const struct ensure_config *cfg, struct err *e);
/*
 * Runs again each minute, after seconds while a rotation waits or when something failed (then less
 * and less often), and at once when the Secret drover-ca changes. Serves health and metrics on the
 * port; ready after the first run that did not fail. Returns when told to end (SIGTERM, SIGINT), or
 * when it cannot begin.
 */
must_check int keep_run(struct kube_client *c, const struct ensure_config *cfg, uint16_t port,
                        const sigset_t *signals, struct err *e);

#endif
