/*
 * The whole migrator but for its watches, against an API server that keeps objects: several
 * workers, two schedulers that choose by what they saw a while ago, and an agent a node that starts
 * what the node owns. At no time may a host have more guests than places.
 */
#include "migrator/metrics.h"
#include "migrator/worker.h"
#include "tests/fake/objects.h"
#include "tests/unit/migrator_scene.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define NODES   4
#define WORKERS 4
#define VMS     50
#define MANY    64
#define TEXT    65536
#define PATIENT 60000 /* ms; the sanitizers are slow */

#define PODS_PATH "/api/v1/namespaces/default/pods/"
#define VMS_PATH  "/apis/drover.dev/v1alpha1/namespaces/default/virtualmachines/"
#define MIGS_PATH "/apis/drover.dev/v1alpha1/namespaces/default/virtualmachinemigrations/"

static struct {
        struct fake_objects objects; /* its lock guards all of the cluster below */
        struct fake *server;
        struct kube_client *client;
        struct news *news;
        _Atomic bool stop, stop_workers;
        pthread_t threads[16];
        int nthreads;
        struct node_state {
                char name[8];
                int slots, foreign;
                char guests[MANY][16]; /* names of the VMs whose domain is here */
                int epochs[MANY];
                int n, most;
                bool changed;
        } nodes[NODES];
} c;

