# Tests of the preload library: helper programs for the shell tests, which run them under it, and CUnit
# programs with the wrappers linked in (test_*.c), which sanitizers can watch.
PRELOAD_HELPERS := calls
TEST_HELPERS += $(PRELOAD_HELPERS:%=$(O)/tests/preload/%)

PRELOAD_UNIT_SRC := $(wildcard tests/preload/test_*.c)
UNIT_BIN += $(PRELOAD_UNIT_SRC:%.c=$(O)/%)

$(O)/tests/preload/test_%: $(O)/tests/preload/test_%.o $(PRELOAD_SRC:%.c=$(O)/%.o) $(O)/libguard.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ -lcunit -lpthread
$(O)/tests/preload/%: $(O)/tests/preload/%.o
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $< -lpthread
