/*
 * Events about VMs, recorded by a thread of their own: a word to whoever looks at a VM stands
 * between no decision and the next. One that cannot be kept or recorded is missing, and stops
 * nothing; what it says is in the log by then.
 */
#ifndef DROVER_MIGRATOR_NEWS_H
#define DROVER_MIGRATOR_NEWS_H

#include "core/vm.h"
#include "kube/client.h"

#define NEWS_MAX 256 /* that wait at a time */

struct news;

/* The client outlives it. */
must_check int news_start(struct kube_client *client, struct news **out, struct err *e);
/* Waits for the one that is being recorded; those behind it are dropped. NULL is fine. */
void news_stop(struct news *n);

/* Logs it, and has it recorded soon. type is "Normal" or "Warning". n NULL: logged only. */
void news_tell(struct news *n, const struct vm *vm, const char *type, const char *reason,
               const char *message);

#endif
