# make            the host: build/tallyman
# make demo       set-up, build, a whole night on a real-size file, and what came of it;
#                 EXCHANGE=sftp: over a private SFTP server; DB=postgres: on a private PostgreSQL
# make test       set-up, engine tests, specs inside the host, all again under the sanitizers
# make asan       the host with address and undefined-behaviour sanitizers: build/asan/tallyman
# make lint       formatting, static analysis, the direction of dependencies
# make bench      the filter against reading alone and other programs, SFTP against other clients,
#                 imports against psql; BENCH="5 peers": the filter alone, so; SFTP="5 loopback":
#                 SFTP alone, so; IMPORTS="5 1500": imports alone, so
# make fuzz       the engine against a slow reader, on inputs that a fuzzer makes up; SECONDS=60
# make install    PREFIX=/usr/local by default

PREFIX  ?= /usr/local
CC      := gcc
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
# libpq's header only: the library itself is loaded when a PostgreSQL database is first opened.
LIBS    := lua5.4 libisal sqlite3 libxxhash libcrypto libpq
# Some are linked in: bringing them takes the loader as long as filtering 60 MB takes.
# Debian 13's libssh2, where src/deps.sh has put it below build/deps; else the system's.
SSH2    = $(wildcard build/deps/ssh2)
ALL     = $(CFLAGS) -std=gnu11 $(WARN) -MMD -MP $(shell pkg-config --cflags $(LIBS)) $(SSH2:%=-I%)
LINK    = $(shell pkg-config --libs lua5.4 libisal) -Wl,-Bstatic $(SSH2:%=-L%) -lssh2 \
          $(shell pkg-config --libs-only-l sqlite3 libxxhash libcrypto) -Wl,-Bdynamic -lz -lm -pthread
SANITIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

ENGINE  := $(filter-out src/main.c src/host.c src/host_signals.c,$(wildcard src/*.c))
HOST    := src/main.c src/host.c src/host_signals.c $(wildcard src/api/*.c) $(ENGINE)
CTESTS  := $(wildcard tests/c/*_test.c)
BUILD   := build

.PHONY: all deps deps-test deps-bench demo test asan lint bench fuzz install clean
.SECONDARY:

all: $(BUILD)/tallyman

# ---- set-up ----

deps:
	@src/deps.sh run
deps-test:
	@src/deps.sh test
deps-bench:
	@src/deps.sh bench

# ---- the host and the engine's tests; a sanitizer build differs only in BUILD and CFLAGS ----

$(BUILD)/obj/%.o: %.c | deps
	@mkdir -p $(dir $@)
	$(CC) $(ALL) -c $< -o $@

$(BUILD)/tallyman: $(HOST:%.c=$(BUILD)/obj/%.o)
	$(CC) $(CFLAGS) $^ -o $@ $(LINK)

$(BUILD)/tests/%_test: $(BUILD)/obj/tests/c/%_test.o $(ENGINE:%.c=$(BUILD)/obj/%.o)
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS) $^ -o $@ $(LINK)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

asan:
	$(MAKE) BUILD=build/asan CFLAGS="$(SANITIZE)" build/asan/tallyman $(ASAN_TARGETS)

# ---- running ----

# No shell stands between make and the demo, so that it gets the signal that ends make.
demo: all $(if $(filter sftp postgres,$(EXCHANGE) $(DB)),deps-test)
	@exec env EXCHANGE=$(EXCHANGE) DB=$(DB) $(BUILD)/tallyman examples/demo.lua

test: deps-test
	@tests/run.sh

lint: deps-test all
	@tests/lint.sh

bench: deps-bench all
	$(if $(if $(SFTP)$(IMPORTS),$(BENCH),all),@$(BUILD)/tallyman tests/bench/filter.lua $(BENCH))
	$(if $(if $(BENCH)$(IMPORTS),$(SFTP),all),@$(BUILD)/tallyman tests/bench/sftp.lua $(SFTP))
	$(if $(if $(BENCH)$(SFTP),$(IMPORTS),all),@$(BUILD)/tallyman tests/bench/imports.lua $(IMPORTS))

SECONDS ?= 60
fuzz: deps-test
	@tests/fuzz/run.sh $(SECONDS)

# ---- installing ----

SHARE := $(DESTDIR)$(PREFIX)/share/tallyman
install: all
	install -D $(BUILD)/tallyman $(DESTDIR)$(PREFIX)/bin/tallyman
	mkdir -p $(SHARE)
	cp -R lua scripts examples README.md $(SHARE)/
	[ ! -d build/deps ] || { mkdir -p $(SHARE)/build && cp -R build/deps $(SHARE)/build/; }

clean:
	rm -rf build/obj build/tests build/asan build/tallyman
