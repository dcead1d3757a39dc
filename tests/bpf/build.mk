# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# sg-watch prints what the observer saw, as lines; sg-io makes syncs and writes of every route.
$(O)/tests/bpf/sg-watch: $(O)/tests/bpf/sg-watch.o $(OBSERVE_OBJ)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ $(OBSERVE_LIBS)
$(O)/tests/bpf/sg-io: $(O)/tests/bpf/sg-io.o
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ -luring -laio
$(O)/tests/bpf/sg-buckets: $(O)/tests/bpf/sg-buckets.o $(O)/user/guard/hist.o
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^
TEST_HELPERS += $(O)/tests/bpf/sg-watch $(O)/tests/bpf/sg-io $(O)/tests/bpf/sg-buckets
