# Fuzzing with libFuzzer, which comes with clang's runtime library (libclang-rt-14-dev).
#
#   make fuzz FUZZ_SECONDS=300    every target for so long; what it finds stays in build/fuzz/
#
# tests/fuzz/corpus/NAME holds the seeds of fuzz_NAME.c, and every input that once broke it.
FUZZ_SECONDS ?= 60
FUZZ_BIN     := $(patsubst tests/fuzz/%.c,$(O)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_GUARD   := $(addprefix user/guard/,policy.c policy_parse.c glob.c units.c session.c hist.c)
FUZZ_FLAGS   := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

$(O)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_GUARD) $(wildcard $(FUZZ_GUARD:.c=.h))
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)$(CLANG) $(SG_CFLAGS) -O1 -g $(FUZZ_FLAGS) -o $@ $< $(FUZZ_GUARD)

# Without the runtime library test_fuzz.sh skips; with it the targets are built ahead of the tests.
ifneq ($(wildcard $(shell $(CLANG) -print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer-*.a),)
TEST_HELPERS += $(FUZZ_BIN)
endif

.PHONY: fuzz fuzz-bin
fuzz-bin: $(FUZZ_BIN)
fuzz: fuzz-bin
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_RUNS=-1 FUZZ_KEEP=$(O)/fuzz O=$(O) tests/fuzz/test_fuzz.sh
