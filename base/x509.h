/* What a certificate in PEM says of itself. No keys: those are certs/'s. */
#ifndef DROVER_BASE_X509_H
#define DROVER_BASE_X509_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct x509_facts {
        int64_t from_s, until_s; /* seconds since 1970 */
        bool names;              /* it is good for the host */
        bool signed_by;          /* one of the CA's certificates has signed it */
};

/*
 * Of the first certificate of pem; host and ca (PEM, several are fine) may be NULL: then names,
 * signed_by are false. -EINVAL when pem or ca is no certificate.
 */
must_check int x509_look(const char *pem, const char *host, const char *ca, struct x509_facts *out,
                         struct err *e);

#endif
