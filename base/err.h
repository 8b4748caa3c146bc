/*
 * The one error contract of the project: a fallible function returns 0 or a negative errno value
 * and, on failure, fills `struct err` with a sentence a person understands; each caller may put
 * its own context in front. Outputs are untouched on failure. Library code never logs and never
 * exits: the error travels up to the one place that does.
 */
#ifndef DROVER_BASE_ERR_H
#define DROVER_BASE_ERR_H

#include "base/cleanup.h"

#include <stdarg.h>

#define ERR_MSG_MAX 512

struct err {
        int code;              /* negative errno value; 0 when nothing failed */
        int http;              /* HTTP status where the failure came from an HTTP answer, else 0 */
        char msg[ERR_MSG_MAX]; /* always terminated; cut with "..." when longer */
};

/* Sets *e and returns code (which must be negative). e may be NULL. Clears http. */
int err_set(struct err *e, int code, const char *fmt, ...) printf_like(3, 4);

/* err_set with the text of `-code` from strerror appended after ": ". */
int err_sys(struct err *e, int code, const char *fmt, ...) printf_like(3, 4);

/* Puts "context: " in front of the message and returns e->code (-EIO when e is NULL). */
int err_wrap(struct err *e, const char *fmt, ...) printf_like(2, 3);

#endif
