/* The VMs and images that admission looks at: from watches, and by a request where those lag
 * behind. */
#ifndef DROVER_WEBHOOK_CACHE_H
#define DROVER_WEBHOOK_CACHE_H

#include "base/err.h"
#include "core/snapshot.h"
#include "core/vm.h"
#include "kube/client.h"

struct cache;

must_check int cache_start(struct kube_client *client, struct cache **out, struct err *e);
void cache_stop(struct cache *c);
bool cache_synced(const struct cache *c);

/* A handle pod's VM as the pod describes it; uid and placement (a placement_hash) may be "". */
struct vm_sought {
        const char *ns, *name, *uid, *placement;
        bool at_once; /* -EWOULDBLOCK instead of waiting or asking */
};

/*
 * The VM, decoded anew for the caller (vm_free). A VM that the watch has not shown yet is waited
 * for up to two seconds, then asked for. One that the watch shows with another uid or placement
 * than the pod was made for is asked for at once: the migrator, whose watch is another one, may
 * have seen a newer state than ours. -ESRCH when there will never be one: there is another of that
 * name. Other codes when it cannot be told now, -ENOENT when it is not there yet.
 */
must_check int cache_vm(struct cache *c, const struct vm_sought *sought, struct vm **out,
                        struct err *e);

/*
 * Is there such an image? One that the watch does not show is asked for. 0, -ENOENT, other codes
 * when it cannot be told now.
 */
must_check int cache_image(struct cache *c, const char *ns, const char *name, bool at_once,
                           struct err *e);

/*
 * The snapshot, which is asked for (snapshot_free). -ENOENT when there is none, -EWOULDBLOCK when
 * it must not be asked for, other codes when it cannot be told now.
 */
must_check int cache_snapshot(struct cache *c, const char *ns, const char *name, bool at_once,
                              struct snapshot **out, struct err *e);

#endif
