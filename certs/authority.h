/*
 * The CAs, as the Secret drover-ca-key holds them; it alone says how far a rotation has come.
 *
 *   ca.key, ca.crt      signs
 *   next.key, next.crt  is trusted and will sign; an administrator may put one of his own there
 *   previous.crt        signed before, newest first; trusted, its key is gone
 *   cross.crt           the CA in use, signed by the one before, and so on back: goes with each
 *                       serving certificate, for clients that read their CA file only once
 *
 * The annotations drover.dev/next-trusted and drover.dev/previous-replaced hold the times at which
 * that was seen to be so.
 */
#ifndef DROVER_CERTS_AUTHORITY_H
#define DROVER_CERTS_AUTHORITY_H

#include "base/json.h"
#include "certs/pki.h"
#include "certs/turn.h"

#define AUTHORITY_FORMER_MAX                                                                       \
        4 /* CAs that were in use before; as many cross-signed certificates                        \
           */

struct authority {
        struct pki_ca ca, next; /* next.cert NULL: none */
        struct pki_certs former, cross;
        int64_t trusted_s, replaced_s; /* 0: not yet */
};
void authority_free(struct authority *a);

/* *out is untouched on failure. */
must_check int authority_read(const struct json *secret, struct authority *out, struct err *e);
/* All that are to be trusted, the one in use first; those that have expired are left out. */
must_check int authority_bundle(const struct authority *a, int64_t now_s, struct buf *b,
                                struct err *e);
/* What goes with a serving certificate. */
must_check int authority_chain(const struct authority *a, int64_t now_s, struct buf *b,
                               struct err *e);
/* A CA that signs from now on: written into the draft, which has none. */
must_check int authority_begin(struct json *draft, int64_t now_s, int64_t days,
                               const struct pki_certs *former, struct err *e);
/* The Secret (NULL: none) says that the next CA is trusted everywhere. */
bool authority_trusted(const struct json *secret);
/* From now on it does not. False when out of memory. */
bool authority_distrust(struct json *draft);
/* Makes the turn in the draft, which is a copy of what `a` was read from. */
must_check int authority_turn(const struct authority *a, enum turn turn, int64_t now_s,
                              int64_t days, struct json *draft, struct err *e);

#endif
