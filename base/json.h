/*
 * JSON, with cJSON kept behind this one layer (never cJSON_Utils or cJSON_Compare). A parsed
 * document has a size cap and a depth cap; integers beyond 2^53 in a document are refused where
 * they are read as integers. A `struct json` is a node of a tree; only the root is owned and freed.
 * Getters are total: on a NULL node, a missing member or another type they return the given
 * default, so that an optional field needs no ceremony; api/ checks the required ones.
 */
#ifndef DROVER_BASE_JSON_H
#define DROVER_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define JSON_DEPTH_MAX  64
#define JSON_VALUES_MAX (1 << 18) /* in a tree: it takes many times the room of its text */

struct json;

enum json_type {
        JSON_NONE,
        JSON_NULL,
        JSON_BOOL,
        JSON_NUMBER,
        JSON_STRING,
        JSON_ARRAY,
        JSON_OBJECT
};

/*
 * Parses one document (surrounding white space allowed, trailing bytes are not). -EINVAL with the
 * byte offset for bad JSON, a NUL byte or text that is not UTF-8, -E2BIG past `max` bytes,
 * JSON_DEPTH_MAX levels or JSON_VALUES_MAX values, -ENOMEM.
 */
must_check int json_parse(const char *text, size_t len, size_t max, struct json **out,
                          struct err *e);
void json_free(struct json *j);
static inline void cleanup_json(struct json **j)
{
        json_free(*j);
}
#define autojson cleanup(cleanup_json)

enum json_type json_type(const struct json *j); /* JSON_NONE for NULL */
const struct json *json_get(const struct json *obj, const char *key);
/* Walks members: json_path(j, "spec", "template", NULL). */
const struct json *json_path(const struct json *obj, ...) __attribute__((sentinel));

const char *json_str(const struct json *obj, const char *key, const char *dflt);
int64_t json_int(const struct json *obj, const char *key, int64_t dflt);
bool json_bool(const struct json *obj, const char *key, bool dflt);
/* The node's own value. */
const char *json_string(const struct json *j);        /* NULL unless a string */
bool json_to_int(const struct json *j, int64_t *out); /* false unless an integer below 2^53 */
bool json_to_num(const struct json *j, double *out);  /* false unless a finite number */
bool json_is_true(const struct json *j);              /* the literal true and nothing else */

size_t json_count(const struct json *j); /* members or elements, 0 for others */
/* for (const struct json *c = json_first(j); c; c = json_next(c)) — array elements or members. */
const struct json *json_first(const struct json *j);
const struct json *json_next(const struct json *c);
const char *json_key(const struct json *c); /* a member's name, NULL for an array element */

/* Building. The new_ functions return NULL when out of memory. */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(const char *s);
/* Written exactly, even where json_to_int would not read it. */
struct json *json_new_int(int64_t v);
struct json *json_new_num(double v);
struct json *json_new_bool(bool v);
struct json *json_new_null(void);
struct json *json_clone(const struct json *j);

/*
 * Takes ownership of v in any case (frees it on failure); v == NULL counts as a failure. Replaces
 * an existing member. Returns v (for chaining) or NULL. So that a long construction is checked
 * once, every adder accepts a NULL parent (and then fails), and failure marks nothing else.
 */
struct json *json_set(struct json *obj, const char *key, struct json *v);
struct json *json_add(struct json *arr, struct json *v);
/* NULL s: not set, returns obj. */
struct json *json_set_str(struct json *obj, const char *key, const char *s);
struct json *json_set_int(struct json *obj, const char *key, int64_t v);
struct json *json_set_bool(struct json *obj, const char *key, bool v);
/* The member, made as {} or [] when absent. */
struct json *json_object_at(struct json *obj, const char *key);
struct json *json_array_at(struct json *obj, const char *key);
void json_remove(struct json *obj, const char *key);
/* Writable view of a member or element, for trees the caller owns. */
struct json *json_mut(struct json *obj, const char *key);
struct json *json_mut_at(struct json *arr, size_t i); /* NULL past the end */

/* Appends s as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
int json_quote(struct buf *b, const char *s);
/* Compact text appended to b: 0 or the buffer's error. */
int json_print(const struct json *j, struct buf *b);
/* Compact text as an arena string, NULL when out of memory. */
char *json_text(const struct json *j, struct arena *a);
/* Own comparison, members in any order. */
bool json_equal(const struct json *a, const struct json *b);

/*
 * The merge patch (RFC 7386) that turns the object `from` into `to`: an empty object when they are
 * equal, NULL when out of memory. Arrays are replaced whole.
 */
struct json *json_merge_diff(const struct json *from, const struct json *to);

#endif
