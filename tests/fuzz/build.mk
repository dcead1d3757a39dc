# Fuzzing with libFuzzer, which comes with clang's runtime library (libclang-rt-14-dev).
#
#   make fuzz FUZZ_SECONDS=300    every target for so long; what it finds stays in build/fuzz/
#
# tests/fuzz/corpus/NAME holds the seeds of fuzz_NAME.c, and every input that once broke it.
FUZZ_SECONDS ?= 60
FUZZ_BIN     := $(patsubst tests/fuzz/%.c,$(O)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS   := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
# The guard and the spool, instrumented once for all targets.
FUZZ_LIB     := $(O)/tests/fuzz/lib/libfuzzed.a
FUZZ_LIB_OBJ := $(patsubst %.c,$(O)/tests/fuzz/lib/%.o,$(GUARD_SRC) $(SPOOL_SRC))

$(O)/tests/fuzz/lib/%.o: %.c
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)$(CLANG) $(SG_CFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(FUZZ_LIB): $(FUZZ_LIB_OBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(O)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)$(CLANG) $(SG_CFLAGS) -Itests/spool $(FUZZ_FLAGS) -fsanitize=fuzzer -MMD -MP -o $@ $< $(FUZZ_LIB) $(SPOOL_LIBS)

# Without the runtime library test_fuzz.sh skips; with it the targets are built ahead of the tests.
ifneq ($(wildcard $(shell $(CLANG) -print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer-*.a),)
TEST_HELPERS += $(FUZZ_BIN)
endif

.PHONY: fuzz fuzz-bin
fuzz-bin: $(FUZZ_BIN)
fuzz: fuzz-bin
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_RUNS=-1 FUZZ_KEEP=$(O)/fuzz O=$(O) tests/fuzz/test_fuzz.sh
