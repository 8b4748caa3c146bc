#include "certs/secret.h"

#include "base/mono.h"

#include <errno.h>
#include <string.h>

#define MICROS 1000000

int secret_encode(const char *text, struct secret_text *out, struct err *e)
{
        size_t len = strlen(text);
        int rc = secret_text_new((len + 2) / 3 * 4 + 1, out, e);

        if (rc == 0)
                EVP_EncodeBlock((unsigned char *)out->data, (const unsigned char *)text, (int)len);
        return rc;
}

static const char *encoded(const struct json *secret, const char *key)
{
        return json_str(json_get(secret, "data"), key, "");
}

int secret_value(const struct json *secret, const char *key, struct secret_text *out, struct err *e)
{
        const char *text = encoded(secret, key);
        size_t len = strlen(text);
        int rc, n;

        if (!len || len > PKI_PEM_MAX)
                return err_set(e, -ENOENT, "it has no %s", key);
        rc = secret_text_new(len + 1, out, e);
        if (rc < 0)
                return rc;
        n = EVP_DecodeBlock((unsigned char *)out->data, (const unsigned char *)text, (int)len);
        if (n < 0) {
                secret_text_free(out);
                return err_set(e, -ENOENT, "its %s is not base64", key);
        }
        out->data[n] = '\0'; /* padding decodes to NULs, which end the text as well */
        return 0;
}

bool secret_has(const struct json *secret, const char *key)
{
        return *encoded(secret, key);
}

bool secret_set(struct json *secret, const char *key, const char *text)
{
        autosecret struct secret_text b64 = {NULL, 0};
        struct err ignored;

        return secret_encode(text, &b64, &ignored) == 0 &&
               json_set_str(json_object_at(secret, "data"), key, secret_str(&b64));
}

int secret_set_pair(struct json *secret, const char *key_name, const EVP_PKEY *key,
                    const char *cert_name, const X509 *cert, const struct buf *chain, struct err *e)
{
        autosecret struct secret_text key_pem = {NULL, 0};
        autobuf struct buf cert_pem = buf_new(PKI_PEM_MAX);
        int rc = pki_key_print(key, &key_pem, e);

        if (rc == 0)
                rc = pki_cert_print(cert, &cert_pem, e);
        if (rc < 0)
                return rc;
        if ((chain && buf_add(&cert_pem, chain->data, chain->len) < 0) ||
            !secret_set(secret, cert_name, buf_str(&cert_pem)) ||
            !secret_set(secret, key_name, secret_str(&key_pem)))
                return err_sys(e, -ENOMEM, "a key and its certificate");
        return 0;
}

static void wipe(const struct json *value)
{
        char *text = (char *)(uintptr_t)json_string(value); /* the tree is ours */

        if (text)
                OPENSSL_cleanse(text, strlen(text));
}

void secret_unset(struct json *secret, const char *key)
{
        struct json *data = json_mut(secret, "data");

        wipe(json_get(data, key));
        json_remove(data, key);
}

bool secret_move(struct json *secret, const char *from, const char *to)
{
        struct json *data = json_mut(secret, "data");

        wipe(json_get(data, to));
        if (!json_set_str(data, to, encoded(secret, from)))
                return false;
        secret_unset(secret, from);
        return true;
}

void secret_wipe(struct json *secret)
{
        for (const struct json *c = json_first(json_get(secret, "data")); c; c = json_next(c))
                wipe(c);
}

struct json *secret_draft(const struct json *current, const char *ns, const char *name,
                          const char *type)
{
        struct json *s, *meta, *labels;

        if (current)
                return json_clone(current);
        s = json_new_object();
        meta = json_object_at(s, "metadata");
        labels = json_object_at(meta, "labels");
        if (json_set_str(s, "apiVersion", "v1") && json_set_str(s, "kind", "Secret") &&
            json_set_str(s, "type", type) && json_set_str(meta, "name", name) &&
            json_set_str(meta, "namespace", ns) &&
            json_set_str(labels, "app.kubernetes.io/part-of", "drover") &&
            json_set_str(labels, "app.kubernetes.io/managed-by", "drover-certs"))
                return s;
        json_free(s);
        return NULL;
}

int secret_time(const struct json *secret, const char *annotation, int64_t *out, struct err *e)
{
        const char *text =
                json_str(json_path(secret, "metadata", "annotations", NULL), annotation, NULL);
        int64_t us = 0;

        if (text && rfc3339_parse(text, &us) < 0)
                return err_set(e, -EINVAL,
                               "annotation %s: %s is not a time like "
                               "2026-01-02T03:04:05Z",
                               annotation, text);
        *out = us / MICROS;
        return 0;
}

bool secret_set_time(struct json *secret, const char *annotation, int64_t s)
{
        struct json *all = json_object_at(json_object_at(secret, "metadata"), "annotations");
        char text[RFC3339_MAX];

        if (s == 0) {
                json_remove(all, annotation);
                return all;
        }
        rfc3339_format(s * MICROS, 0, text);
        return json_set_str(all, annotation, text);
}
