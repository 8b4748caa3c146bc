/* The VMs and images that admission looks at: from watches, and by a request where those lag
 * behind. */
#ifndef DROVER_WEBHOOK_CACHE_H
#define DROVER_WEBHOOK_CACHE_H

#include "base/err.h"
#include "core/vm.h"
#include "kube/client.h"

struct cache;

must_check int cache_start(struct kube_client *client, struct cache **out, struct err *e);
void cache_stop(struct cache *c);
bool cache_synced(const struct cache *c);

/*
 * The VM, decoded anew for the caller (vm_free). A VM that the watch has not shown yet is waited
 * for up to two seconds, then asked for. -ENOENT when there is none, other codes when it cannot be
 * told now.
 */
must_check int cache_vm(struct cache *c, const char *ns, const char *name, struct vm **out,
                        struct err *e);

/* Is there such an image? When it cannot be told, yes: the agent will say at the start of the VM.
 */
bool cache_image(struct cache *c, const char *ns, const char *name);

#endif
