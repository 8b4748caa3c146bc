/* From what the API server answered to an error of ours. */
#ifndef DROVER_KUBE_STATUS_H
#define DROVER_KUBE_STATUS_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>

/* The errno value of an HTTP status that is not 2xx; create: the request was one. */
int kube_status_code(int http, bool create);
/* Fills e from the status and the body, whose Status.message is used when it is one. */
int kube_status_error(struct err *e, int http, bool create, const char *body, size_t len);
/* Fills e from a Status object, as an ERROR event of a watch carries one. */
int kube_status_object(struct err *e, const struct json *status);
/* True where the server may answer otherwise if asked again: 429 and 5xx. */
bool kube_status_transient(int http);

#endif
