/* Small files whole. */
#ifndef DROVER_BASE_FILE_H
#define DROVER_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the file's contents to b (bounded by b's limit). */
must_check int file_read(const char *path, struct buf *b, struct err *e);
/* Writes through a temporary file in the same directory, fsync and rename. */
must_check int file_write(const char *path, const void *data, size_t len, unsigned mode,
                          struct err *e);

#endif
