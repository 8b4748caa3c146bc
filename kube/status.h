/* From what the API server answered to an error of ours. */
#ifndef DROVER_KUBE_STATUS_H
#define DROVER_KUBE_STATUS_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>

/* What a request was about. */
struct kube_asked {
        bool create;
        const char *plural, *name; /* of the one object; NULL for a collection */
};

/*
 * Fills e from the status (not 2xx) and the body, whose Status.message is used when it is one; the
 * errno value. -ENOENT is the proof that the object is not there: a Status that names it. Any other
 * 404 is -ENXIO: the kind or the namespace is missing, or a server that has only half started, or
 * what stands before it, does not know the path. Nothing is to be ended because of that.
 */
int kube_status_error(struct err *e, int http, const struct kube_asked *asked, const char *body,
                      size_t len);
/* Fills e from a Status object, as an ERROR event of a watch carries one. */
int kube_status_object(struct err *e, const struct json *status);
/* True where the server may answer otherwise if asked again: 429 and 5xx. */
bool kube_status_transient(int http);

#endif
