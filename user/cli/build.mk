CLI_SRC := $(wildcard user/cli/*.c)
CLI_OBJ := $(CLI_SRC:%.c=$(O)/%.o)
CLI_LIBS := -lbpf -lelf -lz -lisal -ljansson -lsmartcols -lncursesw -ltinfo -lpthread

$(O)/spoolguard: $(CLI_OBJ) $(BROKER_OBJ) $(OBSERVE_OBJ) $(O)/libspool.a $(O)/libguard.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ $(CLI_LIBS)
ALL += $(O)/spoolguard
