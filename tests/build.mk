# Unit tests: each tests/unit/test_X.c is one CUnit program linked with the guard (and, where its name
# is listed in a variable LIBS_test_X, with more). Shell tests: tests/{preload,bpf,vm,cli}/test_*.sh.
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(O)/%)

$(O)/tests/unit/test_%: $(O)/tests/unit/test_%.o $(O)/libguard.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $< $(OBJ_test_$*) $(O)/libguard.a $(LIBS_test_$*) -lcunit -lpthread
$(O)/tests/%.o: SG_CFLAGS += -Itests/lib -Wno-missing-prototypes

-include tests/*/build.mk

SHELL_TESTS := $(filter-out tests/vm/%,$(sort $(wildcard tests/*/test_*.sh)))
VM_TESTS    := $(sort $(wildcard tests/vm/test_*.sh))

.PHONY: unit-bin test-helpers
unit-bin: $(UNIT_BIN)
test-helpers: $(TEST_HELPERS)

check: deps-check
	@$(MAKE) --no-print-directory all unit-bin test-helpers $(CHECK_DEPS)
	@$(MAKE) --no-print-directory SAN=asan unit-bin
	@$(MAKE) --no-print-directory SAN=tsan unit-bin
	@tests/run -t 1200 $(UNIT_BIN) $(UNIT_BIN:build/%=build/asan/%) $(UNIT_BIN:build/%=build/tsan/%) $(SHELL_TESTS) $(VM_TESTS)

check-quick: deps-check
	@$(MAKE) --no-print-directory all unit-bin test-helpers fetch-loggers-or-skip
	@tests/run $(UNIT_BIN) $(SHELL_TESTS)
