/* Secrets as JSON: their values, decoded and not, and times in annotations. */
#ifndef DROVER_CERTS_SECRET_H
#define DROVER_CERTS_SECRET_H

#include "base/json.h"
#include "certs/pki.h"

/* What stands under the key, decoded; -ENOENT with a reason when nothing or nothing sound does. */
must_check int secret_value(const struct json *secret, const char *key, struct secret_text *out,
                            struct err *e);
bool secret_has(const struct json *secret, const char *key);
/* Replaces or adds a value; false when out of memory. */
bool secret_set(struct json *secret, const char *key, const char *text);
/* Sets a key and its certificate, as PEM; chain (may be NULL) follows the certificate. */
must_check int secret_set_pair(struct json *secret, const char *key_name, const EVP_PKEY *key,
                               const char *cert_name, const X509 *cert, const struct buf *chain,
                               struct err *e);
void secret_unset(struct json *secret, const char *key);
/* The value of `from` becomes that of `to`, as it stands. */
bool secret_move(struct json *secret, const char *from, const char *to);
must_check int secret_encode(const char *text, struct secret_text *out, struct err *e);

/* The object to be changed: a copy of what there is, or a new one; NULL when out of memory. */
struct json *secret_draft(const struct json *current, const char *ns, const char *name,
                          const char *type);
/* Overwrites the values before they are freed. */
void secret_wipe(struct json *secret);
static inline void cleanup_secret(struct json **secret)
{
        secret_wipe(*secret);
        json_free(*secret);
}
#define autosecretjson cleanup(cleanup_secret)

/* Seconds since 1970; 0 when there is no such annotation, -EINVAL when it is no time. */
must_check int secret_time(const struct json *secret, const char *annotation, int64_t *out,
                           struct err *e);
/* 0 removes it; false when out of memory. */
bool secret_set_time(struct json *secret, const char *annotation, int64_t s);

#endif