static void nap(long ms)
{
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* --- objects of the server; all with its lock held */

static void write_object(const char *path, struct json *j)
{
        char rv[24];

        snprintf(rv, sizeof(rv), "%lld", (long long)++c.objects.rv);
        json_set_str(json_object_at(j, "metadata"), "resourceVersion", rv);
        json_set(c.objects.by_path, path, j);
}

/* A copy to be changed and written back. */
static struct json *copy_of(const char *path)
{
        const struct json *j = json_get(c.objects.by_path, path);

        return j ? json_clone(j) : NULL;
}

static bool under(const struct json *j, const char *prefix)
{
        return !strncmp(json_key(j), prefix, strlen(prefix));
}

static const char *name_of(const struct json *j)
{
        return json_str(json_get(j, "metadata"), "name", "");
}

static void lock(void)
{
        pthread_mutex_lock(&c.objects.lock);
}

static void unlock(void)
{
        pthread_mutex_unlock(&c.objects.lock);
}

/* --- the watches: what has changed reaches the stores a moment later */

static struct kube_store *store_of(const char *path)
{
        return !strncmp(path, PODS_PATH, strlen(PODS_PATH))   ? scene.pods
               : !strncmp(path, VMS_PATH, strlen(VMS_PATH))   ? scene.vms
               : !strncmp(path, MIGS_PATH, strlen(MIGS_PATH)) ? scene.migrations
               : strstr(path, "/virtualmachinehosts/")        ? scene.hosts
               : strstr(path, "/nodes/")                      ? scene.nodes
                                                              : NULL;
}

struct watched {
        struct json *known; /* path -> object, as last told */
};

static void watch_once(struct watched *w)
{
        struct json *now;

        lock();
        now = json_clone(c.objects.by_path);
        unlock();
        for (const struct json *j = json_first(now); j; j = json_next(j)) {
                struct kube_store *s = store_of(json_key(j));
                const struct json *was = json_get(w->known, json_key(j));

                if (s && !(was && json_equal(was, j)))
                        kube_store_event(s, KUBE_MODIFIED, j);
        }
        for (const struct json *j = json_first(w->known); j; j = json_next(j))
                if (store_of(json_key(j)) && !json_get(now, json_key(j)))
                        kube_store_event(store_of(json_key(j)), KUBE_DELETED, j);
        json_free(w->known);
        w->known = now;
}

static void beat(void)
{
        char now[RFC3339_MAX];

        rfc3339_format(wall_us(), 1, now);
        for (int n = 0; n < NODES; n++) {
                struct json *j = object("{'metadata':{'name':'drover-node-%s'},"
                                        "'spec':{'renewTime':'%s'}}",
                                        c.nodes[n].name, now);
                heartbeats_event(scene.heartbeats, KUBE_MODIFIED, j);
                json_free(j);
        }
}

static void *watcher(void *arg)
{
        struct watched w = {json_new_object()};

        (void)arg;
        while (!c.stop) {
                beat();
                watch_once(&w);
                world_tick(&scene, mono_now());
                nap(2);
        }
        json_free(w.known);
        return NULL;
}

/* --- workers */

static void *worker(void *arg)
{
        const struct actor actor = {&scene, "handle", NULL, 0, c.news};
        const struct permit_limits limits = {100, 100};
        char key[KUBE_KEY_MAX];
        struct err e;

        (void)arg;
        while (!c.stop_workers) {
                if (!kube_queue_take(scene.queue, key, 10))
                        continue;
                if (worker_vm(&actor, &limits, key, &e) < 0)
                        kube_queue_retry(scene.queue, key);
                else
                        kube_queue_forget(scene.queue, key);
                kube_queue_done(scene.queue, key);
        }
        return NULL;
}

/* --- schedulers, each with an extender: what they saw last and have done since, and no more */

static int node_index(const char *name)
{
        for (int n = 0; n < NODES; n++)
                if (!strcmp(c.nodes[n].name, name))
                        return n;
        return -1;
}

static bool has_guest(int n, const char *vm)
{
        for (int i = 0; i < c.nodes[n].n; i++)
                if (!strcmp(c.nodes[n].guests[i], vm))
                        return true;
        return false;
}

static const char *vm_of(const struct json *pod)
{
        return json_str(json_path(pod, "metadata", "labels", NULL), DROVER_VM_LABEL, "");
}

static const char *node_of(const struct json *pod)
{
        return json_str(json_get(pod, "spec"), "nodeName", "");
}

/* Guests, and pods whose guest is on its way. */
static void see(int guests[NODES])
{
        for (int n = 0; n < NODES; n++)
                guests[n] = c.nodes[n].foreign + c.nodes[n].n;
        for (const struct json *j = json_first(c.objects.by_path); j; j = json_next(j)) {
                int n = under(j, PODS_PATH) ? node_index(node_of(j)) : -1;

                if (n >= 0 && !has_guest(n, vm_of(j)))
                        guests[n]++;
        }
}

/* The one node that a pod of the migrator's avoids, "" when it avoids none. */
static const char *avoids(const struct json *pod)
{
        const struct json *terms =
                json_get(json_path(pod, "spec", "affinity", "nodeAffinity",
                                   "requiredDuringSchedulingIgnoredDuringExecution", NULL),
                         "nodeSelectorTerms");
        const struct json *field = json_first(json_get(json_first(terms), "matchFields"));
        const char *node = json_string(json_first(json_get(field, "values")));

        return node ? node : "";
}

static bool allowed(const struct json *pod, int n)
{
        char path[128];

        snprintf(path, sizeof(path), VMS_PATH "%s", vm_of(pod));
        const char *want =
                json_str(json_get(json_get(c.objects.by_path, path), "spec"), "nodeName", "");
        return (!*want || !strcmp(want, c.nodes[n].name)) &&
               strcmp(avoids(pod), c.nodes[n].name) != 0;
}

static void bind_pod(int guests[NODES], const char *path, unsigned *seed)
{
        struct json *pod = copy_of(path);
        int best = -1;

        for (int k = 0, n = rand_r(seed) % NODES; k < NODES; k++, n = (n + 1) % NODES)
                if (allowed(pod, n) && guests[n] < c.nodes[n].slots &&
                    (best < 0 || guests[n] < guests[best]))
                        best = n;
        if (best < 0) {
                json_free(pod);
                return;
        }
        json_set_str(json_object_at(pod, "spec"), "nodeName", c.nodes[best].name);
        struct json *ready = json_add(json_array_at(json_object_at(pod, "status"), "conditions"),
                                      json_new_object());
        json_set_str(ready, "type", "Ready"); /* a fast kubelet */
        json_set_str(ready, "status", "True");
        write_object(path, pod);
        guests[best]++;
}

/* It has every second VM. */
static void *scheduler(void *arg)
{
        unsigned seed = *(unsigned *)arg;
        int guests[NODES] = {0}, which = (int)(seed % 2);

        for (int turn = 0; !c.stop; turn++) {
                char paths[MANY][300];
                int n = 0;

                lock();
                if (turn % 30 == 0)
                        see(guests);
                for (const struct json *j = json_first(c.objects.by_path); j; j = json_next(j))
                        if (under(j, PODS_PATH) && !*node_of(j) && n < MANY &&
                            atoi(vm_of(j) + 1) % 2 == which)
                                snprintf(paths[n++], sizeof(paths[0]), "%s", json_key(j));
                for (int i = 0; i < n; i++)
                        bind_pod(guests, paths[i], &seed);
                unlock();
                nap(1);
        }
        return NULL;
}

/* --- agents */

static void add_guest(int n, const char *vm, int64_t epoch)
{
        struct node_state *s = &c.nodes[n];

        snprintf(s->guests[s->n], sizeof(s->guests[0]), "%s", vm);
        s->epochs[s->n++] = (int)epoch;
        if (s->n + s->foreign > s->most)
                s->most = s->n + s->foreign;
        s->changed = true;
}

static void drop_guest(int n, const char *vm)
{
        struct node_state *s = &c.nodes[n];

        for (int i = 0; i < s->n; i++) {
                if (strcmp(s->guests[i], vm) != 0)
                        continue;
                memmove(s->guests[i], s->guests[i + 1],
                        sizeof(s->guests[0]) * (size_t)(MANY - i - 1));
                memmove(&s->epochs[i], &s->epochs[i + 1], sizeof(int) * (size_t)(MANY - i - 1));
                s->n--;
                s->changed = true;
                return;
        }
}

static bool under_way(const char *vm)
{
        for (const struct json *j = json_first(c.objects.by_path); j; j = json_next(j)) {
                const char *phase = json_str(json_get(j, "status"), "phase", "");

                if (under(j, MIGS_PATH) && !strcmp(json_str(json_get(j, "spec"), "vm", ""), vm) &&
                    strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0)
                        return true;
        }
        return false;
}

/* Starts what the node owns. */
static void start_guests(int n)
{
        for (const struct json *j = json_first(c.objects.by_path); j; j = json_next(j)) {
                const struct json *owner = json_path(j, "status", "owner", NULL);

                if (under(j, VMS_PATH) && !strcmp(json_str(owner, "node", ""), c.nodes[n].name) &&
                    !has_guest(n, name_of(j)) && !under_way(name_of(j)))
                        add_guest(n, name_of(j), json_int(owner, "epoch", 0));
        }
}

/* A copy takes no time; the guest is on the target before the journal says so. */
static void move_guests(int n)
{
        for (const struct json *j = json_first(c.objects.by_path); j; j = json_next(j)) {
                const struct json *s = json_get(j, "status");
                const char *vm = json_str(json_get(j, "spec"), "vm", "");
                char path[300];

                if (!under(j, MIGS_PATH) || strcmp(json_str(s, "phase", ""), "Copying") != 0 ||
                    strcmp(json_str(s, "source", ""), c.nodes[n].name) != 0 || !has_guest(n, vm))
                        continue;
                add_guest(node_index(json_str(s, "target", "")), vm, json_int(s, "epoch", 0) + 1);
                drop_guest(n, vm);
                snprintf(path, sizeof(path), "%s", json_key(j));
                struct json *m = copy_of(path);
                json_set_str(json_object_at(json_object_at(m, "status"), "transfer"), "state",
                             "Done");
                write_object(path, m);
                return; /* the list has changed */
        }
}

static void publish(int n)
{
        struct node_state *s = &c.nodes[n];
        autobuf struct buf b = buf_new(TEXT);
        autobuf struct buf text = buf_new(TEXT);
        char path[100];

        for (int i = 0; i < s->n; i++)
                buf_addf(&b,
                         "%s{'uid':'u-%s','namespace':'default','name':'%s','epoch':%d,"
                         "'state':'Running','cores':1,'memory':67108864}",
                         i ? "," : "", s->guests[i], s->guests[i], s->epochs[i]);
        buf_addf(&text,
                 "{'metadata':{'name':'%s','uid':'h-%s'},'status':{"
                 "'capacity':{'cpus':1000,'memory':%lld,'slots':%d},'used':{'cpus':%d,"
                 "'memory':%lld,'domains':%d},'domains':[%s],'libvirtURI':'x','virtType':'kvm',"
                 "'migrationAddress':'10.0.0.1','conditions':[{'type':'Ready','status':'True'}]}}",
                 s->name, s->name, (long long)(1000000 * MIB), s->slots, s->n + s->foreign,
                 (long long)(64 * MIB * (s->n + s->foreign)), s->n + s->foreign, buf_str(&b));
        snprintf(path, sizeof(path), "/apis/drover.dev/v1alpha1/virtualmachinehosts/%s", s->name);
        write_object(path, json_of(buf_str(&text)));
        s->changed = false;
}

static void *agents(void *arg)
{
        (void)arg;
        for (int turn = 0; !c.stop; turn++) {
                int n = turn % NODES;

                lock();
                start_guests(n);
                move_guests(n);
                if (c.nodes[n].changed && turn % 3 == 0) /* the report comes later */
                        publish(n);
                unlock();
                nap(1);
        }
        return NULL;
}

/* --- the scene */

static void spawn(void *(*f)(void *), void *arg)
{
        assert_int_equal(pthread_create(&c.threads[c.nthreads++], NULL, f, arg), 0);
}

static void make_node(int n, int slots, int foreign)
{
        char path[64];

        snprintf(c.nodes[n].name, sizeof(c.nodes[n].name), "n%d", n);
        c.nodes[n].slots = slots;
        c.nodes[n].foreign = foreign;
        publish(n);
        snprintf(path, sizeof(path), "/api/v1/nodes/n%d", n);
        write_object(path, object("{'metadata':{'name':'n%d','labels':{'drover.dev/hypervisor':"
                                  "'true'}}}",
                                  n));
}

static void make_vm(int i, const char *node)
{
        char path[128];

        snprintf(path, sizeof(path), VMS_PATH "v%d", i);
        write_object(path, object("{'metadata':{'name':'v%d','namespace':'default','uid':'u-v%d',"
                                  "'generation':1,'finalizers':['drover.dev/vm']},'spec':{'cpu':"
                                  "{'cores':1},'memory':{'guest':'64Mi'},'nodeName':'%s'}}",
                                  i, i, node));
}

static void begin_world(void)
{
        static struct watched all;

        scene_make(c.client);
        beat();
        all = (struct watched){json_new_object()};
        watch_once(&all); /* the lists are complete */
        json_free(all.known);
}

static int setup(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        memset(&c, 0, sizeof(c));
        fake_objects_init(&c.objects);
        c.server = fake_start(fake_objects_script, &c.objects);
        cfg.server = fake_url(c.server);
        assert_int_equal(kube_client_new(&cfg, "test", &c.client, &e), 0);
        return 0;
}

static void start_all(void)
{
        static unsigned seeds[] = {2, 3};
        struct err e;

        begin_world();
        assert_int_equal(news_start(c.client, &c.news, &e), 0);
        spawn(watcher, NULL);
        spawn(agents, NULL);
        spawn(scheduler, &seeds[0]);
        spawn(scheduler, &seeds[1]);
        for (int i = 0; i < WORKERS; i++)
                spawn(worker, NULL);
}

static void join_all(void)
{
        c.stop = c.stop_workers = true;
        while (c.nthreads)
                pthread_join(c.threads[--c.nthreads], NULL);
        news_stop(c.news);
        c.news = NULL;
        c.stop = c.stop_workers = false;
}

static int teardown(void **state)
{
        (void)state;
        join_all();
        world_stop(&scene);
        kube_client_free(c.client);
        fake_stop(c.server);
        fake_objects_free(&c.objects);
        return 0;
}

/* --- what is seen of it */

struct tally {
        int owned, running, refused, moving;
        int64_t refusals;
};

static struct tally tally(void)
{
        struct tally t = {0};

        lock();
        for (const struct json *j = json_first(c.objects.by_path); j; j = json_next(j)) {
                const struct json *s = json_get(j, "status");

                if (under(j, VMS_PATH)) {
                        int n = node_index(json_str(json_get(s, "owner"), "node", ""));
                        t.owned += n >= 0;
                        t.running += n >= 0 && has_guest(n, name_of(j));
                        t.refusals += json_int(json_get(s, "refused"), "count", 0);
                        t.moving += *json_str(json_get(s, "migration"), "name", "") != 0;
                } else if (strstr(json_key(j), "/events/")) {
                        t.refused += !strcmp(json_str(j, "reason", ""), "NoRoom");
                }
        }
        unlock();
        return t;
}

static void never_too_many(void)
{
        lock();
        for (int n = 0; n < NODES; n++)
                if (c.nodes[n].most > c.nodes[n].slots)
                        fail_msg("n%d has had %d guests in %d places", n, c.nodes[n].most,
                                 c.nodes[n].slots);
        unlock();
}

static void wait_running(int want)
{
        struct mono start = mono_now();
        struct tally t;

        while (t = tally(), t.running != want || t.owned != want) {
                if (mono_ms_between(start, mono_now()) > PATIENT)
                        fail_msg("%d owned and %d running, want %d", t.owned, t.running, want);
                nap(5);
        }
}

/* Somebody was told of a node that had no room: else nothing was at stake. */
static void wait_refused(void)
{
        struct mono start = mono_now();

        while (!tally().refused) {
                if (mono_ms_between(start, mono_now()) > PATIENT)
                        fail_msg("nobody was refused");
                nap(5);
        }
}

static void set_slots(int n, int slots)
{
        lock();
        c.nodes[n].slots = slots;
        publish(n);
        unlock();
}

static void fifty_vms_on_four_hosts(void **state)
{
        (void)state;
        for (int n = 0; n < NODES; n++)
                make_node(n, 8 + n, 1);
        for (int i = 0; i < VMS; i++)
                make_vm(i, "");
        start_all();
        wait_running(7 + 8 + 9 + 10);
        nap(300); /* nobody is added to them */
        wait_running(7 + 8 + 9 + 10);
        never_too_many();
        wait_refused();
        set_slots(3, 64);
        wait_running(VMS);
        never_too_many();
}

/* The workers end in the midst of it, and others go on who know what the API server shows. */
static void the_leader_changes_in_the_midst(void **state)
{
        (void)state;
        for (int n = 0; n < NODES; n++)
                make_node(n, 9, 0);
        for (int i = 0; i < VMS; i++)
                make_vm(i, "");
        start_all();
        for (int round = 0; round < 6; round++) {
                struct mono start = mono_now();

                while (tally().owned < 5 * (round + 1) &&
                       mono_ms_between(start, mono_now()) < PATIENT)
                        nap(1);
                join_all();
                world_stop(&scene);
                start_all();
        }
        wait_running(36);
        never_too_many();
}

/* All want to go to one host, which has places for some. */
static void thirty_moves_to_ten_places(void **state)
{
        char path[128];

        (void)state;
        make_node(0, 30, 0);
        make_node(1, 11, 1);
        make_node(2, 0, 0);
        make_node(3, 0, 0);
        c.nodes[2].foreign = c.nodes[3].foreign = c.nodes[2].slots = c.nodes[3].slots = 1;
        publish(2);
        publish(3);
        for (int i = 0; i < 30; i++)
                make_vm(i, "n0");
        start_all();
        wait_running(30);
        lock();
        for (int i = 0; i < 30; i++) {
                snprintf(path, sizeof(path), VMS_PATH "v%d", i);
                struct json *j = copy_of(path);
                json_set_str(json_object_at(j, "spec"), "nodeName", "n1");
                json_set_int(json_object_at(j, "metadata"), "generation", 2);
                write_object(path, j);
        }
        unlock();
        struct mono start = mono_now();
        for (int there = 0; there != 11; nap(5)) {
                lock();
                there = c.nodes[1].n + c.nodes[1].foreign;
                unlock();
                if (mono_ms_between(start, mono_now()) > PATIENT)
                        fail_msg("%d of 11 places are taken", there);
        }
        nap(300);
        never_too_many();
        assert_int_equal(c.nodes[1].most, 11);
        assert_int_equal(tally().running, 30);
        set_slots(1, 40);
        start = mono_now();
        for (int there = 0; there != 31; nap(5)) {
                lock();
                there = c.nodes[1].n + c.nodes[1].foreign;
                unlock();
                if (mono_ms_between(start, mono_now()) > PATIENT)
                        fail_msg("%d of 31 are there", there);
        }
        never_too_many();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(fifty_vms_on_four_hosts),
                T(the_leader_changes_in_the_midst),
                T(thirty_moves_to_ten_places),
        };

        metrics_register();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
