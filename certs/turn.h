/*
 * When the CA is replaced, as numbered rules over times: trust first, then use, then oblivion.
 *
 *   stage    a new CA is made; it stands in every bundle and signs nothing
 *   trusted  every bundle was seen to hold it: those who read the bundles get the time to settle
 *   switch   it signs from now on; the one before has lost its key, and stays in the bundles
 *   replaced no certificate of the one before is left in a Secret
 *   retire   none can be in use anywhere: it leaves the bundles
 *
 * Each turn is one write of the CA's Secret (certs/authority.h), and what the Secrets hold between
 * any two of them is good for all, for as long as it takes.
 */
#ifndef DROVER_CERTS_TURN_H
#define DROVER_CERTS_TURN_H

#include <stdbool.h>
#include <stdint.h>

enum turn { TURN_NONE, TURN_TRUSTED, TURN_SWITCH, TURN_REPLACED, TURN_RETIRE, TURN_STAGE };

/* Times are seconds since 1970; 0 is never. A wish for a time that is yet to come waits for it. */
struct turn_facts {
        int64_t now_s;
        int64_t settle_s; /* how long those who read a bundle may take to see its change */
        int64_t leaf_s;   /* the longest life of a leaf */

        int64_t issued_s; /* the CA in use */
        bool ageing, expired;
        bool renewable; /* ours to replace: not signed by another CA */

        bool staged; /* there is a next CA */
        int64_t trusted_s;

        bool former; /* there are CAs that were in use before */
        bool full;   /* as many as there may be */
        int64_t replaced_s;

        int64_t renew_s;  /* wish: a CA issued before is to be replaced */
        int64_t retire_s; /* wish: those that were replaced before are not used any more */
};
/* The first rule that holds; *why is its clause for the log. */
enum turn turn_next(const struct turn_facts *f, const char **why);

/* A wish that something issued then be renewed. */
static inline bool turn_wished(int64_t issued_s, int64_t wish_s, int64_t now_s)
{
        return wish_s <= now_s && issued_s < wish_s;
}

#endif
