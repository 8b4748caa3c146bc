/* A synchronous request below the verbs of kube/client.h, for the parts of kube/ that need more. */
#ifndef DROVER_KUBE_REQUEST_H
#define DROVER_KUBE_REQUEST_H

#include "kube/client.h"

struct kube_call {
        const char *method;
        const struct kube_resource *resource;
        const char *ns, *name, *subresource;
        const char *content_type;
        const struct json *body; /* NULL: none */
        int64_t deadline_ms;     /* 0: the client's */
        struct mono until;       /* nothing is sent later, nor waited for; .ns 0: no such limit */
        bool once;               /* no retries */
};
/* As the verbs: *out (may be NULL) is the answer's object. */
must_check int kube_call_run(struct kube_client *c, const struct kube_call *call, struct json **out,
                             struct err *e);

/*
 * GET of a whole URL with retries, its body passed to sink as it comes, on the I/O thread. An
 * answer is passed at most once: after its first byte nothing is retried.
 */
must_check int kube_fetch(struct kube_client *c, const char *url, const char *accept,
                          int (*sink)(void *ctx, const char *data, size_t len, struct err *e),
                          void *ctx, struct err *e);

#endif
