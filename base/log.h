/*
 * JSON logs, one line each to standard error: ts, level, component, msg, then the given fields.
 * Only binaries log; base, http, kube, api and core return errors instead.
 */
#ifndef DROVER_BASE_LOG_H
#define DROVER_BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* component must outlive the process; level from DROVER_LOG=debug|info|warn|error, else info. */
void log_init(const char *component);

/*
 * The variadic part is pairs of const char *key, const char *value, ended by NULL:
 *   log_msg(LOG_INFO, "guest started", "vm", key, "node", node, NULL);
 * A NULL value is written as null. Lines longer than 8 KiB are cut at a value.
 */
void log_msg(enum log_level level, const char *msg, ...) __attribute__((sentinel));

/* As log_msg at LOG_ERROR with the error's text as the field "error". */
void log_err(const struct err *e, const char *msg, ...) __attribute__((sentinel));

#endif
