/*
 * Command line and environment of a program, as one table: `--name VALUE` or `--name=VALUE` wins
 * over the environment, which wins over the value that the variable had before.
 */
#ifndef DROVER_BASE_OPTIONS_H
#define DROVER_BASE_OPTIONS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_MAX 48

/* One of text, number and flag says where the value goes. */
struct option_row {
        const char *name;  /* "port" */
        const char *env;   /* "DROVER_PORT" or NULL; an empty variable counts as not set */
        const char *value; /* what stands for the value in the help text: "PORT" */
        const char *help;
        const char **text;
        int64_t *number;
        int64_t min, max; /* of number, both inclusive */
        bool *flag;       /* --name takes no value; in the environment "true", "1", "false", "0" */
};

#define OPTION_TEXT(n, e, v, h, var)                                                               \
        {                                                                                          \
                .name = (n), .env = (e), .value = (v), .help = (h), .text = (var)                  \
        }
#define OPTION_NUMBER(n, e, v, h, var, least, most)                                                \
        {                                                                                          \
                .name = (n), .env = (e), .value = (v), .help = (h), .number = (var),               \
                .min = (least), .max = (most)                                                      \
        }
#define OPTION_FLAG(n, e, h, var)                                                                  \
        {                                                                                          \
                .name = (n), .env = (e), .help = (h), .flag = (var)                                \
        }

/*
 * 0, or 1 when --help was asked for (nothing was set then), or -EINVAL with a sentence that names
 * the flag or the variable. *operands (may be NULL: then none are allowed) becomes the index of the
 * first word that is no option. Texts point into argv and the environment.
 */
must_check int options_parse(int argc, char **argv, const struct option_row *rows, size_t n,
                             int *operands, struct err *e);

/* Usage: `usage` is the first line ("drover-extender [FLAGS]"), `about` a sentence or more. */
int options_help(struct buf *b, const char *usage, const char *about, const struct option_row *rows,
                 size_t n);

#endif
