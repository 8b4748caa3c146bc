/* For the tests of webhook/: an API server with VMs and images, whose watch lags as one likes. */
#ifndef DROVER_TESTS_UNIT_WEBHOOK_SCENE_H
#define DROVER_TESTS_UNIT_WEBHOOK_SCENE_H

#include "base/mono.h"
#include "kube/io.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/api_text.h"
#include "webhook/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define SCENE_TEXT 65536

static struct {
        pthread_mutex_t lock;
        struct fake *server;
        struct kube_client *client;
        struct cache *cache;
        char listed[SCENE_TEXT]; /* items of the first list of VMs */
        char events[SCENE_TEXT]; /* lines of the watch of VMs, from its begin */
        char stored[SCENE_TEXT]; /* what a GET of a VM yields, "": 404 */
        char images[SCENE_TEXT]; /* items of the list of images */
        char nodes[SCENE_TEXT];  /* items of the list of Nodes, "-": refused */
        char hosts[SCENE_TEXT];  /* ... of VirtualMachineHosts, likewise */
        char pod[SCENE_TEXT];    /* what a GET of a pod yields, "": 404 */
        char move[SCENE_TEXT];   /* likewise of a migration: of each of that name, or the first */
        char made[SCENE_TEXT];   /* target and body of the last POST */
        int posts, post_status;  /* post_status: instead of 201, when not 0 */
        int status;              /* of a GET of an object, when not 0 */
        int vm_gets, image_gets, host_lists;
        char asked[SCENE_TEXT]; /* target and headers of the last list of Nodes */
        bool hold;              /* lists are not answered yet */
        bool hang;              /* nothing is, of what is asked for but lists and watches */
} scene = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void nap(int ms)
{
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* One line of the watch after the other, as they are added. */
static inline void scene_watch(struct fake_conn *c, const char *events)
{
        size_t sent = 0;

        fake_stream(c);
        do {
                char *more = NULL;

                pthread_mutex_lock(&scene.lock);
                if (strlen(events) > sent)
                        more = strdup(events + sent);
                pthread_mutex_unlock(&scene.lock);
                if (!more)
                        continue;
                sent += strlen(more);
                fake_chunk(c, more);
                free(more);
        } while (fake_sleep(c, 5));
}

static inline void scene_list(struct fake_conn *c, const char *items)
{
        autobuf struct buf b = buf_new(SCENE_TEXT * 2);

        for (bool hold = true; hold;) {
                pthread_mutex_lock(&scene.lock);
                hold = scene.hold;
                pthread_mutex_unlock(&scene.lock);
                if (hold && !fake_sleep(c, 5))
                        return;
        }
        pthread_mutex_lock(&scene.lock);
        buf_addf(&b, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[%s]}", items);
        pthread_mutex_unlock(&scene.lock);
        fake_answer(c, 200, "", buf_str(&b));
}

/* The migration when it has that name; any image is absent. */
static inline const char *scene_stored(const char *target)
{
        const char *move = strstr(target, "/virtualmachinemigrations/");
        char name[128];

        if (strstr(target, "/virtualmachines/"))
                return scene.stored;
        if (strstr(target, "/virtualmachinesnapshots/s"))
                return "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"vm\":\"another\"}}";
        if (strstr(target, "/pods/"))
                return scene.pod;
        if (!move)
                return "";
        snprintf(name, sizeof(name), "\"name\":\"%s\"", strrchr(move, '/') + 1);
        return strstr(scene.move, name) ? scene.move : "";
}

static inline void scene_get(struct fake_conn *c, const char *target)
{
        char *text, missing[1024];
        int status;

        pthread_mutex_lock(&scene.lock);
        scene.vm_gets += strstr(target, "/virtualmachines/") != NULL;
        scene.image_gets += strstr(target, "/virtualmachineimages/") != NULL;
        bool hang = scene.hang;
        text = strdup(scene_stored(target));
        status = scene.status ? scene.status : *text ? 200 : 404;
        pthread_mutex_unlock(&scene.lock);
        if (hang)
                fake_hang(c);
        fake_missing(target, missing, sizeof(missing));
        fake_answer(c, status, "",
                    status == 200   ? text
                    : status == 404 ? missing
                                    : "{\"kind\":\"Status\",\"message\":\"no\"}");
        free(text);
}

static inline void scene_post(struct fake_conn *c, const struct fake_request *r)
{
        int status;

        pthread_mutex_lock(&scene.lock);
        scene.posts++;
        snprintf(scene.made, SCENE_TEXT, "%s %s", r->target, r->body);
        status = scene.post_status ? scene.post_status : 201;
        pthread_mutex_unlock(&scene.lock);
        fake_answer(c, status, "",
                    status == 201 ? r->body : "{\"kind\":\"Status\",\"message\":\"no\"}");
}

/* Lists of what the webhook does not watch; false for others. */
static inline bool scene_listed(struct fake_conn *c, const struct fake_request *r)
{
        bool nodes = strstr(r->target, "/nodes"), hosts = strstr(r->target, "virtualmachinehosts");

        if (!nodes && !hosts)
                return false;
        pthread_mutex_lock(&scene.lock);
        scene.host_lists += hosts;
        if (nodes)
                snprintf(scene.asked, SCENE_TEXT, "%s\n%s", r->target, r->headers);
        bool refused = *(nodes ? scene.nodes : scene.hosts) == '-';
        pthread_mutex_unlock(&scene.lock);
        if (refused)
                fake_answer(c, 403, "", "{\"kind\":\"Status\",\"message\":\"no\"}");
        else
                scene_list(c, nodes ? scene.nodes : scene.hosts);
        return true;
}

static inline void scene_script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        bool images = strstr(r->target, "virtualmachineimages");

        (void)ctx;
        if (scene_listed(c, r))
                return;
        if (!strcmp(r->method, "POST"))
                scene_post(c, r);
        else if (strstr(r->target, "/namespaces/"))
                scene_get(c, r->target);
        else if (strstr(r->target, "watch=1"))
                scene_watch(c, images ? "" : scene.events);
        else
                scene_list(c, images ? scene.images : scene.listed);
}

