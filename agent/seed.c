#include "agent/seed.h"

#include "agent/child.h"
#include "agent/tool.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SEED_MAX ((size_t)1 << 20)

bool seed_wanted(const struct vm *vm)
{
        return *vm->spec.user_data || *vm->spec.network_data || vm->spec.ssh_keys.n;
}

int seed_meta_data(const struct vm *vm, struct buf *b)
{
        autojson struct json *root = json_new_object();

        json_set_str(root, "instance-id", vm->meta.uid);
        json_set_str(root, "local-hostname", vm->meta.name);
        struct json *keys = json_array_at(root, "public-keys");
        for (size_t i = 0; i < vm->spec.ssh_keys.n; i++)
                if (!json_add(keys, json_new_string(vm->spec.ssh_keys.v[i])))
                        return -ENOMEM;
        if (!keys)
                return -ENOMEM;
        int rc = json_print(root, b);
        return rc ? rc : buf_adds(b, "\n");
}

static int put(const char *folder, const char *name, const char *text, struct err *e)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        return file_write(path, text, strlen(text), 0600, e);
}

static int fill(const struct vm *vm, const char *folder, struct err *e)
{
        autobuf struct buf meta = buf_new(SEED_MAX);
        const char *user = *vm->spec.user_data ? vm->spec.user_data : "#cloud-config\n";
        int rc = seed_meta_data(vm, &meta);

        if (rc)
                return err_set(e, rc, "the meta-data is too long");
        if (!(rc = put(folder, "meta-data", buf_str(&meta), e)))
                rc = put(folder, "user-data", user, e);
        if (!rc && *vm->spec.network_data)
                rc = put(folder, "network-config", vm->spec.network_data, e);
        return rc;
}

/* The node's own temporary folder, not a pool: no child needed. */
static void clear(const char *folder)
{
        static const char *const NAMES[] = {"meta-data", "user-data", "network-config"};
        char path[128];

        for (size_t i = 0; i < countof(NAMES); i++) {
                snprintf(path, sizeof(path), "%s/%s", folder, NAMES[i]);
                unlink(path);
        }
        rmdir(folder);
}

int seed_make(const struct vm *vm, const char *pool, const char *file, int64_t deadline_ms,
              struct err *e)
{
        char folder[] = "/tmp/drover-seed-XXXXXX";

        if (!mkdtemp(folder))
                return err_sys(e, -errno, "temporary folder");
        int rc = fill(vm, folder, e);
        if (!rc) {
                const char *const argv[] = {AGENT_SELF, "tool", "seed", pool, file, folder, NULL};
                rc = child_run(argv, deadline_ms, NULL, e);
        }
        clear(folder);
        return rc;
}
