# Drover. `make help` lists what there is.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# One tree of objects a flavour: release (hardened), asan (clang, address and undefined), tsan (clang), fuzz (libFuzzer
# with address and undefined).
FLAVOUR ?= release
B       := build$(if $(filter-out release,$(FLAVOUR)),/$(FLAVOUR))

# V=1 shows the commands
Q := $(if $(V),,@)
say = @printf '  %-4s %s\n' $(1) $(2)

LIBS     := base core api kube http
BINARIES := webhook extender migrator agent certs
# programs that users have: build/bin/kubectl-drover
PLUGINS  := kubectl
IMAGES   := $(BINARIES) handle

WARN   := -Wall -Wextra -Werror -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
          -Wformat=2 -Wvla
COMMON := -std=c17 -D_GNU_SOURCE -I. -g $(WARN) -MMD -MP
CC_release     := gcc
CFLAGS_release := -O2 -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 \
                  -fcf-protection -fno-plt
LDFLAGS_release := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
CC_asan      := clang-14
CFLAGS_asan  := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDFLAGS_asan := -fsanitize=address,undefined
CC_tsan      := clang-14
CFLAGS_tsan  := -O1 -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread

CC_fuzz      := clang-14
CFLAGS_fuzz  := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined

CC      := $(CC_$(FLAVOUR))
CFLAGS  := $(COMMON) $(CFLAGS_$(FLAVOUR))
LDFLAGS := $(LDFLAGS_$(FLAVOUR))
LDLIBS_base := -lcjson -lm
LDLIBS_kube := -lcurl -lyaml
LDLIBS_http := -lmicrohttpd -lgnutls
LDLIBS      := $(LDLIBS_kube) $(LDLIBS_http) -lnfs -lvirt-qemu -lvirt -lssl -lcrypto $(LDLIBS_base) -lpthread

