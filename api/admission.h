/* admission.k8s.io/v1 AdmissionReview. */
#ifndef DROVER_API_ADMISSION_H
#define DROVER_API_ADMISSION_H

#include "base/err.h"
#include "base/json.h"
#include "core/types.h"

struct admission_request {
        struct json *tree; /* owns all below */
        const char *uid, *operation, *kind, *resource, *subresource, *ns, *name, *user;
        struct strs groups; /* of the user */
        struct arena *arena;
        bool dry_run;
        const struct json *object, *old_object; /* NULL when absent */
};
must_check int admission_decode(const char *body, size_t len, size_t max,
                                struct admission_request *out, struct err *e);
void admission_free(struct admission_request *r);

struct admission_answer {
        bool allowed;
        int code;                 /* of a denial: 400, 403, 422, 429 ... */
        const char *reason;       /* machine readable, "" allowed: "Invalid", "Forbidden" */
        const char *message;      /* of a denial */
        const struct json *patch; /* JSON Patch array (RFC 6902) or NULL; borrowed */
        const char *const *warnings;
        size_t nwarnings;
        int retry_after_s; /* details.retryAfterSeconds, 0: none */
};
must_check int admission_encode(const struct admission_request *r,
                                const struct admission_answer *ans, struct buf *b);

#endif
