/*
 * What the agent knows of the guests on its node: the domains as last read from libvirt, and what
 * it has to say of VMs that it owns and could not start. Everyone reads the table, never libvirt,
 * so that one domain that libvirt is stuck on holds nobody up. Thread safe; values are copied in
 * and out.
 */
#ifndef DROVER_AGENT_TABLE_H
#define DROVER_AGENT_TABLE_H

#include "agent/domain.h"
#include "core/claim.h"

struct table;

/* The notice of a VM that this node owns, that is to be halted, and whose domain is gone. */
#define TABLE_HALTED "halted"
/* ... that is to be deleted, and whose disks are gone as well. */
#define TABLE_ERASED "erased"

struct table_entry {
        struct domain_facts facts; /* known false: only uuid and meta's namespace, name and epoch */
        bool known;                /* libvirt has such a domain */
        char notice[256];          /* why the VM could not be started, "" */
        char addresses[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE];
        size_t naddresses;
        enum sharing claims; /* of a VM that has some: whether other nodes may mount them */
        char claims_reason[CLAIM_MESSAGE_MAX]; /* why not, "" */
};

struct table *table_new(void);
void table_free(struct table *t);

/* Each returns true when something changed that is worth publishing. */
bool table_put(struct table *t, const struct domain_facts *f);
bool table_drop(struct table *t, const char *uuid); /* libvirt has it no more; a notice stays */
/* text "": no notice any more. */
bool table_notice(struct table *t, const char *uuid, const char *ns, const char *name,
                  int64_t epoch, const char *text);
bool table_addresses(struct table *t, const char *uuid,
                     char addresses[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE], size_t n);

bool table_claims(struct table *t, const char *uuid, enum sharing claims, const char *reason);

bool table_get(struct table *t, const char *uuid, struct table_entry *out);
/* A copy of all entries, sorted by uuid, to be freed; NULL with *n == 0 when there are none, or no
 * memory. */
struct table_entry *table_all(struct table *t, size_t *n);
/* The entries of that VM name, as table_all: at most one unless a VM was made anew under its name.
 */
struct table_entry *table_of(struct table *t, const char *ns, const char *name, size_t *n);

#endif
