#include "api/admission.h"

#include "api/decode.h"

#include <errno.h>
#include <string.h>

#define REVIEW_VERSION "admission.k8s.io/v1"
#define PATCH_MAX      ((size_t)4 << 20)

static void decode_request(struct dec *d, const struct at *at, struct admission_request *r)
{
        struct at kind = dec_object(d, at, "kind");
        struct at resource = dec_object(d, at, "resource");
        struct at user = dec_object(d, at, "userInfo");
        struct at object = dec_object(d, at, "object");
        struct at old = dec_object(d, at, "oldObject");

        r->uid = dec_str(d, at, "uid", "");
        r->operation = dec_str(d, at, "operation", "");
        r->kind = dec_str(d, &kind, "kind", "");
        r->resource = dec_str(d, &resource, "resource", "");
        r->subresource = dec_str(d, at, "subResource", "");
        r->ns = dec_str(d, at, "namespace", "");
        r->name = dec_str(d, at, "name", "");
        r->user = dec_str(d, &user, "username", "");
        r->groups = dec_strs(d, &user, "groups");
        r->dry_run = dec_bool(d, at, "dryRun", false);
        r->object = object.j;
        r->old_object = old.j;
        if (!*r->uid)
                dec_fail(d, &(struct at){NULL, at, "uid", 0}, "missing");
}

/* r->tree is a whole document; the strings are in r->arena. */
static int decode_review(struct admission_request *r, struct err *e)
{
        struct at root = {.j = r->tree, .key = ""};
        struct dec d = {.a = r->arena, .limit = API_ARENA_MAX, .e = e};

        if (json_type(root.j) != JSON_OBJECT)
                dec_fail(&d, &root, "not an object");
        if (strcmp(dec_str(&d, &root, "kind", ""), "AdmissionReview") != 0)
                dec_fail(&d, &root, "not an AdmissionReview");
        if (strcmp(dec_str(&d, &root, "apiVersion", ""), REVIEW_VERSION) != 0)
                dec_fail(&d, &(struct at){NULL, &root, "apiVersion", 0}, "not " REVIEW_VERSION);
        struct at request = dec_object(&d, &root, "request");
        if (!request.j)
                dec_fail(&d, &request, "missing");
        else
                decode_request(&d, &request, r);
        return d.rc;
}

int admission_decode(const char *body, size_t len, size_t max, struct admission_request *out,
                     struct err *e)
{
        struct admission_request r = {0};

        int rc = json_parse(body, len, max, &r.tree, e);
        if (rc < 0)
                return rc;
        r.arena = arena_new(API_ARENA_MAX);
        rc = r.arena ? decode_review(&r, e) : err_set(e, -ENOMEM, "out of memory");
        if (rc < 0)
                admission_free(&r);
        else
                *out = r;
        return rc;
}

void admission_free(struct admission_request *r)
{
        arena_free(r->arena);
        json_free(r->tree);
        *r = (struct admission_request){0};
}

static int add_base64(struct buf *b, const char *data, size_t len)
{
        static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789+/";

        for (size_t i = 0; i < len; i += 3) {
                size_t left = len - i;
                unsigned v = (unsigned)(unsigned char)data[i] << 16;
                v |= left > 1 ? (unsigned)(unsigned char)data[i + 1] << 8 : 0;
                v |= left > 2 ? (unsigned char)data[i + 2] : 0;
                char quad[4] = {DIGITS[v >> 18], DIGITS[v >> 12 & 63],
                                left > 1 ? DIGITS[v >> 6 & 63] : '=',
                                left > 2 ? DIGITS[v & 63] : '='};
                buf_add(b, quad, sizeof(quad));
        }
        return b->failed ? b->error : 0;
}

static int add_patch(struct buf *b, const struct json *patch)
{
        autobuf struct buf text = buf_new(PATCH_MAX);

        int rc = json_print(patch, &text);
        if (rc < 0)
                return rc;
        buf_adds(b, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
        add_base64(b, text.data, text.len);
        return buf_adds(b, "\"");
}

static void add_status(struct buf *b, const struct admission_answer *ans)
{
        buf_addf(b, ",\"status\":{\"code\":%d,\"reason\":", ans->code);
        json_quote(b, ans->reason ? ans->reason : "");
        buf_adds(b, ",\"message\":");
        json_quote(b, ans->message ? ans->message : "");
        if (ans->retry_after_s > 0)
                buf_addf(b, ",\"details\":{\"retryAfterSeconds\":%d}", ans->retry_after_s);
        buf_adds(b, "}");
}

int admission_encode(const struct admission_request *r, const struct admission_answer *ans,
                     struct buf *b)
{
        int rc = 0;

        buf_adds(b, "{\"apiVersion\":\"" REVIEW_VERSION "\",\"kind\":\"AdmissionReview\","
                    "\"response\":{\"uid\":");
        json_quote(b, r->uid);
        buf_adds(b, ans->allowed ? ",\"allowed\":true" : ",\"allowed\":false");
        if (!ans->allowed)
                add_status(b, ans);
        else if (ans->patch)
                rc = add_patch(b, ans->patch);
        for (size_t i = 0; i < ans->nwarnings; i++) {
                buf_adds(b, i ? "," : ",\"warnings\":[");
                json_quote(b, ans->warnings[i]);
        }
        if (ans->nwarnings)
                buf_adds(b, "]");
        buf_adds(b, "}}");
        return rc < 0 ? rc : b->failed ? b->error : 0;
}
