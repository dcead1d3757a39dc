# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The eBPF object and its skeleton. Kernel types come from the hand-kept bpf/core_types.h in every
# build (offsets are relocated at load), so nothing here depends on the kernel of the build host.
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Werror -D__TARGET_ARCH_x86 \
	-I/usr/include/$(shell $(CC) -print-multiarch)
BPF_HDR    := $(wildcard bpf/*.h)
BPF_SKEL   := $(O)/gen/spoolguard.skel.h

$(O)/gen/spoolguard.bpf.o: bpf/spoolguard.bpf.c $(BPF_HDR)
	@mkdir -p $(@D)
	$(call say,CLANG,$<)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BPF_SKEL): $(O)/gen/spoolguard.bpf.o
	$(call say,SKEL,$@)$(BPFTOOL) gen skeleton $< name spoolguard_bpf >$@
