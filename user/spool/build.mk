# libspoolguard, as users link it: shared, and static with nothing global but spool_*. libspool.a is the same
# objects with everything to be seen, for the command and the tests.
SPOOL_SRC  := $(wildcard user/spool/*.c)
SPOOL_OBJ  := $(SPOOL_SRC:%.c=$(O)/%.o)
SPOOL_PIC  := $(SPOOL_SRC:%.c=$(O)/spool-pic/%.o) $(GUARD_SRC:%.c=$(O)/spool-pic/%.o)
SPOOL_LIBS := -lisal -lpthread
SPOOL_SO   := libspoolguard.so.0

$(O)/libspool.a: $(SPOOL_OBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(O)/spool-pic/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(SG_CFLAGS) -fPIC -ffunction-sections $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/$(SPOOL_SO): $(SPOOL_PIC) user/spool/libspoolguard.map
	$(call say,LD,$@)$(CC) $(CFLAGS) -shared -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,--gc-sections \
		-Wl,-soname,$(SPOOL_SO) -Wl,--version-script=user/spool/libspoolguard.map -o $@ $(SPOOL_PIC) $(SPOOL_LIBS)
$(O)/libspoolguard.so: $(O)/$(SPOOL_SO)
	$(call say,LN,$@)ln -sf $(SPOOL_SO) $@
$(O)/libspoolguard.a: $(SPOOL_PIC)
	$(call say,AR,$@)ld -r -o $(@:.a=.o) $^ && \
		objcopy --wildcard --keep-global-symbol 'spool_*' $(@:.a=.o) && rm -f $@ && ar rcs $@ $(@:.a=.o)
$(O)/libspoolguard.pc: user/spool/libspoolguard.pc.in
	$(call say,GEN,$@)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< >$@
ALL += $(O)/libspoolguard.so $(O)/libspoolguard.a $(O)/libspoolguard.pc