src   = $(wildcard $(1)/*.c)
objs  = $(patsubst %.c,$(B)/obj/%.o,$(1))
ARCH := $(foreach l,http kube api core base,$(B)/lib/lib$(l).a)

.PHONY: all
all: $(foreach b,$(IMAGES),$(B)/bin/drover-$(b)) $(foreach p,$(PLUGINS),$(B)/bin/$(p)-drover)

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

define library
$(B)/lib/lib$(1).a: $(call objs,$(call src,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)ar rcsD $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call library,$(l))))

define binary
$(B)/bin/drover-$(1): $(call objs,$(call src,$(1))) $(ARCH)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$(Q)$(CC) $(LDFLAGS) -o $$@ $$^ $(LDLIBS)
endef
$(foreach b,$(BINARIES),$(eval $(call binary,$(b))))

define plugin
$(B)/bin/$(1)-drover: $(call objs,$(call src,$(1))) $(ARCH)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$(Q)$(CC) $(LDFLAGS) -o $$@ $$^ $(LDLIBS)
endef
$(foreach p,$(PLUGINS),$(eval $(call plugin,$(p))))

# The handle does nothing but wait: static, without any library of ours.
$(B)/bin/drover-handle: handle/main.c Makefile
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)gcc -std=c17 -D_GNU_SOURCE -O2 $(WARN) -static -Wl,-z,noexecstack -o $@ $<

# --- unit tests: one program a file; a test of a binary's folder also links that folder but for main.c
UNITS     := $(filter-out tests/unit/oom.c,$(call src,tests/unit))
UNIT_BINS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNITS))
UNIT_COMMON := $(call objs,tests/unit/oom.c $(call src,tests/fake))
folder_of   = $(filter $(BINARIES) $(PLUGINS),$(firstword $(subst _, ,$(1))))
shell_objs  = $(foreach f,$(call folder_of,$(1)),$(call objs,$(filter-out $(f)/main.c,$(call src,$(f)))))

define unit
$(B)/unit/$(1): $(B)/obj/tests/unit/$(1).o $(UNIT_COMMON) $(call shell_objs,$(1)) $(ARCH)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc -o $$@ $$^ -lcmocka $(LDLIBS)
endef
$(foreach u,$(UNITS),$(eval $(call unit,$(patsubst tests/unit/%.c,%,$(u)))))
# runs them
$(B)/unit/guard_binaries: | $(foreach b,webhook extender certs handle,$(B)/bin/drover-$(b))

.PHONY: unit-bins unit unit-plain unit-asan unit-tsan
unit-bins: $(UNIT_BINS)
unit-plain: unit-bins
	@tests/run-unit $(FLAVOUR) $(UNIT_BINS)
unit-asan:
	@$(MAKE) --no-print-directory FLAVOUR=asan unit-plain
unit-tsan:
	@$(MAKE) --no-print-directory FLAVOUR=tsan unit-plain
unit: unit-plain unit-asan unit-tsan

# --- fuzzers: one program a file; all may use what the webhook and the extender are made of
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(call src,tests/fuzz))
FUZZ_SHELL := $(foreach f,webhook extender,$(call objs,$(filter-out $(f)/main.c,$(call src,$(f)))))

define fuzzer
$(B)/fuzz/$(1): $(B)/obj/tests/fuzz/$(1).o $(FUZZ_SHELL) $(ARCH)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$(Q)$(CC) $(LDFLAGS) -o $$@ $$^ $(LDLIBS)
endef
$(if $(filter fuzz,$(FLAVOUR)),$(foreach f,$(FUZZERS),$(eval $(call fuzzer,$(f)))))

.PHONY: fuzz fuzz-bins
fuzz-bins: $(foreach f,$(FUZZERS),$(B)/fuzz/$(f))
# SECONDS for each of them, two at a time
fuzz:
	@$(MAKE) --no-print-directory FLAVOUR=fuzz fuzz-bins
	@tests/fuzz/run $(or $(SECONDS),600) $(FUZZERS)

# --- the servers as they are shipped, under attack
HOSTILE := $(call objs,$(call src,tests/hostile) $(call src,tests/fake) tests/unit/oom.c)
$(B)/hostile/hostile: $(HOSTILE) $(ARCH) | $(B)/bin/drover-webhook $(B)/bin/drover-extender
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc -o $@ $(filter %.o %.a,$^) -lcmocka $(LDLIBS)
.PHONY: hostile
hostile: $(B)/hostile/hostile $(B)/bin/drover-webhook $(B)/bin/drover-extender
	@tests/run-unit $(FLAVOUR) $<

# --- programs of the benches
$(B)/bench/extender: $(call objs,tests/bench/extender.c $(filter-out extender/main.c,$(call src,extender))) $(ARCH)
$(B)/bench/load: $(call objs,tests/bench/admission/load.c) $(ARCH)
$(B)/bench/extender $(B)/bench/load:
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# --- checks of the code itself
FORMATTED := $(wildcard $(foreach d,$(LIBS) $(IMAGES) $(PLUGINS) tests/unit tests/fake tests/hostile tests/fuzz tests/bench tests/bench/admission tests/lab,$(d)/*.[ch]))
.PHONY: lint format
lint: all
	@scripts/lint $(FORMATTED)
format:
	clang-format-14 -i $(FORMATTED)

# --- set-up, lab, demo, tests
# one clock for all that the scripts say
export LAB_STARTED := $(or $(LAB_STARTED),$(shell date +%s.%N))
.PHONY: deps images lab-up down demo test test-faults test-nfs nfs-lab-up nfs-lab-down e2e bench-migration bench-extender bench-admission help clean
deps:
	@scripts/deps
images: deps
	@$(MAKE) --no-print-directory -j2 all
	@images/build $(IMAGES)
lab-up: images
	@tests/cluster/build
	@NODES=$(or $(NODES),2) tests/lab/up
	@scripts/deploy
down:
	@tests/lab/down
demo: lab-up
	@tests/e2e/demo
test: deps
	@tests/run-all
e2e: NODES = 4
e2e: lab-up
	@tests/e2e/run
# everything is killed and cut off at every boundary of a move: an hour; with SEED=s, half of it
test-faults: NODES = 4
test-faults: lab-up
	@tests/e2e/run --faults $(SEED)
# The second lab: two nodes that are virtual machines with a kernel of their own, which mounts the pool by NFS. It may be
# up beside the first.
nfs-lab-up nfs-lab-down test-nfs: export DROVER_LAB = nfs
nfs-lab-up: images
	@scripts/deps nfs
	@tests/cluster/build
	@NODES=2 tests/lab/up
	@scripts/deploy
nfs-lab-down:
	@tests/lab/down
test-nfs: nfs-lab-up
	@rc=0; tests/nfs/run || rc=1; tests/lab/down quiet; exit $$rc
# moves by Drover against bare libvirt's, in pairs: half an hour
bench-migration: lab-up
	@tests/bench/migration
# the extender in process, 5,000 nodes: a quarter of a minute
bench-extender: $(B)/bench/extender
	@$<
# webhook and extender against Go programs that do the same, and kube-scheduler with and without the extender
bench-admission: deps
	@$(MAKE) --no-print-directory -j2 $(B)/bin/drover-webhook $(B)/bin/drover-extender $(B)/bench/load $(B)/bench/extender
	@tests/cluster/build
	@tests/bench/admission/run
clean:
	rm -rf build/obj build/lib build/bin build/unit build/hostile build/bench build/asan build/tsan build/fuzz build/images
help:
	@echo 'make demo              set everything up and watch a VM move'
	@echo 'make test              set everything up and run all tests'
	@echo 'make test-faults       kill and cut off everything at every boundary of a move: an hour'
	@echo 'make test-nfs          nodes as virtual machines, the pool on real NFS, whose server fails'
	@echo 'make nfs-lab-up        that lab; make nfs-lab-down removes it'
	@echo 'make bench-migration   measure moves against those of bare libvirt: half an hour'
	@echo 'make bench-extender    measure the answers of the extender, in process'
	@echo 'make bench-admission   measure webhook and extender against Go ones, and the scheduler with the extender'
	@echo 'make                   build the binaries into build/bin'
	@echo 'make lab-up [NODES=n]  a real Kubernetes with Drover on this machine; make down removes it'
	@echo 'make hostile           webhook and extender under attack over the network: a minute'
	@echo 'make fuzz [SECONDS=n]   each parser against made-up input: 45 minutes'
	@echo 'make unit lint images format clean'

-include $(wildcard $(foreach f,build build/asan build/tsan build/fuzz,$(foreach d,* */* */*/*,$(f)/obj/$(d)/*.d)))
