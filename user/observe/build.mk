# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Loads the eBPF object, attaches the best tier, reads its maps. Link with OBSERVE_LIBS.
OBSERVE_SRC  := $(wildcard user/observe/*.c)
OBSERVE_OBJ  := $(OBSERVE_SRC:%.c=$(O)/%.o)
OBSERVE_LIBS := -lbpf -lelf -lz

# The skeleton is generated: it must be there before the first compilation finds out who includes it.
$(OBSERVE_OBJ): | $(O)/gen/spoolguard.skel.h
$(O)/user/observe/attach.o: $(O)/gen/spoolguard.skel.h
