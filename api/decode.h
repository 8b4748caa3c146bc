/*
 * What all decoders share: places in a document, for error messages with a path, and typed reads
 * that remember the first failure, so that a decoder reads field after field and checks once. After
 * a failure the reads return defaults and change nothing.
 */
#ifndef DROVER_API_DECODE_H
#define DROVER_API_DECODE_H

#include "api/codec.h"

struct dec {
        struct arena *a;
        size_t limit; /* of a, to tell an object too large from exhausted memory; 0: unknown */
        struct err *e;
        int rc; /* 0, or the first failure */
};

/* A value in the document: a member `key` of up, or its element `index` where key is NULL. */
struct at {
        const struct json *j; /* NULL when absent (a null counts as absent) */
        const struct at *up;  /* NULL at the root, whose key is then a prefix for paths ("" none) */
        const char *key;
        size_t index;
};

/* Fails with "PATH: what". */
void dec_fail(struct dec *d, const struct at *at, const char *what);

/* The member with its type checked; .j is NULL when absent. */
struct at dec_object(struct dec *d, const struct at *up, const char *key);
struct at dec_array(struct dec *d, const struct at *up, const char *key);

/* dflt when absent. Strings are in the arena, or shared constants where common. */
const char *dec_str(struct dec *d, const struct at *up, const char *key, const char *dflt);
int64_t dec_int(struct dec *d, const struct at *up, const char *key, int64_t dflt);
bool dec_bool(struct dec *d, const struct at *up, const char *key, bool dflt);
int64_t dec_quantity(struct dec *d, const struct at *up, const char *key); /* 0 when absent */
int64_t dec_time(struct dec *d, const struct at *up,
                 const char *key); /* us; 0: absent or no time */
struct strs dec_strs(struct dec *d, const struct at *up, const char *key);
struct kvs dec_kvs(struct dec *d, const struct at *up, const char *key);
/* The member as text, "" when absent. */
const char *dec_text(struct dec *d, const struct at *up, const char *key);
void dec_meta(struct dec *d, const struct at *object, struct meta *out);
struct refusals dec_refusals(struct dec *d, const struct at *up, const char *key);
void dec_conditions(struct dec *d, const struct at *up, const char *key, struct conditions *out);
/* at is the NodeSelectorTerm, or the NodeSelector, itself. */
void dec_selector_term(struct dec *d, const struct at *at, struct selector_term *out);
void dec_node_selector(struct dec *d, const struct at *at, struct node_selector *out);
void dec_label_selector(struct dec *d, const struct at *up, const char *key,
                        struct label_selector *out);

/* Zeroed memory for n elements; NULL after a failure (or when n is 0). */
void *dec_alloc(struct dec *d, size_t n, size_t size);
/* Checks that an element of an array is an object. */
void dec_element(struct dec *d, const struct at *element);

/* Starts a decoder with an arena of its own: the object's struct in it, NULL on failure. */
void *dec_begin(struct dec *d, const struct json *j, size_t size, struct at *root, struct err *e);
/* The decoder's code. Hands obj out, or releases the arena after a failure. */
#define dec_end(d, obj, out) (dec_finish(d) < 0 ? (d)->rc : (*(out) = (obj), 0))
int dec_finish(struct dec *d);

/* for each element `el` of the array place `arr`, while nothing has failed. */
#define dec_each(d, arr, el)                                                                       \
        for (struct at el = {json_first((arr)->j), (arr), NULL, 0}; el.j && (d)->rc == 0;          \
             el.j = json_next(el.j), el.index++)

#endif
