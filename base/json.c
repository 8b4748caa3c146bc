/* Trees: parsing, reading and building. The only file that knows cJSON; a struct json is its node.
 */
#include "base/json.h"

#include "base/json_scan.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define INT_BOUND 9007199254740992.0 /* 2^53, which 2^53 + 1 would be rounded to */

static cJSON *node(const struct json *j)
{
        return (cJSON *)(uintptr_t)j;
}

static struct json *json(cJSON *c)
{
        return (struct json *)c;
}

/* json_scan judges the text: cJSON is lax about depth, numbers, escapes, control characters, UTF-8.
 */
static int check(const char *text, size_t len, size_t max, struct err *e)
{
        struct json_scan s;

        json_scan_begin(&s, text, len, max, e);
        json_scan_value(&s);
        if (json_scan_end(&s) == 0 && s.values > JSON_VALUES_MAX)
                return err_set(e, -E2BIG, "JSON of %zu values, at most %d allowed", s.values,
                               JSON_VALUES_MAX);
        return s.rc;
}

int json_parse(const char *text, size_t len, size_t max, struct json **out, struct err *e)
{
        const char *end = NULL;
        int rc = check(text, len, max, e);

        if (rc < 0)
                return rc;
        errno = 0; /* cJSON does not tell a failed malloc from bad text, malloc does */
        struct json *j = json(cJSON_ParseWithLengthOpts(text, len, &end, false));
        if (!j && errno == ENOMEM)
                return err_sys(e, -ENOMEM, "parse JSON");
        while (j && end < text + len && (unsigned char)*end <= ' ')
                end++;
        if (!j || end < text + len) { /* which cJSON cuts */
                json_free(j);
                return err_set(e, -EINVAL, "JSON with a number of more than 63 characters");
        }
        *out = j;
        return 0;
}

void json_free(struct json *j)
{
        cJSON_Delete(node(j));
}

enum json_type json_type(const struct json *j)
{
        if (!j)
                return JSON_NONE;
        switch (node(j)->type & 0xFF) {
        case cJSON_NULL:
                return JSON_NULL;
        case cJSON_False:
        case cJSON_True:
                return JSON_BOOL;
        case cJSON_Number:
        case cJSON_Raw: /* of json_new_int */
                return JSON_NUMBER;
        case cJSON_String:
                return JSON_STRING;
        case cJSON_Array:
                return JSON_ARRAY;
        case cJSON_Object:
                return JSON_OBJECT;
        default:
                return JSON_NONE;
        }
}

const struct json *json_get(const struct json *obj, const char *key)
{
        if (json_type(obj) != JSON_OBJECT)
                return NULL;
        return json(cJSON_GetObjectItemCaseSensitive(node(obj), key));
}

struct json *json_mut(struct json *obj, const char *key)
{
        return json(node(json_get(obj, key)));
}

struct json *json_mut_at(struct json *arr, size_t i)
{
        const struct json *c = json_first(arr);

        while (c && i--)
                c = json_next(c);
        return json(node(c));
}

const struct json *json_path(const struct json *obj, ...)
{
        const char *key;
        va_list ap;

        va_start(ap, obj);
        while (obj && (key = va_arg(ap, const char *)))
                obj = json_get(obj, key);
        va_end(ap);
        return obj;
}

const char *json_string(const struct json *j)
{
        return json_type(j) == JSON_STRING ? node(j)->valuestring : NULL;
}

bool json_to_num(const struct json *j, double *out)
{
        if (json_type(j) != JSON_NUMBER)
                return false;
        double v = cJSON_IsRaw(node(j)) ? strtod(node(j)->valuestring, NULL) : node(j)->valuedouble;
        if (!isfinite(v))
                return false;
        *out = v;
        return true;
}

bool json_to_int(const struct json *j, int64_t *out)
{
        double v;

        if (!json_to_num(j, &v) || fabs(v) >= INT_BOUND || v != trunc(v))
                return false;
        *out = (int64_t)v;
        return true;
}

bool json_is_true(const struct json *j)
{
        return cJSON_IsTrue(node(j));
}

const char *json_str(const struct json *obj, const char *key, const char *dflt)
{
        const char *s = json_string(json_get(obj, key));

        return s ? s : dflt;
}

int64_t json_int(const struct json *obj, const char *key, int64_t dflt)
{
        int64_t v = dflt;

        json_to_int(json_get(obj, key), &v);
        return v;
}

bool json_bool(const struct json *obj, const char *key, bool dflt)
{
        const struct json *j = json_get(obj, key);

        return json_type(j) == JSON_BOOL ? json_is_true(j) : dflt;
}

size_t json_count(const struct json *j)
{
        size_t n = 0;

        for (const struct json *c = json_first(j); c; c = json_next(c))
                n++;
        return n;
}

