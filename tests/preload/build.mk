# Tests of the preload library: helper programs for the shell tests, which run them under it, and CUnit
# programs with the wrappers linked in (test_*.c), which sanitizers can watch.
PRELOAD_HELPERS := $(addprefix $(O)/tests/preload/,calls family quiet small speed early early.so \
	nosync.so verdict drains small-musl small-static)
TEST_HELPERS += $(PRELOAD_HELPERS)

PRELOAD_UNIT_SRC := $(wildcard tests/preload/test_*.c)
UNIT_BIN += $(PRELOAD_UNIT_SRC:%.c=$(O)/%)

$(O)/tests/preload/test_%: $(O)/tests/preload/test_%.o $(PRELOAD_SRC:%.c=$(O)/%.o) $(O)/libguard.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ -lcunit -lpthread

# A program of the tests is built as a stranger's would be: without anything of ours.
$(O)/tests/preload/%: tests/preload/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=gnu11 $(WARN) -Wno-missing-prototypes -D_GNU_SOURCE -O1 -g -MMD -MP -MF $@.d -MT $@ -o $@ $< -lpthread
$(O)/tests/preload/%.so: tests/preload/%.c
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=gnu11 $(WARN) -Wno-missing-prototypes -D_GNU_SOURCE -O1 -g -shared -fPIC -o $@ $<
$(O)/tests/preload/verdict $(O)/tests/preload/drains: $(O)/tests/preload/%: $(O)/tests/preload/%.o $(PRELOAD_SRC:%.c=$(O)/%.o) $(O)/libguard.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ -lpthread
$(O)/tests/preload/early: tests/preload/early.c $(O)/tests/preload/early.so
	$(call say,LD,$@)$(CC) -std=gnu11 $(WARN) -Wno-missing-prototypes -D_GNU_SOURCE -O1 -g -DMAIN -o $@ $^ -Wl,-rpath,'$$ORIGIN'
$(O)/tests/preload/small-musl: tests/preload/small.c
	@mkdir -p $(@D)
	$(call say,MUSL,$@)musl-gcc -std=gnu11 -D_GNU_SOURCE -O1 -o $@ $<
$(O)/tests/preload/small-static: tests/preload/small.c
	@mkdir -p $(@D)
	$(call say,MUSL,$@)musl-gcc -std=gnu11 -D_GNU_SOURCE -O1 -static -o $@ $<
