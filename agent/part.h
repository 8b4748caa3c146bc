/*
 * A file that is being fetched: FOLDER/UID.EPOCH.part, with a note beside it
 * (FOLDER/UID.EPOCH.note) of how much of it is on disk for certain and which version of the remote
 * file that is of. Whatever kills us, the next one goes on from there: what lies beyond may be
 * holes. Each importer's epoch has a part of its own, since one who is cut off may go on writing; a
 * new one begins with a copy of what the others have.
 */
#ifndef DROVER_AGENT_PART_H
#define DROVER_AGENT_PART_H

#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PART_VALIDATOR_MAX 256
#define PART_SHA256_SIZE   65

struct part {
        char path[PATH_MAX], note[PATH_MAX];
        int fd;
        int64_t size;   /* bytes that it holds */
        int64_t synced; /* of these, noted */
        int64_t total;  /* of the remote file, 0: unknown */
        /* of the remote file, as an If-Range wants it: an ETag or a Last-Modified, "": none */
        char validator[PART_VALIDATOR_MAX];
        bool patched; /* put together from several answers */
};

/* Opens the part of that epoch, which has then what is noted; it takes over another's when it is
 * new. The folder must be there. */
must_check int part_open(const char *folder, const char *uid, int64_t epoch, struct part *out,
                         struct err *e);
void part_close(struct part *p);

/* Another version of the remote file: from its first byte. */
must_check int part_restart(struct part *p, const char *validator, int64_t total, struct err *e);
must_check int part_append(struct part *p, const void *data, size_t len, struct err *e);
/* What it holds is on disk, and is noted. */
must_check int part_sync(struct part *p, struct err *e);
/* Reads all of it back; told (may be NULL) is called now and then. */
must_check int part_sha256(const struct part *p, void (*told)(void *ctx, int64_t done), void *ctx,
                           char out[PART_SHA256_SIZE], struct err *e);
/* Closes and removes it and its note. */
void part_drop(struct part *p);

#endif
