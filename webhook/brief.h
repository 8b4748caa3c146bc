/*
 * A VM in brief, for a cache of very many: what the admission of its pods looks at (name,
 * placement, disks, CPU, owner, shape), as JSON text; what VMs have in common is kept once
 * (webhook/texts.h), so that one takes some 300 bytes where a struct vm takes several times that.
 */
#ifndef DROVER_WEBHOOK_BRIEF_H
#define DROVER_WEBHOOK_BRIEF_H

#include "base/json.h"
#include "core/vm.h"

struct brief;

/* -ENOMEM, -E2BIG for a part of more than a MiB. */
must_check int brief_new(const struct json *vm, struct brief **out, struct err *e);
void brief_free(struct brief *b); /* NULL is fine */

/* The VM, without what is not kept; the caller frees it by vm_free. */
must_check int brief_decode(const struct brief *b, struct vm **out, struct err *e);

#endif