const struct json *json_first(const struct json *j)
{
        return j ? json(node(j)->child) : NULL;
}

const struct json *json_next(const struct json *c)
{
        return c ? json(node(c)->next) : NULL;
}

const char *json_key(const struct json *c)
{
        return c ? node(c)->string : NULL;
}

struct json *json_new_object(void)
{
        return json(cJSON_CreateObject());
}

struct json *json_new_array(void)
{
        return json(cJSON_CreateArray());
}

struct json *json_new_string(const char *s)
{
        return json(cJSON_CreateString(s));
}

struct json *json_new_num(double v)
{
        return json(cJSON_CreateNumber(v));
}

/* One that a double cannot hold is kept as its digits. */
struct json *json_new_int(int64_t v)
{
        char digits[24];

        if (fabs((double)v) < INT_BOUND)
                return json_new_num((double)v);
        snprintf(digits, sizeof(digits), "%" PRId64, v);
        return json(cJSON_CreateRaw(digits));
}

struct json *json_new_bool(bool v)
{
        return json(cJSON_CreateBool(v));
}

struct json *json_new_null(void)
{
        return json(cJSON_CreateNull());
}

struct json *json_clone(const struct json *j)
{
        return json(cJSON_Duplicate(node(j), true));
}

/* v takes the place and the key of old, which is freed; needs no memory. */
static void replace(struct json *obj, cJSON *old, cJSON *v)
{
        cJSON_free(v->string);
        v->string = old->string;
        old->string = NULL;
        cJSON_ReplaceItemViaPointer(node(obj), old, v);
}

struct json *json_set(struct json *obj, const char *key, struct json *v)
{
        cJSON *old = node(json_get(obj, key));

        if (v && old) {
                replace(obj, old, node(v));
                return v;
        }
        if (v && json_type(obj) == JSON_OBJECT && cJSON_AddItemToObject(node(obj), key, node(v)))
                return v;
        json_free(v);
        return NULL;
}

struct json *json_add(struct json *arr, struct json *v)
{
        if (v && json_type(arr) == JSON_ARRAY && cJSON_AddItemToArray(node(arr), node(v)))
                return v;
        json_free(v);
        return NULL;
}

struct json *json_set_str(struct json *obj, const char *key, const char *s)
{
        return s ? json_set(obj, key, json_new_string(s)) : obj;
}

struct json *json_set_int(struct json *obj, const char *key, int64_t v)
{
        return json_set(obj, key, json_new_int(v));
}

struct json *json_set_bool(struct json *obj, const char *key, bool v)
{
        return json_set(obj, key, json_new_bool(v));
}

/* A null, as Go writes an empty slice or map, counts as absent. */
static struct json *member_at(struct json *obj, const char *key, enum json_type type)
{
        struct json *j = json_mut(obj, key);

        if (json_type(j) == type)
                return j;
        if (json_type(j) != JSON_NONE && json_type(j) != JSON_NULL)
                return NULL;
        return json_set(obj, key, type == JSON_OBJECT ? json_new_object() : json_new_array());
}

struct json *json_object_at(struct json *obj, const char *key)
{
        return member_at(obj, key, JSON_OBJECT);
}

struct json *json_array_at(struct json *obj, const char *key)
{
        return member_at(obj, key, JSON_ARRAY);
}

void json_remove(struct json *obj, const char *key)
{
        if (json_type(obj) == JSON_OBJECT)
                cJSON_DeleteItemFromObjectCaseSensitive(node(obj), key);
}

static int print_number(const struct json *j, struct buf *b)
{
        double v;

        if (cJSON_IsRaw(node(j)))
                return buf_adds(b, node(j)->valuestring);
        if (!json_to_num(j, &v)) /* JSON has no word for infinity */
                return buf_adds(b, "null");
        if (fabs(v) < INT_BOUND && v == trunc(v))
                return buf_addf(b, "%" PRId64, (int64_t)v);
        return buf_add_num(b, v);
}

int json_print(const struct json *j, struct buf *b)
{
        switch (json_type(j)) {
        case JSON_BOOL:
                return buf_adds(b, json_is_true(j) ? "true" : "false");
        case JSON_NUMBER:
                return print_number(j, b);
        case JSON_STRING:
                return json_quote(b, json_string(j));
        case JSON_ARRAY:
        case JSON_OBJECT:
                break;
        default:
                return buf_adds(b, "null");
        }
        bool object = json_type(j) == JSON_OBJECT;
        buf_add(b, object ? "{" : "[", 1);
        for (const struct json *c = json_first(j); c; c = json_next(c)) {
                if (c != json_first(j))
                        buf_add(b, ",", 1);
                if (object) {
                        json_quote(b, json_key(c));
                        buf_add(b, ":", 1);
                }
                if (json_print(c, b) < 0)
                        break;
        }
        return buf_add(b, object ? "}" : "]", 1);
}
