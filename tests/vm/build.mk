# The kernel that the virtual machines boot, and the helpers that run inside. Without a network there is no
# kernel: then the tests say that they were skipped, and why.
VM_HELPERS   := $(O)/tests/vm/fdsh $(O)/tests/vm/logreplay
TEST_HELPERS += $(VM_HELPERS) $(O)/tests/vm/riskwatch $(O)/tests/vm/rawsync $(O)/tests/bench/sync_threads

$(VM_HELPERS): %: %.o
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $<

$(O)/tests/vm/riskwatch: $(O)/tests/vm/riskwatch.o $(OBSERVE_OBJ)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ $(OBSERVE_LIBS)

$(O)/tests/vm/rawsync: $(O)/tests/vm/rawsync.o
	$(call say,LD,$@)$(CC) $(CFLAGS) -static -o $@ $<

build/kernel/version: | scripts/fetch-kernel
	$(call say,FETCH,$(@D))scripts/fetch-kernel $(@D)

.PHONY: kernel fetch-kernel-or-skip
kernel: build/kernel/version
fetch-kernel-or-skip:
	@[ -e build/kernel/version ] || $(MAKE) --no-print-directory kernel || \
		echo "no kernel: the tests in a virtual machine will be skipped"
CHECK_DEPS += fetch-kernel-or-skip
