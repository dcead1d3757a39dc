# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#
# Spoolguard, one makefile; each folder brings a fragment (build.mk) with its own sources and rules.
#
#   make            build the command, the preload library and the BPF object
#   make run        guard a real rsyslogd and show what it costs (CMD='…' guards that instead)
#   make check      every test; make check-quick leaves out the virtual machine
#   make bench      the cost, as ratios against the bare call
#   make lint       clang-format, clang-tidy, cppcheck
#   make deps       install what is missing (as root)
#   make install    DESTDIR= PREFIX=
#
#   V=1 shows the commands; SAN=asan|tsan builds the tests with a sanitizer, in its own folder.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

VERSION  := 0.1.0
PREFIX   ?= /usr/local
SAN      ?=
O        := build$(if $(SAN),/$(SAN))
CC       := gcc
CLANG    := clang
BPFTOOL  := $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)

WARN     := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wshadow \
            -Wno-unused-parameter -Wvla -Wformat=2 -Wundef
CFLAGS   ?= -O2 -g
SG_CFLAGS := -std=gnu11 $(WARN) -fno-strict-aliasing -fno-omit-frame-pointer -Iuser -Iuser/include -Ibpf \
            -isystem $(O)/gen -D_GNU_SOURCE -DSG_VERSION='"$(VERSION)"'

SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_tsan := -fsanitize=thread
SANFLAGS := $(SAN_$(SAN))
ifneq ($(SAN),)
ifeq ($(SANFLAGS),)
$(error SAN=$(SAN): there are asan and tsan)
endif
endif

Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(patsubst $(CURDIR)/%,%,$(2))';)

include mk/deps.mk
include user/guard/build.mk
include user/broker/build.mk
include user/preload/build.mk
include user/spool/build.mk
include user/observe/build.mk
include bpf/build.mk
include user/cli/build.mk
include docs/build.mk
-include tests/build.mk
include mk/run.mk

# --- generic rules: one for ordinary objects, one for position-independent ones ---

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(SG_CFLAGS) $(CFLAGS) $(SANFLAGS) -MMD -MP -c -o $@ $<

# Objects of the preload library are never instrumented: a sanitized .so refuses LD_PRELOAD.
$(O)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(SG_CFLAGS) $(PRELOAD_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(wildcard $(addprefix $(O)/,user pic spool-pic bpf tests)) -type f -name '*.d' 2>/dev/null)

.PHONY: all run check check-quick lint format install clean
all: $(ALL)

# The generated skeleton, which only attach.c includes, leaks when it is out of memory.
lint: deps-lint all $(LINT_DEPS)
	$(call say,FORMAT,user bpf tests)clang-format --dry-run -Werror $(shell git ls-files 'user/*.[ch]' 'bpf/*.[ch]' 'tests/*.[ch]')
	$(call say,CPPCHK,user)cppcheck -q --inline-suppr --enable=warning,portability,performance --error-exitcode=1 \
		--suppress=missingIncludeSystem --std=c11 -j2 -Iuser -Ibpf -D__x86_64__ -D_GNU_SOURCE user
	$(call say,TIDY,user)clang-tidy --quiet $(shell git ls-files 'user/*.c' | grep -v attach.c) -- $(SG_CFLAGS) && \
		clang-tidy --quiet --checks=-clang-analyzer-unix.Malloc user/observe/attach.c -- $(SG_CFLAGS)

format:
	clang-format -i $(shell git ls-files 'user/*.[ch]' 'bpf/*.[ch]' 'tests/*.[ch]')

install: all install-spool
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/spoolguard $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(O)/spoolguard $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(O)/libspoolguard-preload.so $(DESTDIR)$(PREFIX)/lib/spoolguard/
	for s in 1 5 7; do for p in docs/man/*.$$s; do [ -e $$p ] && install -m 644 $$p \
		$(DESTDIR)$(PREFIX)/share/man/man$$s/ || true; done; done
	install -m 644 completion/spoolguard $(DESTDIR)$(PREFIX)/share/bash-completion/completions/spoolguard

clean:
	rm -rf build
