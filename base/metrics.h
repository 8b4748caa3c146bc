/*
 * OpenMetrics counters, gauges and histograms
 * (https://prometheus.io/docs/specs/om/open_metrics_spec/). Metrics are registered once at start,
 * never removed; registering a name again yields the same metric (NULL if of another kind). Label
 * sets are bounded per metric and a set beyond the bound counts under the label value "other".
 * Updates are thread safe and do not lock once a series exists.
 */
#ifndef DROVER_BASE_METRICS_H
#define DROVER_BASE_METRICS_H

#include "base/buf.h"

#include <stdint.h>

#define METRIC_SERIES_MAX 1024

struct metric;

/* name without suffix ("drover_migrations"), help a sentence, label a label's name or NULL. */
struct metric *metric_counter(const char *name, const char *help, const char *label);
struct metric *metric_gauge(const char *name, const char *help, const char *label);
/* bounds in seconds, ascending, n <= 16, +Inf is implied. */
struct metric *metric_histogram(const char *name, const char *help, const char *label,
                                const double *bounds, size_t n);

/* value is the label's value, NULL for a metric without a label. m == NULL is ignored. */
void metric_add(struct metric *m, const char *value, double v);
void metric_set(struct metric *m, const char *value, double v);
void metric_observe(struct metric *m, const char *value, double seconds);
double metric_get(struct metric *m, const char *value); /* counter or gauge; for tests */

/* All metrics as OpenMetrics text ending in "# EOF\n", process_resident_memory_bytes included. */
int metrics_print(struct buf *b);

#endif
