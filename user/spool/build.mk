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
ALL += $(O)/libspoolguard.so $(O)/libspoolguard.a

# The header, both libraries, pkg-config's file, and the manual: each call is found by its name.
SPOOL_MAN := $(wildcard docs/man/*.3)
.PHONY: install-spool
install-spool: $(O)/$(SPOOL_SO) $(O)/libspoolguard.a
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,include/spoolguard lib/pkgconfig share/man/man3)
	install -m 644 user/include/spoolguard/spool.h $(DESTDIR)$(PREFIX)/include/spoolguard/
	install -m 755 $(O)/$(SPOOL_SO) $(DESTDIR)$(PREFIX)/lib/
	ln -sf $(SPOOL_SO) $(DESTDIR)$(PREFIX)/lib/libspoolguard.so
	install -m 644 $(O)/libspoolguard.a $(DESTDIR)$(PREFIX)/lib/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' user/spool/libspoolguard.pc.in \
		>$(DESTDIR)$(PREFIX)/lib/pkgconfig/libspoolguard.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/libspoolguard.pc
	install -m 644 $(SPOOL_MAN) $(DESTDIR)$(PREFIX)/share/man/man3/
	for p in $(notdir $(SPOOL_MAN:.3=)); do \
		for call in $$(sed -n 's/^\.Nm \(spool_[a-z_]*\).*/\1/p' docs/man/$$p.3); do [ $$call = $$p ] || \
			echo ".so man3/$$p.3" >$(DESTDIR)$(PREFIX)/share/man/man3/$$call.3; done; done
