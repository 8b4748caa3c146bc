/*
 * Wire types to core's plain data and back. A decoder makes an arena of its own (bounded by
 * API_ARENA_MAX) for the object; the free function takes `void *` so that it fits
 * kube_store_type.free. Decoders are strict about JSON types (a string where a number belongs is an
 * error naming the field's path) and lenient about values: what is merely wrong is for admission to
 * refuse, a decoder keeps it visible (OP_BAD, RUN_BAD ...). Unknown members are ignored.
 * Memory and disk sizes are Kubernetes quantities.
 */
#ifndef DROVER_API_CODEC_H
#define DROVER_API_CODEC_H

#include "base/err.h"
#include "base/json.h"
#include "core/claim.h"
#include "core/host.h"
#include "core/image.h"
#include "core/migration.h"
#include "core/node.h"
#include "core/snapshot.h"
#include "core/vm.h"
#include "core/wishes.h"

#define API_ARENA_MAX ((size_t)16 << 20)

must_check int vm_decode(const struct json *j, struct vm **out, struct err *e);
void vm_free(void *vm);
/* The part of a VM's placement that vm_decode leaves as text; vm is the whole object. */
must_check int wishes_decode(const struct json *vm, struct wishes **out, struct err *e);
void wishes_free(struct wishes *w);
must_check int node_decode(const struct json *j, struct node **out, struct err *e);
void node_free(void *node);
must_check int pod_decode(const struct json *j, struct pod **out, struct err *e);
void pod_free(void *pod);
must_check int host_decode(const struct json *j, struct host **out, struct err *e);
void host_free(void *host);
must_check int migration_decode(const struct json *j, struct migration **out, struct err *e);
void migration_free(void *migration);
must_check int image_decode(const struct json *j, struct image **out, struct err *e);
void image_free(void *image);
must_check int claim_decode(const struct json *j, struct claim **out, struct err *e);
void claim_free(void *claim);
must_check int snapshot_decode(const struct json *j, struct snapshot **out, struct err *e);
void snapshot_free(void *snapshot);

/* The same with the signature of kube_store_type.decode. */
must_check int vm_decode_any(const struct json *j, void **out, struct err *e);
must_check int node_decode_any(const struct json *j, void **out, struct err *e);
must_check int pod_decode_any(const struct json *j, void **out, struct err *e);
must_check int host_decode_any(const struct json *j, void **out, struct err *e);
must_check int migration_decode_any(const struct json *j, void **out, struct err *e);
must_check int image_decode_any(const struct json *j, void **out, struct err *e);
must_check int claim_decode_any(const struct json *j, void **out, struct err *e);
must_check int snapshot_decode_any(const struct json *j, void **out, struct err *e);

/*
 * Decode only the parts that stand in other objects too, into the caller's arena. obj is the whole
 * object that has metadata; path goes into error messages.
 */
must_check int meta_decode(struct arena *a, const struct json *obj, struct meta *out,
                           struct err *e);
must_check int node_selector_decode(struct arena *a, const struct json *j, const char *path,
                                    struct node_selector *out, struct err *e);
must_check int conditions_decode(struct arena *a, const struct json *arr, const char *path,
                                 struct conditions *out, struct err *e);

/* Encoders return a new tree or NULL when out of memory. */
struct json *node_selector_encode(const struct node_selector *s); /* {"nodeSelectorTerms": [...]} */
struct json *vm_status_encode(const struct vm *vm); /* the whole status object, {} parts included */
struct json *host_status_encode(const struct host *h);
struct json *migration_status_encode(const struct migration *m); /* without transfer */
struct json *transfer_encode(const struct transfer *t);
/* A migration to be created, owned by the VM, and held by the finalizer of its journal. */
struct json *migration_encode(const struct vm *vm, const char *name, enum mig_reason reason);
struct json *conditions_encode(const struct conditions *c);
struct json *image_status_encode(const struct image *i); /* without progress */
struct json *image_progress_encode(const struct image_progress *p);
struct json *snapshot_status_encode(const struct snapshot *s); /* without progress */
struct json *snap_progress_encode(const struct snap_progress *p);

/* Kubernetes resource.Quantity, rounded up to whole units: "512Mi", "2G", "1.5Gi", "100m" (-> 1).
 */
must_check int quantity_parse(const char *text, int64_t *out);

#endif