static inline void scene_wait_synced(void)
{
        struct mono start = mono_now();

        while (!cache_synced(scene.cache)) {
                if (mono_ms_between(start, mono_now()) > 20000)
                        fail_msg("the cache does not become complete");
                nap(2);
        }
}

/* Single quotes; with uid, labels of the node that it wants, and resourceVersion. */
#define VM_JSON(name, uid, rv, disk)                                                               \
        "{'metadata':{'name':'" name "','namespace':'shop','uid':'" uid "','resourceVersion':'" rv \
        "'},'spec':{'memory':{'guest':'1Gi'},'nodeSelector':{'disk':'" disk "'},'tolerations':["   \
        "{'key':'k','operator':'Exists'}],'topologySpreadConstraints':[{'maxSkew':1}]}}"
#define EVENT_JSON(type, object) "{'type':'" type "','object':" object "}\n"

static inline void scene_set(char *where, const char *text)
{
        autobuf struct buf b = buf_new(SCENE_TEXT);

        quoted(&b, text);
        pthread_mutex_lock(&scene.lock);
        snprintf(where, SCENE_TEXT, "%s", buf_str(&b));
        pthread_mutex_unlock(&scene.lock);
}

static inline void scene_tell(const char *event)
{
        autobuf struct buf b = buf_new(SCENE_TEXT);
        size_t n;

        quoted(&b, event);
        pthread_mutex_lock(&scene.lock);
        n = strlen(scene.events);
        snprintf(scene.events + n, SCENE_TEXT - n, "%s", buf_str(&b));
        pthread_mutex_unlock(&scene.lock);
}

static inline void scene_begin(void)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        scene.server = fake_start(scene_script, NULL);
        cfg.server = fake_url(scene.server);
        assert_int_equal(kube_client_new(&cfg, "drover-test", &scene.client, &e), 0);
        scene.client->tune.backoff_min_ms = 5;
        scene.client->tune.backoff_max_ms = 50;
        assert_int_equal(cache_start(scene.client, &scene.cache, &e), 0);
}

/* VM web: u1, wants disk ssd; image debian. Synced. */
static inline int scene_setup(void **state)
{
        (void)state;
        scene.nodes[0] = scene.hosts[0] = scene.asked[0] = 0;
        scene.events[0] = scene.stored[0] = scene.pod[0] = scene.move[0] = scene.made[0] = 0;
        scene.host_lists = 0;
        scene.status = scene.vm_gets = scene.image_gets = scene.posts = scene.post_status = 0;
        scene.hold = scene.hang = false;
        scene_set(scene.listed, VM_JSON("web", "u1", "5", "ssd"));
        scene_set(scene.images, "{'metadata':{'name':'debian','namespace':'shop',"
                                "'resourceVersion':'4'}}");
        scene_begin();
        scene_wait_synced();
        return 0;
}

static inline int scene_teardown(void **state)
{
        (void)state;
        cache_stop(scene.cache);
        kube_client_free(scene.client);
        fake_stop(scene.server);
        return 0;
}

static inline int scene_count(const int *counter)
{
        int n;

        pthread_mutex_lock(&scene.lock);
        n = *counter;
        pthread_mutex_unlock(&scene.lock);
        return n;
}

#endif
