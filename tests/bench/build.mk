# What make bench times. The programs know nothing of us: they are run bare and guarded in turn.
BENCH_BIN := $(O)/tests/bench/sync_threads $(O)/tests/bench/hop

$(BENCH_BIN): %: %.o
	$(call say,LD,$@)$(CC) $(CFLAGS) -o $@ $< -lpthread

.PHONY: bench
bench: deps-build
	@$(MAKE) --no-print-directory all $(BENCH_BIN) $(O)/tests/preload/speed
	@tests/bench/run
