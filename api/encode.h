/* What all encoders share: a tree being built, whose first failure sticks until the end. */
#ifndef DROVER_API_ENCODE_H
#define DROVER_API_ENCODE_H

#include "api/codec.h"

struct enc {
        struct json *root;
        bool failed;
};

struct enc enc_begin(void);
/* The tree, or NULL (and nothing left behind) when a step failed. */
struct json *enc_end(struct enc *e);

/* Objects and arrays are members of `in` (which may be NULL after a failure). */
struct json *enc_object(struct enc *e, struct json *in, const char *key);
struct json *enc_array(struct enc *e, struct json *in, const char *key);
/* A new object at the end of an array. */
struct json *enc_element(struct enc *e, struct json *arr);
void enc_str(struct enc *e, struct json *in, const char *key, const char *value);
void enc_int(struct enc *e, struct json *in, const char *key, int64_t value);
void enc_bool(struct enc *e, struct json *in, const char *key, bool value);
/* Left out when 0. */
void enc_time(struct enc *e, struct json *in, const char *key, int64_t us);
void enc_strs(struct enc *e, struct json *in, const char *key, const struct strs *values);
/* An object that is empty when there were none. */
void enc_refusals(struct enc *e, struct json *in, const char *key, const struct refusals *r);
void enc_conditions(struct enc *e, struct json *in, const char *key, const struct conditions *c);

#endif
