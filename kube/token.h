/* A bearer token in a file that somebody else rotates. Not thread safe. */
#ifndef DROVER_KUBE_TOKEN_H
#define DROVER_KUBE_TOKEN_H

#include "base/err.h"
#include "base/mono.h"

#include <stdbool.h>

#define KUBE_TOKEN_MAX ((size_t)64 << 10)

struct kube_token {
        char *value; /* NULL before the first read */
        struct mono read_at;
};
void kube_token_free(struct kube_token *t);

/*
 * Makes t->value at most max_age_ms old. When the file cannot be read the old value stays and
 * serves, since the file may be just about to be replaced. *changed (may be NULL) tells whether it
 * is another one than before.
 */
must_check int kube_token_refresh(struct kube_token *t, const char *path, struct mono now,
                                  int64_t max_age_ms, bool *changed, struct err *e);
/* A copy of the token in text without the white space around it; -EINVAL when it cannot be one. */
must_check int kube_token_parse(const char *text, char **out, struct err *e);

#endif
