GUARD_SRC := $(wildcard user/guard/*.c)
GUARD_OBJ := $(GUARD_SRC:%.c=$(O)/%.o)
$(O)/libguard.a: $(GUARD_OBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
